"""Studies with made-up numbers: what tables and figures are drawn from, without a network."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from synthetic import SYNTHETIC

from workflow_scripts.analyses import Measured
from workflow_scripts.common import arrow, catalog, config, spellings
from workflow_scripts.common.cells import Cell, Study, Table
from workflow_scripts.common.grid import expand_grid
from workflow_scripts.common.studies import add_implied_cells
from workflow_scripts.evaluation.collecting import SCHEMA
from workflow_scripts.evaluation.costs import COSTS
from workflow_scripts.evaluation.rows import rename_defenses

CONFIG = {
    "studies": ["made_up"],
    "datasets": {"digits": {"loader": "digits"}, "cifar10": {"loader": "cifar10", "folder": "data"}},
    "settings": {"digits": {"defenses": {"ft": {"lr": 0.1}}}},
}
GRID = {
    "dataset": "digits",
    "model": "preact_small",
    "attack": ["none", "badnets", "sig"],
    "ratio": 0.08,
    "seed": [0, 1, 2],
    "defense": ["none", "ft", "clean"],
}
Value = Callable[[Cell], dict[str, Any]]


class Inputs(types.SimpleNamespace):
    """Inputs of a rule: by attribute and by key."""

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)


def made_up_study(table: Table | None = None, **grid: Any) -> Study:
    """A study of this grid; unless it says otherwise, ft's learning rate is 0.1 on digits and 0.01 on cifar10."""
    asked = tuple(dict.fromkeys(expand_grid({**GRID, **grid}, config.read(CONFIG))))
    return Study("one", "By hand", asked, (table or Table(("attack",), ("defense",), ("acc", "asr")),))


def write_metrics(study: Study, folder: Path, value: Value) -> str:
    """The study's metrics, of the cells that it implies too: `value` says in what a row differs from an ACC of 0.95, an
    ASR of 0.5 and no failed checks."""
    rows = []
    for cell in add_implied_cells(study.cells):
        plain = {"acc": 0.95, "asr": 0.5, "ra": 0.4, "der": 0.6, "checks": [], "protocol": "default"}
        if cell.attack == "none":
            plain |= {"asr": None, "ra": None, "der": None}
        control = spellings.is_control(cell.defense)
        axes = {**cell._asdict(), "ratio": float(cell.ratio), "seed": int(cell.seed), "control": control}
        rows.append({**axes, **plain, **value(cell)})
    path = folder / "metrics.parquet"
    pq.write_table(pa.Table.from_pylist([{k: row.get(k) for k in SCHEMA.names} for row in rows], SCHEMA), path)
    return str(path)


def write_costs(study: Study, folder: Path) -> str:
    """The study's costs: a second more for each defense, none where it stands for a model that is there."""
    names, rows = list(dict.fromkeys(cell.defense for cell in study.cells)), []
    for cell in add_implied_cells(study.cells):
        there = catalog.describe("defenses", spellings.method_name(cell.defense)).traits["stands_for"]
        spent = {"seconds": 0.0 if there else 2.0 + names.index(cell.defense), "peak_memory_mb": 300.0}
        spent |= {"poisoning_seconds": 0.1, "training_seconds": 4.0, "auxiliary_seconds": 0.0}
        spent |= {"forward_passes": 4000, "backward_passes": 2000}
        axes = {**cell._asdict(), "ratio": float(cell.ratio), "seed": int(cell.seed)}
        rows.append({**axes, **spent, "device": "made up", "versions": "{}"})
    path = folder / "costs.parquet"
    pq.write_table(pa.Table.from_pylist(rows, COSTS), path)
    return str(path)


def analyzed(study: Study, name: str, folder: Path, make: Callable[[int], Measured] | None = None) -> list[str]:
    """The files of an analysis of the study's attacked cells, or of its victims, at all seeds, with random numbers."""
    every = {"log", "defended"} & set(catalog.describe("analyses", name).asks)
    asked = study.asked if every else rename_defenses(study, ["none"])
    cells = [cell for cell in dict.fromkeys(cell for cell, _ in asked) if cell.attack != "none"]
    paths = []
    for i, cell in enumerate(cells):
        table, about = make(i) if make else SYNTHETIC[name](np.random.default_rng(i))
        paths.append(str(folder / f"{name}{i}.parquet"))
        arrow.write_table(paths[-1], table, {**cell._asdict(), **about})
    return paths
