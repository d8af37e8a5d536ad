"""What moved since another commit, for people."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from workflow_scripts.evaluation.checks import Row
from workflow_scripts.reporting.aggregate import format_spelling
from workflow_scripts.reporting.layout import NAMES

LONGEST = 100
"""Lines of the table."""
REASONS = ("settings", "code", "data", "versions")


def to_markdown(commit: str, moved: Sequence[Row], both: int, ours: int, theirs: int) -> str:
    """The numbers that moved, the farthest first, in points. both: how many cells both sides have; ours, theirs: how
    many only one has."""
    lines = [f"# What moved since {commit}", ""]
    cells = len(
        {tuple(row[key] for key in ("dataset", "model", "attack", "ratio", "seed", "defense")) for row in moved}
    )
    counted = Counter(reason for row in moved for reason in REASONS if row[reason])
    why = "; ".join(f"{reason} at {counted[reason]}" for reason in REASONS if counted[reason])
    lines.append(
        f"{len(moved)} numbers of {cells} cells, of {both} that both have{f' ({why} of them)' if why else ''}."
    )
    lines += [f"Cells that only this side has: {ours}; that only {commit} has: {theirs}.", ""]
    if moved:
        frame = pd.DataFrame([_line(row) for row in moved[:LONGEST]])
        lines += [str(frame.to_markdown(index=False, disable_numparse=True)), ""]
        lines += [f"{len(moved) - LONGEST} more in the Parquet file.", ""] * (len(moved) > LONGEST)
    return "\n".join(lines)


def _line(row: Row) -> dict[str, str]:
    protocol = "" if row["protocol"] == "default" else f" [{row['protocol']}]"
    victim = f"{row['dataset']} {format_spelling(row['model'])} {format_spelling(row['attack'])} {row['ratio']}"
    return {
        "victim": f"{victim} seed {row['seed']}",
        "defense": format_spelling(row["defense"]) + protocol,
        "metric": NAMES[row["metric"]],
        **{key: _percent(row[key]) for key in ("before", "after")},
        "change": _percent(row["change"], "+"),
        **{reason: row[reason] or "" for reason in REASONS},
    }


def _percent(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{100 * value:{sign}.2f}".replace("-", "−")
