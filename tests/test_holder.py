"""Hölder Pruning, its constants and thresholds; pruning defenses on the head of a probe."""

import copy
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import Hand, poisoned, quick
from torch import nn

from workflow_scripts.analyses.unit_scores import UnitScores
from workflow_scripts.common import arrow, catalog
from workflow_scripts.common.cells import Study
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.clp import lipschitz_bounds
from workflow_scripts.figures.score_density import ScoreDensity
from workflow_scripts.models.probe import Probe
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Extractor, Model
from workflow_scripts.training.inference import accuracy, logits
from workflow_scripts.training.loop import train as fit
from workflow_scripts.units.layers import unit_layers
from workflow_scripts.units.thresholds import choose_threshold, find_valley

PRUNING = [
    name
    for name in catalog.list_methods("defenses")
    if "log_units" in catalog.source_file("defenses", name).read_text()
    and "victim" in catalog.describe("defenses", name).asks
]


@pytest.fixture(scope="module")
def probe(digits: tuple[Images, Images], victim: Callable[[], Model]) -> Callable[[], Model]:
    """Makes copies of a head trained on poisoned labels above the features of the victim."""
    shape = Probe(hidden=(24, 16), epochs=10, lr=0.1, batch_size=32, weight_decay=0.0)
    model = weights.build("probe", asdict(shape), digits[0].format, Run("digits", 0), Extractor(victim()))
    fit(model, poisoned(digits[0]), model.recipe, Run("digits", 0))
    return lambda: copy.deepcopy(model)


def pruned(model: Model, data: Images, **fields: Any) -> tuple[Model, Run]:
    run = Run("digits", 0)
    method = catalog.make("defenses", "holder", {"samples": 200, **fields})
    return method(victim=model, poisoned_train=poisoned(data), run=run), run


def scores(model: Model, data: Images, **fields: Any) -> dict[str, torch.Tensor]:
    method = catalog.make("defenses", "holder", {"samples": 200, **fields})
    found: dict[str, torch.Tensor] = method.scores(model, poisoned(data), Run("digits", 0))
    return found


