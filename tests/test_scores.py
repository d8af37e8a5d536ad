"""TAC, the oracle that prunes by it, and the analyses of what defenses' scores of units are worth."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import Hand, quick, secret
from torch import nn

from workflow_scripts.analyses._logged import LoggedUnits, neurons_by_layer, rank_by_suspicion
from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.defenses import Defense
from workflow_scripts.evaluation.predictions import metrics_by_protocol, prediction_table
from workflow_scripts.figures._scored import drop_duplicate_orders
from workflow_scripts.figures.agreement import correlation
from workflow_scripts.figures.coverage import coverage
from workflow_scripts.networks.model import Architecture, Head, Model
from workflow_scripts.training.inference import predict
from workflow_scripts.units.layers import unit_layers
from workflow_scripts.units.tac import trigger_activated_change

Analyze = Callable[..., tuple[pa.Table, dict[str, Any]]]
BRIGHT = 255
"""The trigger: this value in the corner of images that are never brighter than half of it."""


@dataclass(frozen=True)
class ByHand(Architecture):
    """Classes 1 and 2 by brightness, through channel 0; class 0 where channel 3 meets the trigger."""

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        conv, norm, head = nn.Conv2d(channels, 4, 1, bias=False), nn.BatchNorm2d(4, eps=0.0), Head(4, classes)
        with torch.no_grad():
            conv.weight.copy_(torch.tensor([0.1, 0.0, 0.0, 1.0]).view(4, 1, 1, 1))
            norm.running_mean[3] = 0.6  # type: ignore[index]
            head.weight.copy_(torch.tensor([[0.0, 0, 0, 1e4], [-100, 0, 0, 0], [100, 0, 0, 0]]))
            head.bias.copy_(torch.tensor([0.0, 2.5, -2.5]))
        return nn.Sequential(conv, norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


@pytest.fixture
def by_hand() -> tuple[Model, Images, Truth]:
    """The network, its ten test images, and what its attacker keeps."""
    form = ImageFormat((8, 8, 1), ("target", "dark", "bright"), (0.0,), (1.0,))
    labels = np.arange(10) % 2 + 1
    images = np.broadcast_to(np.where(labels == 1, 25, 102)[:, None, None, None], (10, 8, 8, 1)).astype(np.uint8)
    test = Images(images, labels, 100 + np.arange(10), form)
    triggered, none = images[4:].copy(), np.empty(0, np.int64)
    triggered[:, 0, 0] = BRIGHT
    counted = Images(triggered, np.zeros(6, np.int64), test.index[4:], form)
    return (
        Model("by_hand", ByHand(precision="fp32"), form).eval(),
        test,
        Truth(counted, labels[4:], none, none, none, None, None, None),
    )


def test_tac_is_the_summed_change_of_each_unit(by_hand: tuple[Model, Images, Truth]) -> None:
    model, test, truth = by_hand
    found = trigger_activated_change(model, test, truth)
    change = float((BRIGHT - test.images[4:, 0, 0, 0].astype(float)).mean()) / 255
    assert set(found) == {"0", "1", "linear"}
    for name in ("0", "1"):
        assert torch.allclose(found[name], torch.tensor([0.1, 0, 0, 1.0]) * change, atol=1e-5)
    assert torch.allclose(found["linear"], torch.tensor([0.1 * change, 0, 0, 0.4]) / 64, atol=1e-5)  # 1 - 0.6 of 64


@pytest.mark.parametrize("where", ["all", "last"])
def test_the_oracle_removes_a_planted_channel_and_nothing_else(
    where: str, by_hand: tuple[Model, Images, Truth], run: Run
) -> None:
    model, test, truth = by_hand
    assert (predict(model, test.images) == test.labels).all() and (predict(model, truth.triggered.images) == 0).all()
    method = catalog.make("defenses", "tac_pruning", {"share": 0.25, "layers": where})
    method(victim=model, holdout=test, test=test, truth=truth, run=run)
    assert [(row["unit"], row["pruned"]) for row in run.rows] == [(0, False), (1, False), (2, False), (3, True)]
    assert (predict(model, test.images) == test.labels).all()
    assert (predict(model, truth.triggered.images) == truth.original_labels).all()


def test_the_oracle_leaves_a_model_alone_that_has_no_trigger(by_hand: tuple[Model, Images, Truth], run: Run) -> None:
    model, test, truth = by_hand
    before = {key: value.clone() for key, value in model.state_dict().items()}
    clean = Truth(truth.triggered[:0], truth.original_labels[:0], *(truth.altered,) * 3, None, None, None)
    catalog.make("defenses", "tac_pruning", {})(victim=model, holdout=test, test=test, truth=clean, run=run)
    assert run.notes["pruned_share"] == 0
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_layers_are_compared_as_a_defense_says() -> None:
    layer = np.array(["a"] * 4 + ["b"] * 4)
    scored = LoggedUnits(layer, np.tile(np.arange(4), 2), np.array([1.0, 2, 3, 4, 10, 10, 10, 50]), np.zeros(8, bool))
    defense = type("Scores", (Defense,), {"suspicious": "high"})()
    assert rank_by_suspicion(scored, defense).argmax() == 7 and rank_by_suspicion(scored, defense)[:4].max() < 10
    within = type("Within", (Defense,), {"suspicious": "low", "compare_by": "rank"})()
    assert rank_by_suspicion(scored, within).tolist() == [1, 0.75, 0.5, 0.25, 0.75, 0.75, 0.75, 0.25]
    outliers = type("Outliers", (Defense,), {"suspicious": "high", "compare_by": "deviation"})()
    assert rank_by_suspicion(scored, outliers)[[3, 7]] == pytest.approx([1.5 / (5 / 3) ** 0.5, 1.5])


def test_scores_speak_of_convolutions(victim: Callable[[], Model]) -> None:
    last = ("layer3.0.conv2", "layer3.0.shortcut.0")
    normalized = {
        "layer1.0.bn1": ("conv1",),
        "layer1.0.bn2": ("layer1.0.conv1",),
        "layer2.0.bn1": ("layer1.0.conv2",),  # and conv1, by the identity: but bn1 has read that
        "layer2.0.bn2": ("layer2.0.conv1",),
        "layer3.0.bn1": ("layer2.0.conv2", "layer2.0.shortcut.0"),
        "layer3.0.bn2": ("layer3.0.conv1",),
        "bn": last,
    }
    own = {name: (name,) for group in normalized.values() for name in group}
    found = neurons_by_layer(victim())
    assert {key: tuple(part.name for part in parts) for key, parts in found.items()} == {
        **normalized,
        **own,
        "linear": last[:1],
    }


@pytest.fixture(scope="module")
def analyze(digits: tuple[Images, Images], hand: Hand, tmp_path_factory: pytest.TempPathFactory) -> Analyze:
    """Runs an analysis of what a defense logged on the BadNets victim."""

    def analyzed(analysis: str, name: str, params: dict[str, Any] | None = None, truth: Truth | None = None) -> Any:
        run, defense = Run("digits", 0), catalog.make("defenses", name, params) if params else quick("defenses", name)
        secrets = {"truth": truth or secret(digits[1]), "defense": defense}
        defense(**hand("defenses", name, run=run, **secrets))
        return catalog.make("analyses", analysis, {})(**hand("analyses", analysis, log=run.log_table(), **secrets))

    return analyzed


def test_neurons_have_the_score_of_what_reads_them(analyze: Analyze, victim: Callable[[], Model]) -> None:
    table, about = analyze("neuron_scores", "clp", {"u": 1.0})
    rows = {(row["layer"], row["unit"]): row for row in table.to_pylist()}
    assert {layer for layer, _ in rows} == {n for n, m in victim().network.named_modules() if isinstance(m, nn.Conv2d)}
    assert len(rows) == len(table) and about["last"] == "layer3.0.conv2"
    assert rows["layer2.0.conv2", 5]["score"] == rows["layer2.0.shortcut.0", 5]["score"]
    assert rows["layer2.0.conv2", 5]["tac"] != rows["layer2.0.shortcut.0", 5]["tac"]
    pruned, kept = ([row["rank"] for row in rows.values() if row["pruned"] is flag] for flag in (True, False))
    assert pruned and max(pruned) < min(kept), "clp prunes what deviates most from its layer"


def test_the_first_rank_is_the_end_that_the_defense_suspects(analyze: Analyze) -> None:
    table, about = analyze("neuron_scores", "fp", {"epochs": 0})
    own = [row for row in table.to_pylist() if row["layer"] == about["last"]]
    assert min(own, key=lambda row: row["rank"])["score"] == min(row["score"] for row in own)
    assert min(own, key=lambda row: row["tac_rank"])["tac"] == max(row["tac"] for row in own)


def test_the_oracle_covers_what_chance_does_not(analyze: Analyze) -> None:
    covered = {}
    for name in ("tac_pruning", "random_pruning"):
        table, _ = analyze("neuron_scores", name, {"epochs": 0})
        covered[name] = coverage(table["rank"].to_numpy(), table["tac_rank"].to_numpy(), 0.1)
    assert covered["tac_pruning"] > 2 * covered["random_pruning"]


def test_figures_show_one_order_once(analyze: Analyze) -> None:
    cell = {"dataset": "digits", "model": "m", "attack": "a", "ratio": "0.1", "seed": "0"}
    spelled = {"random_pruning": {}, "random_pruning+share~0.2": {"share": 0.2}, "clp": {}, "clp+u~1.0": {"u": 1.0}}
    found = []
    for spelling, params in spelled.items():
        table, about = analyze("neuron_scores", spellings.method_name(spelling), params)
        found.append((table, {**cell, "defense": spelling, **about}))
    assert [about["defense"] for _, about in drop_duplicate_orders(found)] == ["random_pruning", "clp"]
    shown = drop_duplicate_orders([*found, (found[0][0][:0], {})], only_controls=True)
    assert [about["defense"] for _, about in shown] == ["random_pruning", "clp", "clp+u~1.0"]


@pytest.mark.parametrize("analysis", ["neuron_scores", "sweep"])
@pytest.mark.parametrize(("name", "reason"), [("abl", "trains a network of its own"), ("ft", "scores no units")])
def test_nothing_is_said_of_what_has_no_scores(analysis: str, name: str, reason: str, analyze: Analyze) -> None:
    table, about = analyze(analysis, name)
    assert len(table) == 0 and reason in about["skipped"]


def test_without_a_trigger_there_is_a_sweep_but_no_coverage(analyze: Analyze, digits: tuple[Images, Images]) -> None:
    truth = secret(digits[1])
    clean = Truth(truth.triggered[:0], truth.original_labels[:0], *(truth.altered,) * 3, None, None, None)
    table, about = analyze("neuron_scores", "clp", truth=clean)
    assert len(table) == 0 and "triggered" in about["skipped"]
    table, _ = analyze("sweep", "clp", truth=clean)
    assert set(table["asr"].to_pylist()) == {None} and not any(table["oracle"].to_pylist())


def test_coverage_of_itself_is_whole_and_of_chance_the_ratio() -> None:
    rng = np.random.default_rng(0)
    reference = rng.permutation(100) + 1.0
    for ratio in (0.01, 0.1, 0.5, 1.0):
        assert coverage(reference, reference, ratio) == 1
        assert coverage(np.full(100, 50.5), reference, ratio) == pytest.approx(ratio), "equal scores share the places"
        drawn = [coverage(rng.permutation(100) + 1.0, reference, ratio) for _ in range(300)]
        assert np.mean(drawn) == pytest.approx(ratio, abs=0.03)
    assert coverage(101 - reference, reference, 0.5) == 0


def test_agreement_is_within_layers() -> None:
    first = {(layer, unit): float(unit) for layer in "ab" for unit in range(5)}
    shifted = {(layer, unit): value + 100 * (layer == "a") for (layer, unit), value in first.items()}
    mixed = {(layer, unit): value if layer == "a" else -value for (layer, unit), value in first.items()}
    only = {place: -value for place, value in first.items() if place[0] == "a"}
    assert correlation(first, shifted) == pytest.approx(1)
    assert correlation(first, mixed) == pytest.approx(0) and correlation(first, only) == pytest.approx(-1)
    assert np.isnan(correlation(first, {("c", 0): 1.0})) and np.isnan(correlation(first, dict.fromkeys(first, 1.0)))


@pytest.mark.parametrize("name", ["random_pruning", "fp"])
def test_a_sweep_starts_at_the_victim_and_counts_what_it_silences(
    name: str, analyze: Analyze, victim: Callable[[], Model], digits: tuple[Images, Images], run: Run
) -> None:
    table, _ = analyze("sweep", name, {"epochs": 0, **({"share": 0.11} if name == "random_pruning" else {})})
    rows = table.to_pylist()
    before = metrics_by_protocol(prediction_table(victim(), digits[1], secret(digits[1]), run))[0]
    assert rows[0]["units"] == 0 and all(rows[0][key] == before[key] for key in ("acc", "asr", "ra"))
    total = sum(map(len, unit_layers(victim()))) if name == "random_pruning" else 32
    assert all(row["share"] == row["units"] / total for row in rows)
    assert [row["units"] for row in rows] == sorted({row["units"] for row in rows})
    assert rows[-1]["units"] == round(0.9 * total) and rows[-1]["acc"] < before["acc"]
    if name == "random_pruning":
        assert [row["units"] for row in rows if row["own"]] == [round(0.11 * total)]


def test_a_sweep_at_the_share_of_an_oracle_is_that_oracle(
    analyze: Analyze, victim: Callable[[], Model], digits: tuple[Images, Images], run: Run
) -> None:
    test, truth = digits[1], secret(digits[1])
    method = catalog.make("defenses", "tac_pruning", {"share": 0.1})
    model = method(victim=victim(), holdout=digits[0][:80], test=test, truth=truth, run=run)
    defended = metrics_by_protocol(prediction_table(model, test, truth, run))[0]
    table, _ = analyze("sweep", "tac_pruning", {"share": 0.1})
    (own,) = (row for row in table.to_pylist() if row["own"])
    assert all(own[key] == defended[key] for key in ("acc", "asr", "ra"))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("anp", {"steps": 40, "max_drop": 0.3, "holdout_size": 80}),
        ("rnp", {"max_drop": 0.3, "holdout_size": 80}),
        ("fmp", {"epochs": 0, "p": 4, "holdout_size": 80}),
        ("clp", {"u": 1.0}),
        ("fp", {"epochs": 0}),
    ],
)
def test_a_sweep_at_a_defenses_own_share_is_what_it_saved(
    name: str, fields: dict[str, Any], analyze: Analyze, hand: Hand, digits: tuple[Images, Images], run: Run
) -> None:
    """It silences units as the defense does."""
    model = catalog.make("defenses", name, fields)(**hand("defenses", name))
    saved = metrics_by_protocol(prediction_table(model, digits[1], secret(digits[1]), run))[0]
    (own,) = (row for row in analyze("sweep", name, fields)[0].to_pylist() if row["own"])
    assert own["units"] and all(own[key] == saved[key] for key in ("acc", "asr", "ra"))


def test_the_first_share_that_loses_accuracy_ends_the_search() -> None:
    """A later one that happens to keep it is luck on a few images."""
    kept = (1.0, 0.99, 0.9, 1.0)
    rows = [{"units": i, "holdout_acc": acc, "asr": 1 - i / 10} for i, acc in enumerate(kept)]
    assert catalog.make("analyses", "sweep", {})._choose(rows) == {"blind": 1, "oracle": 1}


def test_the_blind_rule_and_the_oracle_keep_the_same_accuracy(analyze: Analyze) -> None:
    rows = analyze("sweep", "tac_pruning", {"share": 0.1})[0].to_pylist()
    floor = rows[0]["holdout_acc"] - 0.02
    allowed = list(itertools.takewhile(lambda row: row["holdout_acc"] >= floor, rows))
    assert [row for row in rows if row["blind"]] == [allowed[-1]]
    (oracle,) = (row for row in rows if row["oracle"])
    assert oracle in allowed and oracle["asr"] == min(row["asr"] for row in allowed)
    assert oracle["units"] <= allowed[-1]["units"]
