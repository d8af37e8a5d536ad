"""A study's cells as another commit has them: out of DVC, from the cache of this clone or the remote."""

import tempfile
from pathlib import Path

from workflow_scripts.common import arrow
from workflow_scripts.common.cells import cell_of
from workflow_scripts.common.errors import UserError
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.collecting import SCHEMA
from workflow_scripts.evaluation.costs import COSTS


def read_rows(metrics: str, costs: str) -> list[Row]:
    """The rows of a study's metrics, with the device and the versions that they were computed with."""
    used = {cell_of(cost): cost for cost in arrow.read_table(costs, COSTS)[0].to_pylist()}
    rows = arrow.read_table(metrics, SCHEMA)[0].to_pylist()
    return [row | {key: used[cell_of(row)][key] for key in ("device", "versions")} for row in rows]


def read_rows_at(commit: str, metrics: str, costs: str) -> list[Row]:
    """The same of a commit. UserError where git has no such commit, or DVC none of its files."""
    with tempfile.TemporaryDirectory() as folder:
        copies = [str(Path(folder, name)) for name in ("metrics.parquet", "costs.parquet")]
        for path, copy in zip((metrics, costs), copies, strict=True):
            Path(copy).write_bytes(_read_at(commit, path))
        return read_rows(*copies)


def _read_at(commit: str, path: str) -> bytes:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    try:
        with DVCFileSystem(rev=commit).open(path, "rb") as file:
            return file.read()  # type: ignore[no-any-return]
    except (SCMError, DvcException, OSError) as error:
        raise UserError(
            f"{path} of the commit {commit} cannot be had: {error}; name another by --config commit=…, or get what the "
            "remote has of it by `dvc fetch --all-commits`"
        ) from None
