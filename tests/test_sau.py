"""SAU: where shared adversarial examples lie, what is unlearned of them, and what stays as it is."""

from collections.abc import Callable

import pytest
import torch
from conftest import poisoned

from workflow_scripts.common import catalog
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.sau import SharedAdversary, unlearning_risk
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import to_network
from workflow_scripts.training.loop import train as fit


def sau(**fields: float) -> object:
    return catalog.make("defenses", "sau", fields)


def test_an_example_is_near_its_image_and_misleads_both_networks_alike(
    victim: Callable[[], Model], untrained: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    one, other, data = victim(), untrained(), digits[0][:60]
    fit(other, poisoned(digits[0]), other.recipe, Run("digits", 1))
    images, labels = to_network(torch.from_numpy(data.images)).float() / 255, torch.from_numpy(data.labels)
    shared = []
    for steps in (1, 5):
        moved = SharedAdversary(0.2, 0.2, steps, 0.01, 1.0).perturb(one, other, images, labels)
        assert not moved.requires_grad and moved.min() >= 0 and moved.max() <= 1
        assert (moved - images).abs().max() <= 0.2 + 1e-6
        first, second = (model(moved).argmax(1) for model in (one, other))
        shared.append(float(((first == second) & (first != labels)).float().mean()))
    assert shared[1] > shared[0] + 0.1
    assert all(parameter.grad is None for parameter in one.parameters())


def test_what_is_shared_already_stays(victim: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    """Of two equal networks what misleads one is shared; where all are, no step is taken."""
    model, data = victim(), digits[0][:60]
    images, labels = to_network(torch.from_numpy(data.images)).float() / 255, torch.from_numpy(data.labels)
    start = (images + 0.5).clamp(0, 1)
    misled = model(start).argmax(1) != model(images).argmax(1)
    assert misled.any()
    moved = SharedAdversary(0.5, 0.5, 3, 0.01, 1.0).perturb(model, model, images[misled], labels[misled])
    assert torch.equal(moved, start[misled])


def test_the_risk_is_of_the_shared_class_where_it_is_wrong() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [40.0, 0.0, 0.0]])
    shared, labels = torch.tensor([0, 1, 0]), torch.tensor([2, 1, 1])
    p = logits.double().softmax(1)
    expected = -(torch.log1p(-p[0, 0]) + torch.log(p[2, 1:].sum())) / 3
    assert float(unlearning_risk(logits, shared, labels)) == pytest.approx(float(expected), rel=1e-6)


def test_running_statistics_and_precision_stay_the_victims(
    victim: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    model = victim()
    defended = sau(epochs=2, lr=0.001, steps=2)(victim=model, holdout=digits[0][:80], run=Run("digits", 0))  # type: ignore[operator]
    before = victim()
    assert defended.recipe == before.recipe
    for one, other in zip(defended.network.buffers(), before.network.buffers(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(defended.classifier.weight, before.classifier.weight)
