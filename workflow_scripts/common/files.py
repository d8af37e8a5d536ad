"""Files that are whole or not there: written beside their place and renamed; read with one clear error."""

import hashlib
import itertools
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import ImageFormat, Images, check_labels

KEY = "backstop"
"""The one metadata key of every Parquet and safetensors file: a JSON object."""
SOURCES = "sources"
"""Its key for the hash of what users put below `data/`, of what is made of that (`common/sources.py`)."""
ANY = pa.schema([])
"""No column need be there."""
ROWS, BYTES = 5000, 2**24
"""Rows in a row group at most, and bytes of the images in one: written and read group by group, so that a file never
stands in memory twice."""
HOST = platform.node()
TYPES = {"int64": pa.int64(), "int32": pa.int32(), "float64": pa.float64(), "float32": pa.float32(), "bool": pa.bool_()}


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """A temporary name in the folder of `path`, renamed to it when the block ends well; who may read it is what the
    user's umask says, whatever the library that wrote it thinks."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path)
    temporary = path.with_name(f".{path.stem}.{HOST}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.chmod(0o666 & ~_read_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_left(path: Path) -> None:
    """What processes of this machine were writing in place of a file when they were killed."""
    for left in path.parent.glob(f".{path.stem}.{HOST}.*{path.suffix}"):
        with suppress(PermissionError, ValueError):  # it lives, another user's; it is none of these
            try:
                os.kill(int(left.stem.rpartition(".")[2]), 0)  # whether it lives
            except ProcessLookupError:
                left.unlink(missing_ok=True)


def _read_umask() -> int:
    umask = os.umask(0o077)  # the one way to read it is to set it
    os.umask(umask)
    return umask


def sha256(path: str | Path) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON that is the same bytes for the same value."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read JSON; UserError if it is none."""
    with reading_artifact(path, "JSON"):
        return parse_json(Path(path).read_text(encoding="utf-8"))


def parse_json(text: str | bytes) -> Any:
    """What JSON says; ValueError if it is none, or says a key twice."""
    return json.loads(text, object_pairs_hook=_to_dict)


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"one of the keys {', '.join(found)[:60]} stands there twice")
    return found


def write_table(path: str | Path, table: pa.Table, about: Mapping[str, Any] | None = None) -> None:
    """Write a Parquet file with `about` under the one metadata key."""
    stored = table.replace_schema_metadata({KEY: json.dumps(about or {}, sort_keys=True)})
    kind = table.schema.field("image").type if "image" in table.column_names else pa.null()
    plain: dict[str, Any] = {"row_group_size": ROWS}
    if pa.types.is_fixed_size_binary(kind):
        plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
        plain["row_group_size"] = count_rows(kind.byte_width)
    with writing(path) as temporary:
        pq.write_table(stored, temporary, **plain)


