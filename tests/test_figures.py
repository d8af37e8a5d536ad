"""Figures that a reader can read: every condition has its place, and no label lies on another."""

import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Hand, quick
from made_up import Inputs, analyzed, made_up_study, write_costs, write_metrics
from matplotlib.figure import Figure
from matplotlib.text import Text
from synthetic import SYNTHETIC

from workflow_scripts.analyses import Measured
from workflow_scripts.common import catalog
from workflow_scripts.common.cells import Cell, Study
from workflow_scripts.common.source import ROOT
from workflow_scripts.evaluation.rows import axes_apart
from workflow_scripts.reporting import plotting
from workflow_scripts.reporting.panels import panels


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No figure stays open."""
    yield
    plotting.plt.close("all")


FIGURES = catalog.list_methods("figures")
PUBLISHED = ROOT / "reporting" / "reported.csv"


def asks_of(figure: str) -> set[str]:
    """What a figure asks for, and what the analyses ask for that it draws."""
    asks = set(catalog.describe("figures", figure).asks)
    return asks.union(*(catalog.describe("analyses", a).asks for a in asks & set(catalog.list_methods("analyses"))))


OF_DEFENSES = [f for f in FIGURES if asks_of(f) & {"rows", "costs", "log", "defended"} and f != "stability"]
"""The others show victims; `stability` shows methods, their settings as dots."""


def draw(name: str, study: Study, folder: Path, hand: Hand | None = None) -> Figure:
    """A figure of a study with made-up numbers; what an analysis has no made-up numbers for, it measures."""

    def value(cell: Cell) -> dict[str, Any]:
        spread = int(cell.seed) / 50
        failed = ["not_implanted"] if cell.attack == "sig" and cell.ratio == "0.01" else []
        return {} if cell.attack == "none" else {"acc": 0.9 + spread, "asr": 0.1 + 10 * spread, "checks": failed}

    asked = [key for key in catalog.describe("figures", name).asks if key in catalog.list_methods("analyses")]
    inputs: dict[str, Any] = {}
    for key in asked:
        make = None if key in SYNTHETIC else lambda i, key=key: measure(key, hand)
        inputs[key] = analyzed(study, key, folder, make)
    inputs |= {"metrics": write_metrics(study, folder, value), "costs": write_costs(study, folder)}
    given = Inputs(published=str(PUBLISHED), **inputs)
    figure = plotting.draw(name, {}, study, given)
    figure.canvas.draw()
    return figure


def measure(name: str, hand: Hand | None) -> Measured:
    """What an analysis finds of the small victim."""
    assert hand is not None
    found: Measured = quick("analyses", name)(**hand("analyses", name))
    return found


def texts_of(figure: Figure) -> list[str]:
    """Everything that is written in it."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "many"), [*((f, False) for f in FIGURES), ("heatmap", True), ("tradeoff", True)])
def test_a_figure_has_no_labels_that_overlap(name: str, many: bool, tmp_path: Path, hand: Hand) -> None:
    long = {"random_pruning": {"layers": "last", "share": 0.5, "epochs": 20}}
    sweep = [{"clp": {"u": [float(u) for u in range(1, 31)]}}] if many else []
    study = made_up_study(defense=["none", {"ft": {"lr": [0.01, 0.1]}}, long, *sweep, "clean"])
    figure = draw(name, study, tmp_path, hand)
    output = types.SimpleNamespace(png=str(tmp_path / "a.png"), pdf=str(tmp_path / "a.pdf"))
    assert_apart(name, [text for axis in figure.axes for text in (axis.title, axis.yaxis.label) if axis.get_visible()])
    legends = [text for legend in figure.legends for text in legend.get_texts()]
    below = [axis.xaxis.label for axis in figure.axes if axis.get_visible()]
    assert_apart(name, [*legends, *below, *(text for text in figure.texts)])
    for axis in figure.axes:
        sides = ((axis.get_xticklabels(), axis.get_xlim()), (axis.get_yticklabels(), axis.get_ylim()))
        for i, (labels, limits) in enumerate(sides):
            drawn = [text for text in labels if min(limits) <= text.get_position()[i] <= max(limits)]
            assert_apart(name, [*drawn, axis.title])
        if axis.get_visible():
            assert axis.get_window_extent().height > 0.9 * figure.dpi, "labels leave no room for the picture"
    whole = figure.bbox
    for text in (*figure.texts, *(axis.title for axis in figure.axes if axis.get_visible())):
        box = text.get_window_extent()
        assert box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1, f"{text.get_text()!r} is cut"
    plotting.save(figure, output)
    assert Path(output.png).stat().st_size > 5000 and Path(output.pdf).read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", FIGURES)
