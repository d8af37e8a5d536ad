"""What cells have cost, in one table."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from workflow_scripts.common import arrow, catalog, files, spellings
from workflow_scripts.common.cells import Cell

PASSES = {"forward_passes": pa.int64(), "backward_passes": pa.int64()}
NUMBERS = {"seconds": pa.float64(), "peak_memory_mb": pa.float64(), **PASSES}
COST = arrow.require(pa.schema({**NUMBERS, "device": pa.string(), "versions": pa.string()}))
"""What `costs.json` says of one job."""
BEHIND = ("poisoning_seconds", "training_seconds", "auxiliary_seconds")
"""What came before a defense: the attacker's job, where it does not train the victim itself, the victim's training, the
auxiliaries and detectors."""
COSTS = pa.schema(
    [
        *((axis, pa.string()) for axis in ("dataset", "model", "attack")),
        ("ratio", pa.float64()),
        ("seed", pa.int64()),
        ("defense", pa.string()),
        *((key, pa.float64()) for key in ("seconds", *BEHIND, "peak_memory_mb")),
        *PASSES.items(),
        *((key, pa.string()) for key in ("device", "versions")),
    ]
)


def collect_costs(
    cells: Sequence[Cell], costs: Sequence[str], behind: Sequence[Mapping[str, Sequence[str]]]
) -> pa.Table:
    """One row for each cell: what its defense cost (nothing where it stands for a model that is there), and the seconds
    of all that is `BEHIND` it, by the column that has their sum."""
    rows = []
    for cell, own, others in zip(cells, costs, behind, strict=True):
        axes = {**cell._asdict(), "ratio": float(cell.ratio), "seed": int(cell.seed)}
        there = catalog.describe("defenses", spellings.method_name(cell.defense)).traits["stands_for"]
        cost = _read_cost(own) | ({"seconds": 0.0, **dict.fromkeys(PASSES, 0)} if there else {})
        before = {column: sum(_read_cost(path)["seconds"] for path in others[column]) for column in BEHIND}
        rows.append({**axes, **cost, **before})
    return pa.Table.from_pylist(rows, COSTS)


def _read_cost(path: str) -> dict[str, Any]:
    with files.reading_artifact(path, "JSON"):
        cost = files.read_json(path)
        arrow.check_rows([cost], COST)
        return {key: cost[key] for key in COST.names}
