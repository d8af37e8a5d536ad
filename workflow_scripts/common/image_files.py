"""Images in Parquet files: their pixels as bytes of one length, their format in the metadata."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.common import arrow, files
from workflow_scripts.common.images import ImageFormat, Images, check_labels


def images_to_table(images: np.ndarray, **columns: Any) -> pa.Table:
    """A table of uint8 images (N, H, W, C) as fixed-size bytes, the other columns before them."""
    width = int(np.prod(images.shape[1:]))
    buffer = pa.py_buffer(np.ascontiguousarray(images))
    image = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(images), [None, buffer])
    return pa.table({**columns, "image": image})


def write_images(path: str | Path, data: Images, about: Mapping[str, Any]) -> None:
    """Write images with their index and label; their format goes into the metadata."""
    table = images_to_table(data.images, index=arrow.to_column(data.index), label=arrow.to_column(data.labels))
    arrow.write_table(path, table, {**about, **data.format.as_json()})


def read_images(path: str | Path) -> tuple[Images, dict[str, Any]]:
    """Images that `write_images` wrote (for `truth.parquet`, see `common.truth`). UserError if they are not whole."""
    with files.reading_artifact(path, "Parquet"):
        file = pq.ParquetFile(path, pre_buffer=False)  # which would hold all images once more
        about = files.parse_about(file.schema_arrow.metadata)
        form = ImageFormat.from_json(about)
        arrow.check_columns(file.schema_arrow, image_schema(form.shape))
        images, labels, index = _columns(file, form.shape)
        check_labels(labels, len(form.classes), "its labels")
        return Images(images, labels, index, form), about


def image_schema(shape: tuple[int, int, int]) -> pa.Schema:
    """The columns of images (H, W, C)."""
    return arrow.require(pa.schema({"index": pa.int64(), "label": pa.int64(), "image": pa.binary(math.prod(shape))}))


def _columns(file: pq.ParquetFile, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = file.metadata.num_rows
    images = np.empty((count, *shape), np.uint8)
    labels, index = np.empty(count, np.int64), np.empty(count, np.int64)
    start = 0
    for batch in file.iter_batches(arrow.count_rows(math.prod(shape)), columns=["index", "label", "image"]):
        stop = start + len(batch)
        arrow.refuse_empty(batch, image_schema(shape))
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
