"""A method and itself at random: as many units in the same places, and everything else alike."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Hand, quick

from workflow_scripts.analyses._logged import read_scores
from workflow_scripts.common import arrow, catalog
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.units.selection import select_units
from workflow_scripts.units.thresholds import list_steps, loses_more

FIELDS: dict[str, dict[str, Any]] = {
    "anp": {"max_drop": 1.0, "steps": 30, "eps": 2.0, "lr": 0.5},
    "bnp": {"u": 1.0},
    "clp": {"u": 1.0},
    "ep": {"u": 1.0, "samples": 400},
    "fmp": {"p": 4},
    "fp": {},
    "holder": {"rule": "top", "share": 0.2},
    "rnp": {"unlearn_lr": 0.05, "recover_epochs": 5, "lr": 50.0, "max_drop": 1.0, "batch_size": 32},
    "tsbd": {"unlearn_epochs": 2},
}
WITHIN = ("bnp", "clp", "ep", "fmp", "holder")
"""Those that compare the units of a layer only."""


def test_every_pruning_method_is_here() -> None:
    found = {n for n in catalog.list_methods("defenses") if "selection" in catalog.describe("defenses", n).fields}
    assert found == {*FIELDS, "hid"}, "hid prunes as holder does"


def defended(name: str, hand: Hand, selection: str) -> tuple[dict[str, list[int]], Model, dict[str, Any]]:
    """The pruned units by layer, the model and the notes."""
    run = Run("digits", 0)
    method = replace(quick("defenses", name), **FIELDS[name], selection=selection)
    model = method(**hand("defenses", name, run=run))
    rows = arrow.select_rows(run.log_table(), "kind", "unit").to_pylist()
    pruned: dict[str, list[int]] = {row["layer"]: [] for row in rows}
    for row in rows:
        if row["pruned"]:
            pruned[row["layer"]].append(row["unit"])
    return pruned, model, run.notes


@pytest.mark.parametrize("name", FIELDS)
def test_as_many_units_fall_at_random(name: str, hand: Hand) -> None:
    own, _, notes = defended(name, hand, "own")
    drawn, _, other = defended(name, hand, "random")
    counts, random_counts = ({layer: len(units) for layer, units in found.items()} for found in (own, drawn))
    assert sum(counts.values()) > 0 and own != drawn
    if name in WITHIN:
        assert counts == random_counts
    if name != "tsbd":  # of a pool of as many neurons, its m zeroes weights of more or fewer
        assert sum(counts.values()) == sum(random_counts.values())
        assert notes["pruned_share"] == other["pruned_share"]
    assert notes["finetune_epochs"] == other["finetune_epochs"] and notes["pruned_layers"] == other["pruned_layers"]


def test_units_are_drawn_within_layers_or_among_all() -> None:
    own, sizes = {"a": [0, 1, 2], "b": []}, {"a": 40, "b": 160}
    run = Run("digits", 0)
    inside = select_units("random", own, sizes, run, within=True)
    among = select_units("random", own, sizes, run, within=False)
    assert len(inside["a"]) == 3 and not inside["b"]
    assert len(among["a"]) + len(among["b"]) == 3
    assert select_units("own", own, sizes, run, within=True) == own
    many = [select_units("random", own, sizes, Run("digits", seed), within=False)["b"] for seed in range(200)]
    assert np.mean([len(units) for units in many]) == pytest.approx(3 * 0.8, abs=0.2), "by the size of the layers"


def test_without_neurons_tsbd_is_its_fine_tuning_alone(hand: Hand) -> None:
    """n = 0 re-initializes nothing, whatever the scheme and the selection."""
    method = replace(quick("defenses", "tsbd"), **FIELDS["tsbd"], n=0.0)
    first = method(**hand("defenses", "tsbd", run=Run("digits", 0)))
    for changed in ({"selection": "random"}, {"reinit": "v1"}, {"selection": "random_in_layer", "reinit": "random"}):
        other = replace(method, **changed)(**hand("defenses", "tsbd", run=Run("digits", 0)))
        for a, b in zip(first.network.parameters(), other.network.parameters(), strict=True):
            assert torch.equal(a, b)
    untouched = replace(method, finetune="none")(**hand("defenses", "tsbd", run=Run("digits", 0)))
    victim = hand("defenses", "tsbd")["victim"]
    assert all(
        torch.equal(a, b) for a, b in zip(untouched.network.parameters(), victim.network.parameters(), strict=True)
    )


def test_in_layer_the_pool_has_as_many_neurons_of_each(hand: Hand) -> None:
    run = Run("digits", 0)
    method = replace(quick("defenses", "tsbd"), **FIELDS["tsbd"], m=1.0, selection="random_in_layer", finetune="none")
    method(**hand("defenses", "tsbd", run=run))
    own = Run("digits", 0)
    replace(method, selection="own")(**hand("defenses", "tsbd", run=own))
    counts = [
        {layer: int(units.pruned[units.layer == layer].sum()) for layer in np.unique(units.layer)}
        for units in (read_scores(log.log_table()) for log in (run, own))
    ]
    assert counts[0] == counts[1] and sum(counts[0].values()) > 0


@pytest.mark.parametrize(("step", "last"), [(0.05, 0.95), (0.3, 0.9), (0.4, 0.8), (0.08, 0.96), (0.7, 0.7), (1.0, 0.0)])
def test_steps_go_on_below_one(step: float, last: float) -> None:
    steps = list_steps(step)
    assert steps[0] == 0 and steps[-1] == pytest.approx(last) and last + step >= 1 - 1e-9


def test_a_drop_of_just_as_much_as_is_allowed_is_none_too_many() -> None:
    """Ten images of 500 are two points, whatever floating point makes of them."""
    for hits in range(10, 501):
        assert not loses_more(hits / 500, (hits - 10) / 500, 0.02) and loses_more(hits / 500, (hits - 11) / 500, 0.02)
