"""Reconstructive Neuron Pruning: its two stages, and what it takes out of which model."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.rnp import ReconstructiveNeuronPruning
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.unlearning import unlearn
from workflow_scripts.units.layers import unit_layers
from workflow_scripts.units.masks import MaskedNetwork

METHOD = ReconstructiveNeuronPruning(unlearn_lr=0.02, stop_accuracy=0.3, batch_size=32, recover_epochs=10, lr=2.0)
Victim = Callable[[], Model]


@pytest.fixture
def fit(digits: tuple[Images, Images]) -> Images:
    return digits[0][:80]


def test_unlearning_ends_with_the_first_epoch_whose_batches_are_forgotten(
    victim: Victim, fit: Images, run: Run
) -> None:
    METHOD.unlearn(victim(), fit, run)
    kept = [row["holdout_accuracy"] for row in run.rows if row["kind"] == "choice"]
    assert kept == [row["accuracy"] for row in run.rows if row["kind"] == "epoch"]
    assert len(kept) > 1 and kept[-1] <= METHOD.stop_accuracy < min(kept[:-1])


def test_unlearning_goes_on_at_a_tenth_of_its_learning_rate(victim: Victim, fit: Images, run: Run) -> None:
    replace(METHOD, stop_accuracy=0.0, unlearn_lr=1e-5, unlearn_epochs=5).unlearn(victim(), fit, run)
    rates = [row["lr"] for row in run.rows if row["kind"] == "epoch"]
    assert rates == pytest.approx([1e-5, 1e-5, 1e-5, 1e-6, 1e-6])


def test_a_step_of_unlearning_is_no_longer_than_its_norm(victim: Victim, fit: Images, run: Run) -> None:
    """One batch of one epoch: the weights move by lr times the gradient."""
    moved = []
    for longest in (1e9, 0.5, 0.25):
        model = unlearn(victim(), fit, run, epochs=1, lr=0.1, batch_size=80, max_norm=longest)
        pairs = zip(model.network.parameters(), victim().network.parameters(), strict=True)
        moved.append(float(torch.stack([(new - old).detach().norm() for new, old in pairs]).norm()))
    assert moved[0] > moved[1]
    assert moved[1:] == pytest.approx([0.05, 0.025], rel=1e-3)


def test_masks_recover_what_was_unlearned_and_nothing_else_moves(victim: Victim, fit: Images, run: Run) -> None:
    unlearned = METHOD.unlearn(victim(), fit, run)
    before = {name: value.clone() for name, value in unlearned.network.named_parameters()}
    run = Run("digits", 0)
    masks = METHOD.recover(MaskedNetwork(unlearned), fit, run)
    losses = [row["loss"] for row in run.rows if row["phase"] == "recovering"]
    assert losses[-1] < 0.8 * losses[0]
    values = torch.cat(list(masks.values()))
    assert values.min() >= 0 and values.max() <= 1 and values.min() < 0.9
    assert all(torch.equal(value, before[name]) for name, value in unlearned.network.named_parameters())


def test_a_mask_of_zero_is_a_pruned_unit(victim: Victim, fit: Images) -> None:
    masked, pruned = MaskedNetwork(victim().eval()), victim().eval()
    name = "layer2.0.bn1"
    masked.masks[name].data[[1, 3]] = 0
    (layer,) = (layer for layer in unit_layers(pruned) if layer.name == name)
    layer.prune([1, 3], keep_shift=True)
    images = torch.from_numpy(fit.images).permute(0, 3, 1, 2)
    assert torch.allclose(masked.logits(images), pruned(images), atol=1e-5)
    assert not torch.allclose(masked.logits(images), victim().eval()(images), atol=1e-2)


def test_the_victim_loses_the_fallen_neurons_and_keeps_all_other_weights(victim: Victim, fit: Images, run: Run) -> None:
    defended = replace(METHOD, max_drop=1.0)(victim(), fit, run)
    units = [row for row in run.rows if row["kind"] == "unit"]
    fallen = {(row["layer"], row["unit"]) for row in units if row["pruned"]}
    assert fallen and len(fallen) < len(units)
    changed = set()
    for name, before in victim().network.named_parameters():
        after = defended.network.get_parameter(name)
        layer = name.rpartition(".")[0]
        changed |= {(layer, unit) for unit in range(len(before)) if not torch.equal(before[unit], after[unit])}
    assert changed == fallen
