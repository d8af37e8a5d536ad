"""Arrow tables: in Parquet files with our metadata, checked against a schema, and built without pandas."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.common import files

ANY = pa.schema([])
"""No column need be there."""
ROWS, BYTES = 5000, 2**24
"""Rows in a row group at most, and bytes of the images in one: written and read group by group, so that a file never
stands in memory twice."""
TYPES = {"int64": pa.int64(), "int32": pa.int32(), "float64": pa.float64(), "float32": pa.float32(), "bool": pa.bool_()}


def write_table(path: str | Path, table: pa.Table, about: Mapping[str, Any] | None = None) -> None:
    """Write a Parquet file with `about` under the one metadata key."""
    stored = table.replace_schema_metadata({files.KEY: json.dumps(about or {}, sort_keys=True)})
    kind = table.schema.field("image").type if "image" in table.column_names else pa.null()
    plain: dict[str, Any] = {"row_group_size": ROWS}
    if pa.types.is_fixed_size_binary(kind):
        plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
        plain["row_group_size"] = count_rows(kind.byte_width)
    with files.writing(path) as temporary:
        pq.write_table(stored, temporary, **plain)


def count_rows(width: int) -> int:
    """How many images of so many bytes are written and read together."""
    return max(1, min(ROWS, BYTES // max(1, width)))


def read_table(path: str | Path, schema: pa.Schema = ANY) -> tuple[pa.Table, dict[str, Any]]:
    """A Parquet file that has at least the columns of the schema, in these types, and what stands under its metadata
    key. UserError if it is missing, not whole, or other than that."""
    with files.reading_artifact(path, "Parquet"):
        return parse_table(path, schema)


def parse_table(source: str | Path | pa.BufferReader, schema: pa.Schema) -> tuple[pa.Table, dict[str, Any]]:
    """The same of what is open too; whatever Arrow raises where it is not whole, ValueError where it is another."""
    file = pq.ParquetFile(source)
    check_columns(file.schema_arrow, schema)
    table = file.read()  # `read_table` would import pyarrow.dataset and pandas
    table.validate(full=True)
    refuse_empty(table, schema)
    return table, files.parse_about(table.schema.metadata)


def check_columns(found: pa.Schema, wanted: pa.Schema) -> None:
    """ValueError if a column is missing or of another type; one that has no value yet has no type either."""
    for part in wanted:
        kind = found.field(part.name).type if part.name in found.names else None
        if kind != part.type and not (part.nullable and kind == pa.null()):
            held = "is missing" if kind is None else f"is {kind}"
            raise ValueError(f"its column {part.name} {held}; it must be {part.type}")


def refuse_empty(table: pa.Table | pa.RecordBatch, schema: pa.Schema) -> None:
    """ValueError if a cell is empty in a column of the schema that may have none."""
    if empty := [part.name for part in schema if not part.nullable and table[part.name].null_count]:
        raise ValueError(f"its column {empty[0]} has empty cells")


def check_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """ValueError if a column of the schema is missing in these rows, or would change one of its values."""
    table = pa.Table.from_pylist(rows, schema)
    refuse_empty(table, schema)
    for key in schema.names:
        for written, read in zip((row[key] for row in rows), table[key].to_pylist(), strict=True):
            if isinstance(written, bool) != isinstance(read, bool) or (written != read and written == written):
                raise ValueError(f"its {key} is {written!r:.60}; it must be {schema.field(key).type}")


def require(schema: pa.Schema, *columns: str) -> pa.Schema:
    """The schema without empty cells in these columns; in all, if none are named."""
    return pa.schema([part.with_nullable(part.name not in (columns or schema.names)) for part in schema])


def to_column(values: np.ndarray | Sequence[Any]) -> pa.Array:
    """A column of numbers, of booleans or of texts; those of a sequence may be None.

    Built from buffers: `pyarrow.array` imports pandas where it is installed, 0.3 s in jobs that need none.
    """
    filled: np.ndarray | None
    if isinstance(values, np.ndarray):
        present, filled = None, values
    else:
        known = np.array([value is not None for value in values], bool)
        present = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
        filled = _fill(values, known)
    if filled is None:
        return pa.array(values)
    if filled.dtype.kind in "OU":
        texts = [str(text).encode() for text in filled]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts)), present)
    bits = np.packbits(filled, bitorder="little") if filled.dtype == bool else np.ascontiguousarray(filled)
    return pa.Array.from_buffers(TYPES[filled.dtype.name], len(filled), [present, pa.py_buffer(bits)])


def _fill(values: Sequence[Any], known: np.ndarray) -> np.ndarray | None:
    """The values with a neutral one in place of each None; integers and floats together are floats. None of others."""
    kinds = {type(value) for value in itertools.compress(values, known)}
    if not kinds <= {str, bool, int, float, np.int64, np.float64}:
        return None
    if not kinds or str in kinds:
        return np.array(["" if value is None else value for value in values], object)
    kind = bool if kinds == {bool} else np.int64 if kinds <= {int, np.int64} else np.float64
    return np.array([0 if value is None else value for value in values], kind)


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """These rows, a key that is missing as null: `Table.from_pylist` without pandas."""
    columns = [to_column([row.get(part.name) for row in rows]).cast(part.type) for part in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def select_rows(table: pa.Table, key: str, value: str) -> pa.Table:
    """The rows of a table that have this text in a column."""
    return table.filter(to_column(np.array([text == value for text in table[key].to_pylist()], bool)))


def to_numpy(column: pa.ChunkedArray, null: int | None = None) -> np.ndarray:
    """The numbers or booleans of a column as NumPy, `null` in place of those that are missing; without pandas too."""
    values = column.to_pylist()
    return np.array([null if value is None else value for value in values] if null is not None else values)
