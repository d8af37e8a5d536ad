"""Cells into one table: DER and the checks need other cells, so they are made here. Stale cells are refused."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from workflow_scripts.common import arrow, catalog, files
from workflow_scripts.common.cells import METRICS, Cell, clean_cell, is_in_training
from workflow_scripts.common.errors import UserError
from workflow_scripts.evaluation.checks import Context, Row, collapsed, failed_checks
from workflow_scripts.evaluation.metrics import der

RATES = [
    (f"{m}{part}", pa.int64() if part == "_n" else pa.float64())
    for m in METRICS[:3]
    for part in ("", "_n", "_low", "_high")
]
COLUMNS = pa.schema(
    [
        *((axis, pa.string()) for axis in ("dataset", "model", "attack")),
        ("ratio", pa.float64()),
        ("seed", pa.int64()),
        *((key, pa.string()) for key in ("defense", "protocol")),
        ("control", pa.bool_()),
        *((key, pa.string()) for key in ("attack_params", "defense_params", "model_params")),
        *RATES,
        *((f"rejected_{images}", pa.float64()) for images in ("test", "triggered")),
        ("der", pa.float64()),
        *((key, pa.float64()) for key in ("trigger_psnr", "trigger_rms", "trigger_ssim", "pruned_share")),
        ("pruned_layers", pa.string()),
        ("finetune_epochs", pa.int64()),
        ("checks", pa.list_(pa.string())),
        ("reason", pa.string()),
        ("digests", pa.string()),
        ("code", pa.string()),
    ]
)
SCHEMA = arrow.require(COLUMNS, *Cell._fields, "protocol", "control", "acc")
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


def collect(
    metrics: Iterable[str], expected: Mapping[str, str], root: str, references: Mapping[str, float | None]
) -> pa.Table:
    """The rows of these `metrics.json`, with DER and checks.

    Args:
        references: the clean accuracy that the literature has, by dataset.
        expected: for every artifact that the rows rest on, by its path below `root`, what it must have been made by
            (`fingerprint.of_artifact`). UserError names the first that was made by something else.
    """
    rows: list[Row] = []
    evaluated: dict[str, float] = {}
    for path in metrics:
        own, time = _read_rows(path), Path(path).stat().st_mtime
        rows += own
        evaluated |= {place: min(time, evaluated.get(place, time)) for row in own for place in row["digests"]}
    _refuse_stale(rows, expected, evaluated, root)
    by_place = {(Cell(*(r[axis] for axis in Cell._fields)), r["protocol"]): r for r in rows}
    seeds = Counter((cell._replace(seed=""), protocol) for cell, protocol in by_place)
    contexts, pairs = {}, dict[tuple[Cell, str], list[tuple[Row, Row]]]()
    for (cell, protocol), row in by_place.items():
        context = Context(
            undefended=by_place.get((undefended_cell(cell), "default")),
            clean=by_place.get((clean_cell(cell), "default")),
            floor=by_place.get((cell._replace(defense="clean"), "default")),
            seeds=seeds[cell._replace(seed=""), protocol],
            reference=references.get(cell.dataset),
        )
        row["der"] = _der(row, context.undefended)
        contexts[cell, protocol] = context
    for (cell, protocol), row in by_place.items():
        other = catalog.at_random(cell.defense)
        place = (cell._replace(defense=other), protocol) if other else None
        if place in by_place and not collapsed(by_place[place], contexts[place]):
            pairs.setdefault((cell._replace(seed=""), protocol), []).append((row, by_place[place]))
    for (cell, protocol), row in by_place.items():
        context = replace(contexts[cell, protocol], random=pairs.get((cell._replace(seed=""), protocol), []))
        row["checks"] = failed_checks(row, context)
    return pa.Table.from_pylist([_convert_types(by_place[place]) for place in sorted(by_place)], SCHEMA)


def _read_rows(path: str) -> list[Row]:
    """The rows of a cell, with what its method noted in the columns of the table."""
    with files.reading_artifact(path, "JSON"):
        rows = [_add_notes(row) for row in files.read_json(path)]
        arrow.check_rows([_convert_types({**row, "der": None, "checks": []}) for row in rows], SCHEMA)
        for row in rows:
            _check_texts(row)
        cells = {Cell(*(row[axis] for axis in Cell._fields)) for row in rows}
        if len(cells) != 1 or len({row["protocol"] for row in rows}) < len(rows):
            raise ValueError("its rows are not those of one cell, one for each protocol")
        return rows


def _check_texts(row: Row) -> None:
    """ValueError where a row has no number of classes, or something else than texts for its axes and its digests."""
    texts = [row[axis] for axis in Cell._fields]
    texts += [value for key in ("digests", "made", "code") for value in row[key].values()]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("its axes, its digests or its code are no texts")
    if type(row["classes"]) is not int or row["classes"] < 1:
        raise ValueError(f"it has {row['classes']!r:.60} classes; it must be a whole number above 0")


def undefended_cell(cell: Cell) -> Cell:
    """Where a defense started from: the victim's ACC and ASR, or ordinary training's where it trains itself."""
    asks = catalog.describe("defenses", catalog.method_name(cell.defense)).asks
    return cell._replace(defense="plain" if is_in_training(asks) else "none")


def _der(row: Row, before: Row | None) -> float | None:
    if before is None or row["asr"] is None or before["asr"] is None:
        return None
    return der(row["acc"], row["asr"], before["acc"], before["asr"])


def _convert_types(row: Row) -> Row:
    typed: Row = {"ratio": float(row["ratio"]), "seed": int(row["seed"])}
    typed |= {key: json.dumps(row[key], sort_keys=True) for key in ("digests", "code")}
    return {key: row[key] for key in SCHEMA.names} | typed


def _add_notes(row: Row) -> Row:
    notes = {key: row["notes"].get(key) for key in ("pruned_share", "pruned_layers", "finetune_epochs")}
    return {**row, **notes, "reason": row["notes"].get("diverged"), "control": catalog.is_control(row["defense"])}


def _refuse_stale(rows: Sequence[Row], expected: Mapping[str, str], evaluated: Mapping[str, float], root: str) -> None:
    """UserError where an artifact is not what it should have been made by, or not what a cell was evaluated on; those
    are hashed again that have been written since the first of their cells was evaluated."""
    made = {path: by for row in rows for path, by in row["made"].items()}
    for path in expected.keys() - made.keys():
        if Path(root, path).exists():
            made[path] = files.hash_provenance(files.read_about(Path(root, path)))
    stale = sorted(path for path, by in expected.items() if made.get(path, by) != by)
    for path, digest in {path: digest for row in rows for path, digest in row["digests"].items()}.items():
        if _is_changed(Path(root, path), evaluated[path], digest):
            stale.append(path)
    if stale:
        raise UserError(
            f"{root}/{stale[0]} is stale: not what today's code and parameters make, or not what its cell was "
            f"evaluated on ({len(stale)} such); remove it and run again"
        )


def _is_changed(file: Path, evaluated: float, digest: str) -> bool:
    """Whether an artifact is there that has been written since this time, and has another digest. UserError if it
    cannot be read."""
    try:
        there = file.exists()
    except OSError:  # what no file can be called, or nobody may look for
        return False
    with files.reading_artifact(file, "artifact"):
        return there and _time_of_change(file) >= evaluated and files.sha256(file) != digest


def _time_of_change(file: Path) -> float:
    """When the file came to its place: the time of its inode, which no copy carries over, or of its content."""
    return max(file.stat().st_mtime, file.stat().st_ctime)


def collect_costs(
    cells: Sequence[Cell], costs: Sequence[str], behind: Sequence[Mapping[str, Sequence[str]]]
) -> pa.Table:
    """One row for each cell: what its defense cost (nothing where it stands for a model that is there), and the seconds
    of all that is `BEHIND` it, by the column that has their sum."""
    rows = []
    for cell, own, others in zip(cells, costs, behind, strict=True):
        axes = {**cell._asdict(), "ratio": float(cell.ratio), "seed": int(cell.seed)}
        there = catalog.describe("defenses", catalog.method_name(cell.defense)).traits["stands_for"]
        cost = _read_cost(own) | ({"seconds": 0.0, **dict.fromkeys(PASSES, 0)} if there else {})
        before = {column: sum(_read_cost(path)["seconds"] for path in paths) for column, paths in others.items()}
        rows.append({**axes, **cost, **before})
    return pa.Table.from_pylist(rows, COSTS)


def _read_cost(path: str) -> dict[str, Any]:
    with files.reading_artifact(path, "JSON"):
        cost = files.read_json(path)
        arrow.check_rows([cost], COST)
        return {key: cost[key] for key in COST.names}
