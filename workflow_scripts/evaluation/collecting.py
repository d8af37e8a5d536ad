"""Cells into one table: DER and the checks need other cells, so they are made here."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from workflow_scripts.common import arrow, catalog, files, spellings
from workflow_scripts.common.cells import METRICS, Cell, clean_cell, is_in_training
from workflow_scripts.evaluation.checks import Context, Row, collapsed, failed_checks
from workflow_scripts.evaluation.metrics import der
from workflow_scripts.evaluation.stale import refuse_stale

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
    refuse_stale(rows, expected, evaluated, root)
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
        other = spellings.at_random(cell.defense)
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
    asks = catalog.describe("defenses", spellings.method_name(cell.defense)).asks
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
    return {**row, **notes, "reason": row["notes"].get("diverged"), "control": spellings.is_control(row["defense"])}