def count_rows(width: int) -> int:
    """How many images of so many bytes are written and read together."""
    return max(1, min(ROWS, BYTES // max(1, width)))


def read_table(path: str | Path, schema: pa.Schema = ANY) -> tuple[pa.Table, dict[str, Any]]:
    """A Parquet file that has at least the columns of the schema, in these types, and what stands under its metadata
    key. UserError if it is missing, not whole, or other than that."""
    with reading_artifact(path, "Parquet"):
        file = pq.ParquetFile(path)
        check_columns(file.schema_arrow, schema)
        table = file.read()  # `read_table` would import pyarrow.dataset and pandas
        table.validate(full=True)
        refuse_empty(table, schema)
        return table, parse_about(table.schema.metadata)


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


def parse_about(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What stands under the metadata key; ValueError if that is no JSON object."""
    found = parse_json((metadata or {}).get(KEY.encode(), b"{}"))
    if not isinstance(found, dict):
        raise ValueError(f"its metadata is no JSON object: {found!r:.60}")
    return found


def read_about(path: str | Path) -> dict[str, Any]:
    """What stands under the metadata key of a Parquet or safetensors file."""
    if Path(path).suffix == ".safetensors":
        with reading_artifact(path, "safetensors"), safe_open(path, "numpy") as file:
            return parse_about({key.encode(): value.encode() for key, value in (file.metadata() or {}).items()})
    with reading_artifact(path, "Parquet"):
        return parse_about(pq.read_schema(path).metadata)


def hash_provenance(about: Mapping[str, Any]) -> str:
    """Of the metadata of an artifact, or of what a job is made by: one hash of code, hyper-parameters, wildcards and,
    where there are some, sources."""
    kept = {key: about.get(key) for key in ("fingerprint", "params", "wildcards", *({SOURCES} & about.keys()))}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


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


def images_to_table(images: np.ndarray, **columns: Any) -> pa.Table:
    """A table of uint8 images (N, H, W, C) as fixed-size bytes, the other columns before them."""
    width = int(np.prod(images.shape[1:]))
    buffer = pa.py_buffer(np.ascontiguousarray(images))
    image = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(images), [None, buffer])
    return pa.table({**columns, "image": image})


def write_images(path: str | Path, data: Images, about: Mapping[str, Any]) -> None:
    """Write images with their index and label; their format goes into the metadata."""
    table = images_to_table(data.images, index=to_column(data.index), label=to_column(data.labels))
    write_table(path, table, {**about, **data.format.as_json()})


def read_images(path: str | Path) -> tuple[Images, dict[str, Any]]:
    """Images that `write_images` wrote (for `truth.parquet`, see `attacks.truth`). UserError if they are not whole."""
    with reading_artifact(path, "Parquet"):
        file = pq.ParquetFile(path, pre_buffer=False)  # which would hold all images once more
        about = parse_about(file.schema_arrow.metadata)
        form = ImageFormat.from_json(about)
        check_columns(file.schema_arrow, image_schema(form.shape))
        images, labels, index = _columns(file, form.shape)
        check_labels(labels, len(form.classes), "its labels")
        return Images(images, labels, index, form), about


def image_schema(shape: tuple[int, int, int]) -> pa.Schema:
    """The columns of images (H, W, C)."""
    return require(pa.schema({"index": pa.int64(), "label": pa.int64(), "image": pa.binary(math.prod(shape))}))


def _columns(file: pq.ParquetFile, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = file.metadata.num_rows
    images = np.empty((count, *shape), np.uint8)
    labels, index = np.empty(count, np.int64), np.empty(count, np.int64)
    start = 0
    for batch in file.iter_batches(count_rows(math.prod(shape)), columns=["index", "label", "image"]):
        stop = start + len(batch)
        refuse_empty(batch, image_schema(shape))
        images[start:stop] = to_pixels(batch.column("image"), shape)
        labels[start:stop], index[start:stop] = (_int64(batch.column(key)) for key in ("label", "index"))
        start = stop
    if start < count:
        raise ValueError(f"it has {start} rows of {count}")
    return images, labels, index


def _int64(column: pa.Array) -> np.ndarray:
    return np.frombuffer(column.buffers()[1], np.int64, count=len(column), offset=8 * column.offset)


def to_pixels(column: pa.Array, shape: tuple[int, int, int]) -> np.ndarray:
    """The uint8 images (N, H, W, C) of a fixed-size binary column, without a copy."""
    width = int(np.prod(shape))
    flat = np.frombuffer(column.buffers()[1], np.uint8, count=len(column) * width, offset=column.offset * width)
    return flat.reshape(len(column), *shape)


@contextmanager
def reading(path: str | Path, kind: str, remedy: str = "") -> Iterator[None]:
    """A block that reads `path` and does nothing else: one clear UserError, with the remedy, whatever is wrong."""
    place = Path(path)
    try:
        if place.exists() and not (place.is_file() or place.is_dir()):  # before it is waited for
            raise UserError(f"{path} is a pipe or a device; put a file there")
        yield
    except UserError as error:
        if str(place) in str(error):
            raise
        raise UserError(f"{path}: {error}{remedy}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or "it ends too soon"
        named = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        raise UserError(f"{path}: not a readable {kind} file ({named}{reason}){remedy}") from None


def reading_artifact(path: str | Path, kind: str) -> AbstractContextManager[None]:
    """The same of what this pipeline has made, and can make again."""
    return reading(path, kind, "; remove it and run again")