def test_two_datasets_and_two_ratios_have_places_of_their_own(name: str, tmp_path: Path, hand: Hand) -> None:
    study = made_up_study(
        dataset=["digits", "cifar10"], ratio=[0.05, 0.01], seed=[0, 1], defense=["none", {"clp": {"u": [3.0, 5.0]}}]
    )
    words = " ".join(texts_of(draw(name, study, tmp_path, hand))).split()
    for word in ("digits", "cifar10", "0.05", "0.01", "badnets", "sig"):
        assert word in words, word


@pytest.mark.parametrize("name", OF_DEFENSES)
def test_a_swept_field_is_spelled_out_around_the_datasets_setting(name: str, tmp_path: Path, hand: Hand) -> None:
    """On digits a learning rate of 0.1 is what ft has anyhow."""
    study = made_up_study(attack="badnets", defense=["none", {"ft": {"lr": [0.01, 0.1]}}])
    words = " ".join(texts_of(draw(name, study, tmp_path, hand)))
    assert "lr=0.01" in words and "lr=0.1 " in words.replace("\n", " ") + " "


@pytest.mark.parametrize("found", [True, False])
def test_a_figure_that_has_nothing_to_show_says_why(found: bool, tmp_path: Path) -> None:
    study = made_up_study(attack="badnets", seed=[0, 1], defense=["none", "ft"])
    skipped: Measured = SYNTHETIC["neuron_scores"](np.random.default_rng(0))[0][:0], {"skipped": "ft scores no units"}
    paths = analyzed(study, "neuron_scores", tmp_path, lambda i: skipped) if found else []
    inputs = Inputs(metrics=write_metrics(study, tmp_path, lambda cell: {}), neuron_scores=paths)
    words = " ".join(" ".join(texts_of(plotting.draw("coverage", {}, study, inputs))).split())
    counted = f"ft scores no units ({len(paths)} of {len(paths)} cells)"
    assert f"neuron_scores: {counted if found else 'no cell of the study has what it reads'}" in words


def test_only_seeds_share_a_panel() -> None:
    rows = [
        {"dataset": d, "model": "m", "attack": a, "ratio": r, "seed": s, "defense": "ft"}
        for d in ("x", "y")
        for a, ratios in (("badnets", (0.1, 0.05)), ("sig", (0.08,)))
        for r in ratios
        for s in (0, 1)
    ]
    found = panels(rows)
    assert (
        list(found)[:3] == ["x\nbadnets\nratio 0.1", "x\nbadnets\nratio 0.05", "x\nsig\nratio 0.08"] and len(found) == 6
    )
    assert all(len({tuple(v for k, v in row.items() if k != "seed") for row in own}) == 1 for own in found.values())
    one_each = [row for row in rows if row["ratio"] != 0.05 and row["dataset"] == "x"]
    assert axes_apart(one_each) == ["attack"], "a ratio that goes with the attack is no axis"


def test_the_heat_map_of_two_ratios_shows_both_numbers(tmp_path: Path) -> None:
    """ASR 100 at 0.05 and 10 at 0.01 was drawn as 55."""
    study = made_up_study(attack="badnets", ratio=[0.05, 0.01], defense="ft")
    path = write_metrics(study, tmp_path, lambda cell: {"asr": 1.0 if cell.ratio == "0.05" else 0.1})
    texts = texts_of(plotting.draw("heatmap", {}, study, Inputs(metrics=path)))
    assert "100" in texts and "10" in texts and "55" not in texts


def assert_apart(name: str, texts: Iterable[Text]) -> None:
    """That no two of these texts of a drawn figure overlap."""
    boxes = [(text.get_window_extent(), text.get_text()) for text in texts if text.get_text()]
    for i, (box, text) in enumerate(boxes):
        assert not [other for edges, other in boxes[i + 1 :] if box.overlaps(edges)], (name, text)
