"""TSBD's observations, measured: what unlearning moves, which gradients are larger, what becomes of activations."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Hand, secret

from workflow_scripts.analyses import Measured
from workflow_scripts.analyses.unlearning import WHEN, correlations, mean_activations
from workflow_scripts.common import catalog
from workflow_scripts.common.images import Images
from workflow_scripts.common.truth import Truth
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import to_network
from workflow_scripts.units.weight_change import neuron_layers

Measure = Callable[..., Measured]
LAST = "layer3.0.conv2"


@pytest.fixture
def measure(hand: Hand, untrained: Callable[[], Model]) -> Measure:
    """Makes an analysis of the BadNets victim; arguments may be given in place of its own."""

    def measured(name: str, params: dict[str, Any], **given: Any) -> Measured:
        changed = {"clean_victim": untrained(), **given}
        return catalog.make("analyses", name, params)(**hand("analyses", name, **changed))

    return measured


def unlearn(measure: Measure, **changes: Any) -> Measured:
    params = {"unlearn_epochs": 2, "batch_size": 40, "unlearn_lr": 1e-3, "stop_accuracy": 0, "stop_asr": 0}
    given = {key: changes.pop(key) for key in list(changes) if key not in params}
    return measure("unlearning", {**params, **changes}, **given)


def test_without_an_epoch_nothing_changes(measure: Measure) -> None:
    table, about = unlearn(measure, unlearn_epochs=0)
    assert not table["clean"].to_numpy().any() and not table["poison"].to_numpy().any()
    assert about["correlation"]["poison"]["all"] == {"spearman": None, "pearson": None}
    for images in ("clean", "triggered"):
        before, *after = (table[f"{images}_{when}"].drop_null().to_numpy() for when in WHEN)
        assert all(values == pytest.approx(before, rel=0.05) for values in after)  # bfloat16, where there is any
    assert all(np.ptp(list(about[rate].values())) < 0.02 for rate in ("acc", "asr"))


def test_unlearning_the_same_images_twice_moves_the_same(measure: Measure, digits: tuple[Images, Images]) -> None:
    known = secret(digits[1])
    table, about = unlearn(measure, holdout=known.triggered)
    assert table["clean"].equals(table["poison"]) and min(table["clean"].to_numpy()) > 0
    for found in about["correlation"]["poison"].values():
        assert found == {"spearman": pytest.approx(1), "pearson": pytest.approx(1)}
    assert all((found["spearman"] or 0) < 1 for found in about["correlation"]["control"].values())
    assert table["clean_after_clean"].equals(table["clean_after_poison"])


def test_poison_unlearning_ends_when_the_backdoor_is_gone(measure: Measure) -> None:
    table, about = unlearn(measure, unlearn_epochs=60, unlearn_lr=3e-3, stop_asr=0.05)
    assert about["asr"]["before"] > 0.9
    poison = about["unlearning"]["poison"]
    assert about["asr"]["after_poison"] == poison["kept"] <= 0.05 and poison["epochs"] < 60
    last = table["layer"].to_numpy() == LAST
    assert (np.isfinite(table["triggered_before"].to_numpy()) == last).all()


def test_the_victim_is_left_as_it_was(measure: Measure, victim: Callable[[], Model]) -> None:
    given = victim()
    unlearn(measure, victim=given)
    measure("gradient_norms", {}, victim=given)
    for key, value in victim().network.state_dict().items():
        assert torch.equal(value, given.network.state_dict()[key]), key


def test_triggered_images_are_not_augmented(measure: Measure, victim: Callable[[], Model]) -> None:
    cropped = victim()
    cropped.recipe = replace(cropped.recipe, crop=2, flip=True)
    (changed, _), (plain, _) = unlearn(measure, victim=cropped), unlearn(measure)
    assert changed["poison"].equals(plain["poison"]) and not changed["clean"].equals(plain["clean"])


def test_where_nobody_attacked_there_is_no_row(measure: Measure, digits: tuple[Images, Images]) -> None:
    known = secret(digits[1])
    nothing = Truth(known.triggered[:0], known.original_labels[:0], *(np.empty(0),) * 3, None, None, None)
    table, about = unlearn(measure, truth=nothing)
    assert len(table) == 0 and "no image" in about["skipped"]


def test_an_activation_is_the_mean_of_what_is_positive(
    victim: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    model, images = victim(), digits[1].images
    kept: list[torch.Tensor] = []
    model.network.get_submodule(LAST).register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        model.eval()(to_network(torch.from_numpy(images)))
    expected = F.relu(kept[0].float()).mean((0, 2, 3)).numpy()
    assert mean_activations(model, images, LAST) == pytest.approx(expected, rel=1e-4)


def test_rank_correlation_asks_for_order_only() -> None:
    rising = torch.arange(1.0, 9)
    found = correlations({"a": rising, "b": rising}, {"a": rising**3, "b": -rising})
    assert found["a"]["spearman"] == pytest.approx(1) and 0 < (found["a"]["pearson"] or 0) < 0.99
    assert found["b"]["spearman"] == pytest.approx(-1)


def test_gradient_norms_of_one_batch_are_those_of_autograd(
    measure: Measure, victim: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    table, about = measure("gradient_norms", {})
    model, holdout = victim().train(), digits[0][:80]
    loss = F.cross_entropy(model(to_network(torch.from_numpy(holdout.images))), torch.from_numpy(holdout.labels))
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [layer.weight.grad for layer in neuron_layers(model).values()]
    expected = torch.cat([gradient.abs().flatten(1).sum(1) for gradient in gradients])  # type: ignore[union-attr]
    assert table["victim"].to_numpy() == pytest.approx(expected.numpy(), rel=1e-3)
    assert about["loss"]["victim"] == pytest.approx(loss.item(), rel=1e-4)


def test_a_neuron_that_nothing_reads_neither_moves_nor_pulls(measure: Measure, victim: Callable[[], Model]) -> None:
    cut = victim()
    norm = cut.network.get_submodule("bn")
    with torch.no_grad():
        norm.weight[3] = norm.bias[3] = 0  # type: ignore[index, operator]
    (moved, _), (norms, about) = (
        unlearn(measure, victim=cut),
        measure("gradient_norms", {}, victim=cut, clean_victim=cut),
    )
    for table, columns in ((moved, ("clean", "poison", "control")), (norms, ("victim", "clean"))):
        place = (table["layer"].to_numpy() == LAST) & (table["unit"].to_numpy() == 3)
        for column in columns:
            values = table[column].to_numpy()
            assert values[place] == 0 and (values[~place] > 0).mean() > 0.9
    assert about["last"]["larger"] == about["all"]["larger"] == 0  # than the same network's
