"""Any Parquet file of encoded images, as the Hugging Face hub ships them."""

import io
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.common import files
from workflow_scripts.common.errors import UserError, join_names
from workflow_scripts.common.images import Images, check_labels
from workflow_scripts.datasets import Dataset, from_arrays


@dataclass(frozen=True)
class ParquetFile(Dataset):
    """Columns `split` (train, test), `label` (0 … K - 1), `image`: PNG, JPEG or WebP bytes, or a {bytes, path} struct.

    file: the Parquet file.
    """

    file: str = ""

    def load(self) -> tuple[Images, Images]:
        table = self._table()
        splits = np.asarray(table["split"].to_pylist())
        for split in ("train", "test"):
            if split not in splits:
                raise UserError(f"{self.file}: no row has split {split!r}; there are: {join_names(np.unique(splits))}")
        labels = np.asarray(table["label"].to_pylist())
        if labels.dtype.kind not in "iu":
            raise UserError(f"{self.file}: labels must be whole numbers from 0 on, without gaps in the column")
        classes = self._class_names(table) or [str(label) for label in range(len(np.unique(labels)))]
        check_labels(labels, len(classes), self.file)
        images = self._decode(table["image"])
        train, test = ((images[splits == split], labels[splits == split]) for split in ("train", "test"))
        return from_arrays(train, test, classes)

    def _table(self) -> pa.Table:
        wanted = ["split", "label", "image"]
        with files.reading(self.file, "Parquet"):
            columns = pq.read_schema(self.file).names
            if missing := [name for name in wanted if name not in columns]:
                raise UserError(f"{self.file}: no column {join_names(missing)}; it has: {join_names(columns)}")
            return pq.read_table(self.file, columns=wanted)

    def _class_names(self, table: pa.Table) -> list[str]:
        """The class names that Hugging Face keeps in the schema; none where there are none."""
        about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
        return about.get("info", {}).get("features", {}).get("label", {}).get("names", [])

    def _decode(self, column: pa.ChunkedArray) -> np.ndarray:
        from PIL import Image, UnidentifiedImageError

        encoded = [row["bytes"] if isinstance(row, dict) else row for row in column.to_pylist()]
        images: np.ndarray | None = None
        for row, data in enumerate(encoded):
            try:
                image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            except (UnidentifiedImageError, OSError, TypeError) as error:
                raise UserError(
                    f"{self.file}: row {row} is no image ({error}); store PNG, JPEG or WebP bytes"
                ) from None
            if images is None:
                images = np.empty((len(encoded), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                sizes = " and ".join(f"{s[1]}x{s[0]}" for s in (images.shape[1:], image.shape))
                raise UserError(
                    f"{self.file}: images of mixed sizes, {sizes} (row {row}); resize them to one size first"
                )
            images[row] = image
        return images if images is not None else np.empty((0, 1, 1, 3), np.uint8)
