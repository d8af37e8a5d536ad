"""What arrives at units, and the two defenses that judge them by its distribution."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import poisoned, tiny
from torch.distributions import Normal, kl_divergence

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.bnp import BatchNormPruning, divergences
from workflow_scripts.defenses.ep import EntropyPruning, entropies
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import BATCH
from workflow_scripts.units.activations import largest_preactivations, preactivation_moments
from workflow_scripts.units.layers import unit_layers

Victim = Callable[[], Model]


@pytest.fixture
def images(digits: tuple[Images, Images]) -> np.ndarray:
    """More than one batch of them."""
    found = np.concatenate([digits[0].images, digits[1].images, digits[1].images])
    assert BATCH < len(found) < 2 * BATCH
    return found


def test_preactivations_are_what_the_normalization_is_given(victim: Victim, images: np.ndarray) -> None:
    """Of the first one, which is given the first convolution's outputs."""
    model = victim()
    largest, moments = largest_preactivations(model, images), preactivation_moments(model, images)
    with torch.no_grad():
        given = model.network.get_submodule("conv1")(model.embed(torch.from_numpy(images).permute(0, 3, 1, 2)))
    assert torch.allclose(largest["layer1.0.bn1"], given.amax((2, 3)).T, atol=1e-5)
    mean, variance = moments["layer1.0.bn1"]
    assert torch.allclose(mean.float(), given.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(variance.float(), given.var((0, 2, 3)), rtol=1e-5)
    assert set(largest) == set(moments) == {layer.name for layer in unit_layers(model)}


def test_neurons_of_a_transformer_are_judged_by_their_largest_token(digits: tuple[Images, Images]) -> None:
    model, images = tiny("vit_b_16", digits[0].format).eval(), digits[0].images[:8]
    name = "tower.blocks.0.mlp.fc1"
    caught: list[torch.Tensor] = []
    handle = model.network.get_submodule(name).register_forward_hook(lambda m, i, output: caught.append(output))
    with torch.no_grad():
        model(torch.from_numpy(images).permute(0, 3, 1, 2))
    handle.remove()
    assert torch.allclose(largest_preactivations(model, images)[name], caught[0].float().amax(1).T, atol=2e-2)


def test_entropy_is_that_of_the_histogram_of_standardized_values() -> None:
    spread = torch.linspace(-1.5, 1.5, 8)
    values = torch.stack([5 + 2 * spread, torch.tensor([0.0, 1.0] * 4), torch.tensor([9.0] + [0.0] * 7), torch.ones(8)])
    found = entropies(values, width=0.1)
    rare = -(7 / 8 * math.log(7 / 8) + 1 / 8 * math.log(1 / 8))
    assert found[:3].tolist() == pytest.approx([math.log(8), math.log(2), rare], rel=1e-5)
    assert float(found[3]) == pytest.approx(float(found[:3].mean()), rel=1e-5), "a dead unit says nothing"
    assert torch.allclose(entropies(100 * values[:3] - 7, 0.1), found[:3]), "neither scale nor shift"
    assert not entropies(values.new_full((3, 8), math.nan), 0.1).any()


def test_divergence_is_that_of_two_normal_distributions(victim: Victim) -> None:
    (norm, *_) = (layer.norm for layer in unit_layers(victim()) if layer.norm is not None)
    assert norm.running_mean is not None and norm.running_var is not None
    mean, variance = norm.running_mean.double() + 0.3, 2 * norm.running_var.double()
    seen, known = (
        Normal(center.double(), (spread.double() + norm.eps).sqrt())
        for center, spread in ((mean, variance), (norm.running_mean, norm.running_var))
    )
    assert torch.allclose(divergences(mean, variance, norm), kl_divergence(seen, known))
    assert float(divergences(norm.running_mean, norm.running_var.double(), norm).abs().max()) < 1e-6


def test_bnp_silences_the_channel_that_training_saw_otherwise(victim: Victim, digits: tuple[Images, Images]) -> None:
    model, run = victim(), Run("digits", 0)
    layer = unit_layers(model)[2]
    assert layer.norm is not None and layer.norm.running_mean is not None and layer.norm.running_var is not None
    with torch.no_grad():  # the statistics and the shift say the same network, but for what they remember
        moved = 30 * layer.norm.running_var[5].sqrt()
        layer.norm.running_mean[5] += moved
        layer.norm.bias[5] += layer.norm.weight[5] * moved / (layer.norm.running_var[5] + layer.norm.eps).sqrt()
    BatchNormPruning(u=2.0)(model, digits[0][:200], run)
    assert [row["unit"] for row in run.rows if row["pruned"] and row["layer"] == layer.name] == [5]
    assert layer.norm.weight[5] == 0 and layer.norm.bias[5] == 0


def test_bnp_says_why_a_network_that_remembers_nothing_is_refused(digits: tuple[Images, Images], run: Run) -> None:
    with pytest.raises(UserError, match="batch normalizations, and timm has none"):
        BatchNormPruning()(tiny("timm", digits[0].format), digits[0][:20], run)


def test_ep_silences_what_lies_far_below_its_layer(victim: Victim, digits: tuple[Images, Images], run: Run) -> None:
    EntropyPruning(u=1.0)(victim(), poisoned(digits[0]), run)
    layers: dict[str, list[tuple[float, bool]]] = {}
    for row in run.rows:
        layers.setdefault(row["layer"], []).append((row["score"], row["pruned"]))
    for found in layers.values():
        scores = torch.tensor([score for score, _ in found])
        assert ((scores < scores.mean() - scores.std()) == torch.tensor([pruned for _, pruned in found])).all()
    assert any(pruned for found in layers.values() for _, pruned in found)


def test_ep_asks_as_many_images_as_it_says(victim: Victim, digits: tuple[Images, Images]) -> None:
    scores = []
    for samples in (50, 400, 5000):
        run = Run("digits", 0)
        replace(EntropyPruning(), samples=samples)(victim(), poisoned(digits[0]), run)
        scores.append([row["score"] for row in run.rows])
    assert scores[0] != scores[1] == scores[2]
