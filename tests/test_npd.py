"""Neural Polarizer: where it stands, what it learns against, and that it is saved."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import quick, tiny

from workflow_scripts.common import catalog
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.npd import NeuralPolarizer, find_layer, find_wrong
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.inference import logits
from workflow_scripts.training.loader import to_network
from workflow_scripts.wrappers.polarizer import Polarized

Make = Callable[[], Model]
ARCHITECTURES = [
    name for name in catalog.list_methods("models") if catalog.describe("models", name).traits["classifies"]
]


def test_it_stands_where_the_authors_put_it(digits: tuple[Images, Images]) -> None:
    assert find_layer(tiny("preact_resnet18", digits[0].format)) == "layer4.1.conv1"
    assert find_layer(tiny("vit_b_16", digits[0].format)).endswith("blocks.2.mlp.fc1")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_is_the_identity_until_it_learns(name: str, digits: tuple[Images, Images], run: Run) -> None:
    model, images = tiny(name, digits[0].format), digits[0].images[:20]
    before = logits(model, images)
    model.wrap(Polarized(find_layer(model)))
    assert torch.allclose(logits(model, images), before, atol=1e-3 * float(before.abs().max()))
    learned = quick("defenses", "npd")(victim=tiny(name, digits[0].format), holdout=digits[0][:20], run=run)
    polarizer, still = (m.wrapper.find_polarizer(m).state_dict() for m in (learned, model))  # type: ignore[union-attr]
    assert not any(torch.equal(polarizer[key], still[key]) for key in ("0.weight", "1.running_mean"))


def test_the_saved_model_has_the_polarizer_and_the_victims_weights(
    victim: Make, digits: tuple[Images, Images], run: Run, tmp_path: Path
) -> None:
    model = NeuralPolarizer(epochs=2, batch_size=32)(victim(), digits[0][:80], run)
    about = {key: getattr(model.architecture, key) for key in vars(model.architecture)}
    weights.save(tmp_path / "model.safetensors", model, {})
    loaded = weights.load(tmp_path / "model.safetensors", model.name, about, run.device)
    answers = logits(loaded, digits[1].images)
    assert torch.equal(logits(in_float32(loaded), digits[1].images), logits(model, digits[1].images))
    assert not torch.allclose(answers, logits(victim(), digits[1].images), atol=1e-2)
    state = {key.replace(".layer.", "."): value for key, value in loaded.network.state_dict().items()}
    assert all(torch.equal(value, state[key]) for key, value in victim().network.state_dict().items())


def test_images_are_moved_towards_a_wrong_class_and_not_too_far(victim: Make, digits: tuple[Images, Images]) -> None:
    model, method = victim(), NeuralPolarizer(radius=1.0, fooled=1.0)
    images, labels = to_network(torch.from_numpy(digits[1].images)) / 255, torch.from_numpy(digits[1].labels)
    aims = find_wrong(model(images), labels)
    assert (aims != labels).all()
    moved = method.perturb(model, images, aims)
    assert moved.min() >= 0 and moved.max() <= 1
    assert (moved - images).flatten(1).norm(dim=1).max() <= 1 + 1e-5
    assert F.cross_entropy(model(moved), aims) < F.cross_entropy(model(images), aims) - 0.5
    assert torch.equal(method.perturb(model, images, aims), moved)


def test_moving_ends_when_enough_are_fooled(victim: Make, digits: tuple[Images, Images]) -> None:
    model, method = victim(), NeuralPolarizer(radius=100.0, step=1e-3, fooled=0.0, steps=3)
    images = to_network(torch.from_numpy(digits[1].images)) / 255
    aims = model(images).argmax(1)
    assert (method.perturb(model, images, aims) - images).abs().max() <= 1e-3 + 1e-6