@pytest.mark.parametrize("estimator", ["head", "neuron"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_steps_of_one_length_make_alpha_a_scale(
    estimator: str, norm: str, probe: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    low, high = (scores(probe(), digits[0], estimator=estimator, norm=norm, alpha=alpha) for alpha in (0.25, 1.0))
    for name in low:
        ratio = low[name] / high[name]
        assert torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-4)
        assert torch.equal(low[name].argsort(), high[name].argsort())


def test_steps_of_images_have_no_one_length(probe: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    low, high = (scores(probe(), digits[0], alpha=alpha) for alpha in (0.25, 1.0))
    ratio = low["0"] / high["0"]
    assert ratio.std() / ratio.mean() > 0.01


def test_at_alpha_1_a_linear_neurons_constant_is_the_bound_of_channel_lipschitz_pruning(
    probe: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    model = probe()
    by_norm = scores(model, digits[0], estimator="neuron", alpha=1.0)
    by_sign = scores(model, digits[0], estimator="neuron", alpha=1.0, norm="linf")
    by_loss = scores(model, digits[0], estimator="head", alpha=1.0)
    by_image = scores(model, digits[0], alpha=1.0)
    for layer in unit_layers(model):
        weight = layer.sources[0].weight.detach()
        assert torch.allclose(by_norm[layer.name], lipschitz_bounds(layer), rtol=1e-4)
        assert torch.allclose(by_sign[layer.name], weight.abs().sum(1) / weight.shape[1] ** 0.5, rtol=1e-4)
        for attained in (by_sign, by_loss, by_image):  # no displacement does more than the supremum
            assert (attained[layer.name] <= by_norm[layer.name] * 1.001).all()


def test_the_gradient_of_one_neuron_is_its_weights(probe: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    """Below a single neuron, what moves the loss most is what moves the neuron most."""
    model = probe()
    narrow = Model("probe", Probe(hidden=(1,)), digits[0].format, model.extractor)
    with torch.no_grad():
        narrow.network.get_parameter("0.bias").fill_(50.0)  # the neuron is active everywhere
    attained, greatest = (scores(narrow, digits[0], estimator=e, alpha=1.0)["0"] for e in ("head", "neuron"))
    assert torch.allclose(attained, greatest, rtol=1e-4)


def test_the_constant_of_a_channel_is_at_most_the_norm_of_its_map(
    victim: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    """A convolution's output moves no further than the sum of its kernel's absolute values by its input's move."""
    model = victim()
    found = scores(model, digits[0], alpha=1.0, samples=50)
    for layer in unit_layers(model):
        assert layer.norm is not None and layer.norm.running_var is not None
        gain = layer.norm.weight.abs() / (layer.norm.running_var + layer.norm.eps).sqrt()
        bound = gain * sum(source.weight.abs().flatten(1).sum(1) for source in layer.sources)
        assert found[layer.name].shape == bound.shape
        assert (found[layer.name] <= bound * 1.001).all() and found[layer.name].max() > 0


@pytest.mark.parametrize("estimator", ["head", "neuron"])
def test_steps_within_layers_are_for_linear_layers(
    estimator: str, victim: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    with pytest.raises(UserError, match="input is the estimator for every network"):
        scores(victim(), digits[0], estimator=estimator)


def test_a_pruned_neuron_has_no_weights_in_or_out(probe: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    model, run = pruned(probe(), digits[0], rule="top", share=0.25)
    linear = [module for module in model.network.modules() if isinstance(module, nn.Linear)]
    for module, following, name in zip(linear, linear[1:], ("0", "2"), strict=False):
        rows = [row for row in run.rows if row["kind"] == "unit" and row["layer"] == name]
        units = [row["unit"] for row in rows if row["pruned"]]
        kept = [row["unit"] for row in rows if not row["pruned"]]
        assert len(units) == round(0.25 * len(rows))
        assert not module.weight[units].any() and not module.bias[units].any() and not following.weight[:, units].any()
        assert module.weight[kept].any(1).all() and following.weight[:, kept].any(0).all()
        assert min(row["score"] for row in rows if row["pruned"]) > max(
            row["score"] for row in rows if not row["pruned"]
        )


def test_a_share_of_0_leaves_the_head_as_it_is(probe: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    before = probe()
    model, run = pruned(probe(), digits[0], rule="top", share=0.0)
    assert torch.equal(logits(model, digits[1].images), logits(before, digits[1].images))
    assert run.notes == {"pruned_share": 0.0, "pruned_layers": "all", "finetune_epochs": 0}


def test_the_valley_lies_between_two_heaps() -> None:
    generator = torch.Generator().manual_seed(0)
    heap, few = torch.randn(200, generator=generator), 8 + 0.3 * torch.randn(10, generator=generator)
    bottom = find_valley(torch.cat([heap, few]).double())
    assert bottom is not None and heap.max() < bottom < few.min()
    mirrored = find_valley(-torch.cat([heap, few]).double())
    assert mirrored is None or mirrored > 0  # few low scores are no reason to prune the many


def test_where_there_is_no_valley_the_highest_share_goes() -> None:
    scores = torch.linspace(1, 2, 100)
    assert find_valley(scores.double().log()) is None
    for rule in ("valley", "top"):
        assert int((scores >= choose_threshold(scores, rule, share=0.07, u=3.0)).sum()) == 7
    assert find_valley(torch.ones(50).double()) is None and find_valley(torch.ones(2).double()) is None


def test_sigma_finds_outliers_of_the_logarithm() -> None:
    scores = torch.cat([torch.linspace(1, 2, 50), torch.tensor([30.0, 0.0])])
    assert torch.nonzero(scores >= choose_threshold(scores, "sigma", share=0.05, u=3.0)).flatten().tolist() == [50]
    counts = [int((scores >= choose_threshold(scores, "sigma", share=0.05, u=u)).sum()) for u in (0.0, 1.0, 3.0, 9.0)]
    assert all(more >= fewer for more, fewer in pairwise(counts)) and counts[-1] == 0


@pytest.mark.parametrize("name", PRUNING)
def test_every_pruning_defense_works_on_a_probe(
    name: str, probe: Callable[[], Model], hand: Hand, digits: tuple[Images, Images]
) -> None:
    run, model = Run("digits", 0), probe()
    defended = quick("defenses", name)(**hand("defenses", name, victim=model, run=run))
    found = {layer.name: len(layer) for layer in unit_layers(model)} | {"linear": 16}
    units = [row for row in run.rows if row["kind"] == "unit"]
    assert units and all(row["unit"] < found[row["layer"]] for row in units)
    assert 0 <= run.notes["pruned_share"] < 1 and "diverged" not in run.notes
    assert defended.extractor is not None and torch.isfinite(logits(defended, digits[1].images)).all()


def test_anp_masks_neurons_of_a_probe(probe: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    run, model = Run("digits", 0), probe()
    before = accuracy(model, digits[0][64:80])
    method = catalog.make("defenses", "anp", {"steps": 30, "batch_size": 32})
    defended = method(victim=model, holdout=digits[0][:80], run=run)
    units = [row for row in run.rows if row["kind"] == "unit"]
    assert {row["layer"] for row in units} == {"0", "2"} and min(row["score"] for row in units) < 0.9
    for row in units:
        weight = defended.network.get_submodule(row["layer"]).weight[row["unit"]]
        assert bool((weight == 0).all()) == row["pruned"]
    assert accuracy(defended, digits[0][64:80]) >= before - 0.02 - 1e-6


def test_unit_scores_are_those_of_the_log_with_their_thresholds(
    probe: Callable[[], Model], digits: tuple[Images, Images], tmp_path: Path
) -> None:
    _, run = pruned(probe(), digits[0])
    table, about = UnitScores()(log=written(run, tmp_path))
    assert table.num_rows == 40 and set(about["thresholds"]) == {"0", "2"}
    for row in table.to_pylist():
        assert (row["score"] >= about["thresholds"][row["layer"]]) == row["pruned"]
    without = Run("digits", 0)
    without.log("epoch", loss=1.0)
    none, about = UnitScores()(log=written(without, tmp_path))
    assert none.num_rows == 0 and none.schema == table.schema and not about["thresholds"]


def written(run: Run, folder: Path) -> pa.Table:
    run.write_log(str(folder / "log.parquet"), {})
    return arrow.read_table(folder / "log.parquet")[0]


def test_samples_are_drawn_from_the_published_images(probe: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    few, all_ = (scores(probe(), digits[0], samples=samples) for samples in (20, 400))
    for name in few:  # a supremum over more images is not less
        assert (few[name] <= all_[name] * (1 + 1e-5)).all() and not np.allclose(few[name], all_[name])


def test_the_density_is_drawn_with_its_threshold(
    probe: Callable[[], Model], digits: tuple[Images, Images], tmp_path: Path
) -> None:
    _, run = pruned(probe(), digits[0])
    table, about = UnitScores()(log=written(run, tmp_path))
    cell = {"dataset": "digits", "model": "probe", "attack": "badnets", "ratio": 0.1, "defense": "holder"}
    empty = (table[:0], {"thresholds": {}, **cell})
    study = Study("one", "A title", ())
    figure = ScoreDensity()(study, [empty, (table, about | cell)])
    panels = [axis for axis in figure.axes if axis.axison]
    assert [panel.get_title() for panel in panels] == ["0", "2"]
    for panel, layer in zip(panels, ("0", "2"), strict=True):
        drawn = [np.asarray(line.get_xdata()) for line in panel.lines]
        assert len(drawn[0]) + len(drawn[1]) == sum(row["layer"] == layer for row in table.to_pylist())
        assert drawn[2][0] == pytest.approx(np.log10(about["thresholds"][layer]))
