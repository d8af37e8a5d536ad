"""Parquet files of encoded images: one of your own, or a data set as the Hugging Face hub ships it."""

import json
import os
import reprlib
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.common import files
from workflow_scripts.common.errors import UserError, join_names, to_printable
from workflow_scripts.common.images import Images
from workflow_scripts.datasets import from_arrays
from workflow_scripts.datasets._pictures import POINTER, Pictures, refuse_pointer
from workflow_scripts.datasets._shards import find_shards

SPLIT = "split"
"""The column that says in a single file which rows are for what."""
BATCH, BUFFER = 100, 2**20
"""Rows and bytes that are read together: never all encoded images, nor all of a row group."""


@dataclass(frozen=True)
class Shard:
    """What one file says of its images: `labels` and `splits`, one of each row; `classes`, names where it has them."""

    path: Path
    labels: list[int]
    splits: list[str]
    classes: list[str]


@dataclass(frozen=True)
class ParquetFile(Pictures):
    """Labels 0 … K - 1 beside PNG, JPEG or WebP bytes, or beside the {bytes, path} struct of the Hugging Face hub.

    file: a Parquet file whose column `split` has the names of the two splits; or a folder as a repository of the hub
    is, where they are in the names: `train.parquet`, `train-00000-of-00002.parquet` or `train/*.parquet`, here or in
    one folder below. image_column, label_column: as the file has them, `img` and `label` of the hub's CIFAR-10.
    train_split, test_split: what to train on and to test on; a folder's other splits, and what else is there, are not
    read, and the log names them.
    """

    file: str = ""
    image_column: str = "image"
    label_column: str = "label"
    train_split: str = "train"
    test_split: str = "test"

    def sources(self) -> tuple[Path, ...]:
        return (Path(self.file),)

    def missing(self) -> str:
        if os.access(self.file, os.R_OK):
            return ""
        return (
            f"{to_printable(self.file)} is not there, or may not be read; put there a Parquet file with the "
            f"columns {SPLIT}, {self.label_column} and {self.image_column}, or the folder of a data set from the "
            "Hugging Face hub"
        )

    def load(self) -> tuple[Images, Images]:
        shards = [self._read_shard(path, split) for path, split in self._find_files()]
        self._check_splits(shards)
        classes = self._choose_classes(shards)
        is_test = np.array([split == self.test_split for shard in shards for split in shard.splits])
        order = np.argsort(is_test, kind="stable")
        images = self.gather(self._read_cells(shards), order.argsort())
        labels = np.array([label for shard in shards for label in shard.labels], np.int64)[order]
        count = int((~is_test).sum())
        return from_arrays((images[:count], labels[:count]), (images[count:], labels[count:]), classes)

    def _find_files(self) -> list[tuple[Path, str | None]]:
        """The files, each with the split that all of it is, those to train on first; None of one with that column."""
        splits = (self.train_split, self.test_split)
        if splits[0] == splits[1]:
            raise UserError(f"{self.file}: train_split and test_split are both {splits[0]!r}; name two")
        with files.reading(self.file, "Parquet"):
            path = Path(self.file)
            if not path.is_dir():
                return [(path, None)]
            found = zip(splits, find_shards(path, splits), strict=True)
            return [(shard, split) for split, shards in found for shard in shards]

    def _read_shard(self, path: Path, split: str | None) -> Shard:
        """All of a file but its images."""
        wanted = [self.label_column] if split else [SPLIT, self.label_column]
        with files.reading(path, "Parquet"), path.open("rb") as file:
            refuse_pointer(path, file.read(len(POINTER)))
        with files.reading(path, "Parquet"), pq.ParquetFile(path) as file:
            self._check_columns(path, file.schema_arrow.names, [*wanted, self.image_column])
            table = file.read(columns=wanted)
            splits = [split] * len(table) if split else list(map(str, table[SPLIT].to_pylist()))
            classes = self._read_class_names(path, file.schema_arrow.metadata or {})
            return Shard(path, self._read_labels(path, table), splits, classes)

    def _check_columns(self, path: Path, columns: Sequence[str], wanted: Sequence[str]) -> None:
        """UserError, with what may be meant, if a column is not there."""
        if missing := [name for name in wanted if name not in columns]:
            hint = "say which by the dataset's image_column and label_column"
            if SPLIT in missing:
                hint += (
                    f", and instead of {SPLIT} a folder with {self.train_split}.parquet and {self.test_split}.parquet"
                )
            raise UserError(f"{path}: no column {join_names(missing)}; it has: {join_names(columns)}; {hint}")

    def _read_labels(self, path: Path, table: pa.Table) -> list[int]:
        labels: list[int] = table[self.label_column].to_pylist()
        for row, label in enumerate(labels):
            if type(label) is not int:  # True is an int to isinstance
                raise UserError(
                    f"{path}: row {row} has the label {reprlib.repr(label)}; labels must be whole numbers from 0 on"
                )
        return labels

    def _read_class_names(self, path: Path, metadata: dict[bytes, bytes]) -> list[str]:
        """The class names that Hugging Face keeps in the schema; none where there are none."""
        try:
            found: Any = json.loads(metadata.get(b"huggingface", b"{}"))
            for key in ("info", "features", self.label_column, "names"):
                found = {} if (value := found.get(key)) is None else value
            names: list[str] = found or []
            if not isinstance(names, list) or len(set(names)) < len(names) or set(map(type, names)) - {str}:
                raise TypeError
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise UserError(
                f"{path}: its metadata `huggingface` must be JSON, and info.features.{self.label_column}.names there, "
                f"if it is given, a list of different texts"
            ) from None
        return names

    def _check_splits(self, shards: Sequence[Shard]) -> None:
        """UserError if a split has no row, or if there is a row that neither would use."""
        wanted = (self.train_split, self.test_split)
        there = {split for shard in shards for split in shard.splits}
        for split in wanted:
            if split not in there:
                names = textwrap.shorten(join_names(sorted(there)), 200, placeholder="…")
                raise UserError(f"{self.file}: no row has split {split!r}; there are: {names}")
        for shard in shards:
            for row, split in enumerate(shard.splits):
                if split not in wanted:
                    raise UserError(
                        f"{shard.path}: row {row} has split {split!r:.60}, and would be left out; write a file with "
                        f"{join_names(wanted)} only, or name it by the dataset's train_split or test_split"
                    )

    def _choose_classes(self, shards: Sequence[Shard]) -> list[str]:
        """The class names, or the labels themselves where there are none. UserError if they do not fit the labels."""
        named = next((shard for shard in shards if shard.classes), None)
        for shard in shards:
            if named and shard.classes not in ([], named.classes):
                raise UserError(f"{shard.path}: its metadata has other class names than {named.path}; they must agree")
        different = {label for shard in shards for label in shard.labels}
        classes = named.classes if named else [str(label) for label in range(len(different))]
        for shard in shards:
            for row, label in enumerate(shard.labels):
                if not 0 <= label < len(classes):
                    why = "as its metadata names them" if named else "as many as different labels"
                    raise UserError(
                        f"{shard.path}: row {row}: label {label} is out of range; there are the classes 0 to "
                        f"{len(classes) - 1}, {why}"
                    )
        if not named:
            self._check_trained(shards, len(classes))
        return classes

    def _check_trained(self, shards: Sequence[Shard], classes: int) -> None:
        """UserError if a class is only in the test images, without a name to say that this is meant."""
        pairs = (pair for shard in shards for pair in zip(shard.splits, shard.labels, strict=True))
        trained = {label for split, label in pairs if split == self.train_split}
        if absent := sorted(set(range(classes)) - trained):
            raise UserError(
                f"{self.file}: no row of split {self.train_split!r} has label {absent[0]}, of the classes 0 to "
                f"{classes - 1}; each needs an image to train on, unless the metadata has the class names"
            )

    def _read_cells(self, shards: Sequence[Shard]) -> Iterator[tuple[str, Any]]:
        """Where each row is from, and its encoded image."""
        for path in (shard.path for shard in shards):
            row = 0
            # `pre_buffer` would hold all encoded images at once
            with (
                files.reading(path, "Parquet"),
                pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file,
            ):
                for batch in file.iter_batches(BATCH, columns=[self.image_column]):
                    for cell in batch.column(self.image_column):
                        yield f"{path}: row {row}", cell.as_py()
                        row += 1
