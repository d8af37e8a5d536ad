"""Cells whose artifacts are no longer those that they were evaluated on."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from workflow_scripts.common import files
from workflow_scripts.common.errors import UserError
from workflow_scripts.evaluation.checks import Row


def refuse_stale(rows: Sequence[Row], expected: Mapping[str, str], evaluated: Mapping[str, float], root: str) -> None:
    """UserError where an artifact is not what it should have been made by, or not what a cell was evaluated on; those
    are hashed again that have been written since the first of their cells was evaluated."""
    made, digests = (_group_values(row[key] for row in rows) for key in ("made", "digests"))
    for path in expected.keys() - made.keys():
        if Path(root, path).exists():
            made[path] = {files.hash_provenance(files.read_about(Path(root, path)))}
    stale = sorted(path for path, by in expected.items() if made.get(path, {by}) != {by})
    for path, found in digests.items():
        if len(found) > 1 or _is_changed(Path(root, path), evaluated[path], *found):
            stale.append(path)
    if stale:
        raise UserError(
            f"{root}/{stale[0]} is stale: not what today's code and parameters make, or not what its cell was "
            f"evaluated on ({len(stale)} such); remove it and run again"
        )


def _group_values(given: Iterable[Mapping[str, str]]) -> dict[str, set[str]]:
    """Every value that a path has: cells that share a file need not have been evaluated on the same one."""
    found: dict[str, set[str]] = {}
    for path, value in (item for values in given for item in values.items()):
        found.setdefault(path, set()).add(value)
    return found


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
