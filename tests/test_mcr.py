"""Mode connectivity repair: the curve between two networks, kept and asked at several places."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import SMALL, secret

from workflow_scripts.common import spellings
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.mcr import ModeConnectivityRepair
from workflow_scripts.evaluation.predictions import metrics_by_protocol, prediction_table
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.inference import logits
from workflow_scripts.training.statistics import estimate_statistics
from workflow_scripts.units.activations import preactivation_moments
from workflow_scripts.wrappers.bezier_path import bernstein, read_weights, write_weights

METHOD = ModeConnectivityRepair(epochs=2, lr=0.05, batch_size=40, curve_epochs=3, curve_lr=0.05)
Victim = Callable[[], Model]


@pytest.fixture(scope="module")
def defended(victim: Victim, digits: tuple[Images, Images]) -> Model:
    return METHOD(victim(), digits[0][:80], Run("digits", 0))


def test_a_curve_begins_and_ends_at_its_ends() -> None:
    assert bernstein(0) == (1, 0, 0) and bernstein(1) == (0, 0, 1)
    assert bernstein(0.5) == (0.25, 0.5, 0.25)


def test_the_curve_leads_from_the_victim_to_the_fine_tuned_one(
    defended: Model, victim: Victim, digits: tuple[Images, Images], run: Run
) -> None:
    model, tuned = copy.deepcopy(defended), victim()
    METHOD.fine_tune(tuned, digits[0][:80], run)
    found = {}
    for protocol in model.protocols:
        assert model.wrapper is not None
        model.wrapper.ask(model, protocol)
        found[protocol.name] = read_weights(model)
    assert list(found) == ["default", "t 0", *(f"t 0.{tenth}" for tenth in range(2, 10)), "t 1"]
    assert torch.equal(found["t 0"], read_weights(victim())) and torch.equal(found["t 1"], read_weights(tuned))
    assert torch.equal(found["default"], read_weights(defended)), "the network of the file is that of the place t"


def test_a_saved_curve_answers_as_before_at_every_place(
    defended: Model, digits: tuple[Images, Images], tmp_path: Path, run: Run
) -> None:
    weights.save(tmp_path / "model.safetensors", defended, {"notes": {}})
    params = spellings.resolve("models", "preact_small", {"models": {"preact_small": {**SMALL, "width": 8}}})
    loaded = weights.load(tmp_path / "model.safetensors", "preact_small", params, torch.device("cpu"))
    assert torch.equal(logits(loaded, digits[1].images), logits(defended, digits[1].images))
    tables = [prediction_table(copy.deepcopy(model), digits[1], secret(digits[1]), run) for model in (defended, loaded)]
    assert tables[0] == tables[1]
    rows = {row["protocol"]: row for row in metrics_by_protocol(tables[1])}
    assert len(rows) == 11 and rows["t 0"]["asr"] > 0.5


def test_training_lowers_the_loss_in_the_middle_of_the_curve(
    victim: Victim, digits: tuple[Images, Images], run: Run
) -> None:
    """The ends are two networks trained apart, between which the line is a wall."""
    data = digits[0]
    losses = []
    end = victim()
    with torch.no_grad():  # the same function, its channels in another order
        turn = torch.randperm(8, generator=run.torch_rng("turn"))
        block = end.network.get_submodule("layer1.0")
        for name, axis in (("conv1.weight", 0), ("bn2.weight", 0), ("bn2.bias", 0), ("conv2.weight", 1)):
            parameter = block.get_parameter(name)
            parameter.copy_(parameter.index_select(axis, turn))
    for epochs in (0, 8):
        model = victim()
        middle = replace(METHOD, curve_epochs=epochs).train_middle(model, end, data, run)
        a, b, c = bernstein(0.5)
        write_weights(model, a * read_weights(model) + b * middle + c * read_weights(end))
        estimate_statistics(model, data, 40)
        losses.append(
            float(torch.nn.functional.cross_entropy(logits(model, data.images), torch.from_numpy(data.labels)))
        )
    assert losses[1] < 0.7 * losses[0]


def test_estimated_statistics_are_those_of_the_images(victim: Victim, digits: tuple[Images, Images]) -> None:
    model, data = in_float32(victim()), digits[0][:80]
    norm = model.network.get_submodule("layer1.0.bn1")
    running = model.network.get_buffer("layer1.0.bn1.running_mean")
    before = running.clone()
    estimate_statistics(model, data, batch_size=40)
    mean, _ = preactivation_moments(model, data.images)["layer1.0.bn1"]
    assert torch.allclose(running, mean.float(), atol=1e-6) and not torch.equal(running, before)
    assert norm.momentum == 0.1 and not model.training


def test_without_a_sweep_there_is_one_row(victim: Victim, digits: tuple[Images, Images], run: Run) -> None:
    model = replace(METHOD, epochs=1, curve_epochs=0, sweep=False, t=0.4)(victim(), digits[0][:40], run)
    assert [protocol.name for protocol in model.protocols] == ["default"]
    assert len(model.network.get_buffer("path_statistics")) == 1
