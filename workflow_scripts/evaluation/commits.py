"""A study's cells as another commit has them: out of DVC, from the cache of this clone or the remote."""

import pyarrow as pa

from workflow_scripts.common import arrow, files
from workflow_scripts.common.cells import METRICS, Cell, cell_of
from workflow_scripts.common.errors import UserError
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.collecting import SCHEMA
from workflow_scripts.evaluation.costs import COSTS

PARAMS = [f"{axis}_params" for axis in ("attack", "defense", "model")]
COMPARED = [*Cell._fields, "protocol", *METRICS, *PARAMS, "digests", "code"]
USED = ["device", "versions"]
SCHEMAS = tuple(
    pa.schema([schema.field(key) for key in keys])
    for schema, keys in ((SCHEMA, COMPARED), (COSTS, [*Cell._fields, *USED]))
)
"""What is compared of metrics and of costs: another commit may lack a column that came later."""


def read_rows(metrics: str, costs: str) -> list[Row]:
    """The rows of a study's metrics, with the device and the versions that they were computed with."""
    return _join(*(arrow.read_table(path, schema)[0] for path, schema in zip((metrics, costs), SCHEMAS, strict=True)))


def read_rows_at(commit: str, metrics: str, costs: str) -> list[Row]:
    """The same of a commit; none of a study that it has not. UserError where git has no such commit, or DVC not what
    the commit has."""
    tables = []
    for path, schema in zip((metrics, costs), SCHEMAS, strict=True):
        if (data := _read_at(commit, path)) is None:
            return []
        with files.reading(f"{path} of the commit {commit}", "Parquet", "; name another by --config commit=…"):
            tables.append(arrow.parse_table(pa.BufferReader(data), schema)[0])
    return _join(*tables)


def _join(metrics: pa.Table, costs: pa.Table) -> list[Row]:
    used = {cell_of(cost): {key: cost[key] for key in USED} for cost in costs.to_pylist()}
    return [row | used[cell_of(row)] for row in metrics.to_pylist()]


def _read_at(commit: str, path: str) -> bytes | None:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    try:
        system = DVCFileSystem(rev=commit).repo.dvcfs  # by itself it would say that an unknown commit has no files
        if not system.exists(path):
            return None
        with system.open(path, "rb") as file:
            return file.read()  # type: ignore[no-any-return]
    except (SCMError, DvcException, OSError) as error:
        raise UserError(
            f"{path} of the commit {commit} cannot be had: {error}; name another by --config commit=…, or get what the "
            "remote has of it by `dvc fetch --all-commits`"
        ) from None
