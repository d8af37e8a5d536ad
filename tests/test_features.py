"""EigenGuard's analyses: ranks, directions, and the theory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import Hand, poisoned, secret

from workflow_scripts.analyses.feature_rank import effective_rank, local_dimension, singular_values, stable_rank
from workflow_scripts.analyses.flip_energy import FlipEnergy
from workflow_scripts.analyses.singular_embedding import split_directions
from workflow_scripts.common import catalog
from workflow_scripts.common.cells import Study
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.reporting import plotting
from workflow_scripts.training.inference import predict


def test_ranks_of_known_spectra() -> None:
    level, one = torch.ones(7, dtype=torch.float64), torch.tensor([3.0, 0, 0], dtype=torch.float64)
    assert effective_rank(level) == pytest.approx(7) and stable_rank(level) == pytest.approx(7)
    assert effective_rank(one) == pytest.approx(1) and stable_rank(one) == pytest.approx(1)
    rows = torch.randn(9, 30, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(singular_values(rows), torch.linalg.svdvals(rows.double()), rtol=1e-6)


@pytest.mark.parametrize("dimension", [2, 5])
def test_the_local_dimension_of_a_flat_patch_is_its_own(dimension: int) -> None:
    rng = np.random.default_rng(0)
    flat = rng.random((1500, dimension)) @ np.linalg.qr(rng.normal(size=(20, dimension)))[0].T
    assert local_dimension(torch.from_numpy(flat), 20) == pytest.approx(dimension, rel=0.15)


def test_feature_rank_follows_the_very_victim(
    digits: tuple[Images, Images], untrained: Callable[[], Model], victim: Callable[[], Model], run: Run
) -> None:
    model, (train_set, test) = untrained(), digits
    method = catalog.make("analyses", "feature_rank", {"size": 60, "dimensions": (1, 5, 500)})
    truth = secret(test)
    table, _ = method(poisoned(train_set), model, test, truth, run)
    for key, value in victim().network.state_dict().items():
        assert torch.equal(value, model.network.state_dict()[key]), key
    rows = table.to_pylist()
    assert {row["epoch"] for row in rows if row["k"] is None} == {1, 2, 3, 4}
    last = {row["measure"]: row["value"] for row in rows if row["k"] == 32}  # all features
    assert last["acc"] == pytest.approx((predict(victim(), test.images) == test.labels).mean())
    hits = predict(victim(), truth.triggered.images) == truth.triggered.labels
    assert last["asr"] == pytest.approx(hits.mean())
    assert {row["k"] for row in rows if row["measure"] == "acc"} == {1, 5, 32}


def test_the_parts_of_the_features_are_orthogonal_and_add_up() -> None:
    rows = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    top, rest = split_directions(rows, 3)
    assert torch.allclose(top + rest, rows, atol=1e-6) and torch.linalg.matrix_rank(top) == 3
    assert (top @ rest.T).abs().max() < 1e-4


def test_the_theory_predicts_when_the_filter_flips(run: Run) -> None:
    table, _ = FlipEnergy(draws=1, noise=0.0, dimension=64)(run)
    rows = [row for row in table.to_pylist() if row["share"] > 0.08]  # fewer triggered images are too few for a ratio
    both = [(row["predicted"], row["measured"]) for row in rows]
    assert all((p is None) == (m is None) for p, m in both) and any(p is None for p, _ in both)
    assert all(abs(np.log(m / p)) < 0.3 for p, m in both if p and m)


def measured(name: str, hand: Hand) -> list[tuple[pa.Table, Any]]:
    """What the analysis of a figure says of small cells of two attacks."""
    small = {
        "feature_rank": {"size": 40, "every": 2},
        "singular_embedding": {"size": 60},
        "flip_energy": {"draws": 1, "batch_size": 32, "dimension": 32},
    }[name]
    table, about = catalog.make("analyses", name, small)(**hand("analyses", name))
    cell = {"dataset": "digits", "model": "preact_small", "ratio": "0.1", "seed": "0"}
    return [(table, {**about, **cell, "attack": attack}) for attack in ("badnets", "blended+alpha~0.1")]


@pytest.mark.parametrize(
    ("figure", "analysis"),
    [
        ("rank_over_training", "feature_rank"),
        ("embedding", "singular_embedding"),
        ("predicted_vs_measured", "flip_energy"),
    ],
)
def test_a_figure_draws_what_its_analysis_measures(
    figure: str,
    analysis: str,
    hand: Hand,
) -> None:
    tables = measured(analysis, hand)
    drawn = catalog.make("figures", figure, {})(study=Study("one", "A title", ()), **{analysis: tables})
    assert all(axis.has_data() for axis in drawn.axes if axis.get_visible())
    plotting.plt.close(drawn)
