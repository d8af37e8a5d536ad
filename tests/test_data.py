"""Loaders on tiny files in their real layout, holdouts, and files that are not whole."""

import io
import json
import os
import re
import struct
import subprocess
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from layouts import encoded
from layouts import write_parquet as write
from PIL import Image

from workflow_scripts.common import arrow, files, image_files
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images, stratified_order
from workflow_scripts.common.run import Run
from workflow_scripts.datasets import Dataset, from_arrays
from workflow_scripts.datasets.digits import Digits
from workflow_scripts.datasets.parquet import ParquetFile
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model


def test_digits_are_what_the_loader_declares() -> None:
    train, test = Digits().load()
    assert train.images.shape == (1347, 16, 16, 3) and len(test) == 450
    assert tuple(np.bincount(train.labels)) == Digits.train_counts
    values = train.images.reshape(-1, 3) / 255
    assert np.allclose(values.mean(0), train.format.mean) and np.allclose(values.std(0), train.format.std)


def test_counting_pixels_needs_no_copy_of_them() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6000, 32, 32, 3), np.uint8)
    labels = np.zeros(6000, np.int64)
    tracemalloc.start()
    train, _ = from_arrays((images, labels), (images[:10], labels[:10]), ["all"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes  # it was eight times that
    values = images.reshape(-1, 3) / 255
    assert np.allclose(values.mean(0), train.format.mean) and np.allclose(values.std(0), train.format.std)


@pytest.mark.parametrize("struct", [False, True])
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_a_parquet_file_of_encoded_images(tmp_path: Path, struct: bool, form: str) -> None:
    data: list[Any] = [encoded(form=form, seed=i) for i in range(6)]
    images = [{"bytes": d, "path": None} for d in data] if struct else data
    train, test = write(tmp_path / "a.parquet", image=images).load()
    assert train.images.shape == (4, 8, 8, 3) and test.labels.tolist() == [1, 0]
    assert np.array_equal(train.images[2], np.asarray(Image.open(io.BytesIO(data[2]))))


def test_hugging_face_class_names(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    info = b'{"info": {"features": {"label": {"names": ["cat", "dog"]}}}}'
    table = pq.read_table(tmp_path / "a.parquet").replace_schema_metadata({b"huggingface": info})
    pq.write_table(table, tmp_path / "a.parquet")
    assert ParquetFile(file=str(tmp_path / "a.parquet")).load()[0].format.classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label": [0, 1, 0, -1, 1, 0]}, "label -1 is out of range"),
        ({"label": [0, 1, 0, 99, 1, 0]}, "label 99 is out of range; there are the classes 0 to 2"),
        ({"label": ["a"] * 6}, "labels must be whole numbers"),
        ({"split": ["training"] * 6}, "no row has split 'train'; there are: training"),
        ({"image": [encoded()] * 5 + [encoded(9)]}, "row 5 is of 9x9 pixels, those before it of 8x8: .* need a `size`"),
        ({"image": [encoded()] * 5 + [b"no image"]}, "row 5 is no image"),
        ({"image": [encoded()] * 5 + [None]}, "row 5 is no image"),
    ],
)
def test_wrong_parquet_content_is_said(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        write(tmp_path / "a.parquet", **changed).prepare(Run("mine", 0))


def test_wrong_parquet_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        ParquetFile(file=str(tmp_path / "b.parquet")).load()
    path = tmp_path / "a.parquet"
    write(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        ParquetFile(file=str(path)).load()
    pq.write_table(pa.table({"img": [1]}), path)
    with pytest.raises(UserError, match="no column split, label, image; it has: img"):
        ParquetFile(file=str(path)).load()


def refusal(dataset: Dataset) -> str:
    """The one line that says why a dataset cannot be prepared."""
    with pytest.raises(UserError) as error:
        dataset.prepare(Run("mine", 0))
    text = str(error.value)
    assert "\n" not in text and "remove it" not in text
    return text


LAYOUTS = {
    "files": {"train.parquet": range(4), "test.parquet": range(4, 6)},
    "shards": {
        "data/train-00000-of-00002.parquet": range(3),
        "data/train-00001-of-00002.parquet": range(3, 4),
        "data/test-00000-of-00001.parquet": range(4, 6),
        "data/validation-00000-of-00001.parquet": range(1, 3),
    },
    "hashes": {
        "train-00000-of-00002-1359597a978bc4fa.parquet": range(1),
        "train-00001-of-00002-70d52db3c749a935.parquet": range(1, 4),
        "test-00000-of-00001-70d52db3c749a935.parquet": range(4, 6),
    },
    "folders": {
        "train/0001.parquet": range(2, 4),
        "train/0000.parquet": range(2),
        "test/any.parquet": range(4, 6),
        "test/.hidden.parquet": range(1),
        ".cache/train.parquet": range(1),
        ".cache/test.parquet": range(1),
    },
    "configuration": {"plain_text/train-1.parquet": range(4), "plain_text/test/0.parquet": range(4, 6)},
}
"""Files of a folder, each with rows of the one file that `write` makes."""


def write_hub(
    folder: Path, layout: dict[str, range], image: str = "image", label: str = "label", names: Any = ()
) -> ParquetFile:
    """A folder as a repository of the hub: the same images and labels as those of `write`."""
    features = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
    about = json.dumps({"info": {"features": features if names else {}}})
    for name, rows in layout.items():
        cells = [{"bytes": encoded(seed=i), "path": f"{i}.png"} for i in rows]
        table = pa.table({image: cells, label: [[0, 1, 0, 1, 1, 0][i] for i in rows]})
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata({"huggingface": about}), folder / name)
    (folder / "README.md").touch()
    return ParquetFile(file=str(folder))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_the_hub_is_the_one_file(tmp_path: Path, layout: str) -> None:
    alone = write(tmp_path / "a.parquet").load()
    for part, same in zip(write_hub(tmp_path / "hub", LAYOUTS[layout]).load(), alone, strict=True):
        assert np.array_equal(part.images, same.images) and np.array_equal(part.labels, same.labels)
        assert np.array_equal(part.index, same.index) and part.format == same.format


def test_rows_of_one_file_may_be_in_any_order(tmp_path: Path) -> None:
    alone = write(tmp_path / "a.parquet").load()
    table = pq.read_table(tmp_path / "a.parquet").take([4, 0, 1, 5, 2, 3])
    pq.write_table(table, tmp_path / "b.parquet", row_group_size=2)
    for part, same in zip(ParquetFile(file=str(tmp_path / "b.parquet")).load(), alone, strict=True):
        assert np.array_equal(part.images, same.images) and part.labels.tolist() == same.labels.tolist()


def test_columns_splits_and_classes_by_their_names(tmp_path: Path) -> None:
    write_hub(tmp_path, LAYOUTS["shards"], "img", "fine_label", ["cat", "dog", "eel"])
    fields: dict[str, Any] = {"image_column": "img", "label_column": "fine_label", "test_split": "validation"}
    train, test = ParquetFile(file=str(tmp_path), **fields).load()
    assert test.labels.tolist() == [1, 0] and np.array_equal(test.images, train.images[1:3])
    assert train.format.classes == ("cat", "dog", "eel")  # one of which has no image
    assert "no column label, image; it has: img, fine_label; say which by" in refusal(ParquetFile(file=str(tmp_path)))
    write(tmp_path / "a.parquet", split=["fit"] * 4 + ["judge"] * 2)
    _, test = ParquetFile(file=str(tmp_path / "a.parquet"), train_split="fit", test_split="judge").load()
    assert test.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data/train-00001-of-00002.parquet": None}, "data/train-00001-of-00002.parquet: this shard is missing"),
        ({"data/train-00000-of-00002.parquet": None}, "data/train-00000-of-00002.parquet: this shard is missing"),
        ({"data/train-00000-of-00001.parquet": range(4)}, "a shard of another set than train-00000-of-00001.parquet"),
        ({"data/train-00002-of-00002.parquet": range(1)}, "train-00002-of-00002.parquet: a shard of another set than"),
        ({"data/train-extra.parquet": range(1)}, "train-extra.parquet: a shard of another set than"),
        ({"data/train-00001-of-00002-ab.parquet": range(1)}, "train-00001-of-00002.parquet: a shard of another set"),
        ({"data/train/0.parquet": range(1)}, "split train is there twice, train-00000-of-00002.parquet and train/0"),
        ({"other/train.parquet": range(1), "other/test.parquet": range(1)}, "data, .*/other all have the splits train"),
        ({"data/test-00000-of-00001.parquet": None}, "splits train, test side by .*: data, data/train, data/valid"),
    ],
)
def test_a_folder_that_is_not_whole_is_said(tmp_path: Path, changed: dict[str, range | None], message: str) -> None:
    layout = LAYOUTS["shards"] | changed
    dataset = write_hub(tmp_path, {name: rows for name, rows in layout.items() if rows is not None})
    assert re.search(message, refusal(dataset))


def test_shards_must_agree_on_their_classes(tmp_path: Path) -> None:
    write_hub(tmp_path, {"train.parquet": range(4)}, names=["cat", "dog"])
    dataset = write_hub(tmp_path, {"test.parquet": range(4, 6)}, names=["dog", "cat"])
    assert re.search(r"test.parquet: its metadata has other class names than .*train.parquet", refusal(dataset))


def test_a_truncated_shard_and_one_split_for_both_are_said(tmp_path: Path) -> None:
    write_hub(tmp_path, LAYOUTS["files"])
    same = ParquetFile(file=str(tmp_path), test_split="train")
    assert "train_split and test_split are both 'train'" in refusal(same)
    (tmp_path / "test.parquet").write_bytes((tmp_path / "test.parquet").read_bytes()[:-20])
    assert "test.parquet: not a readable Parquet file" in refusal(ParquetFile(file=str(tmp_path)))


def saved(mode: str, form: str = "PNG", value: Any = 0, **options: Any) -> bytes:
    """An encoded image of Pillow's mode, all of one value."""
    Image.new(mode, (8, 8), value).save(buffer := io.BytesIO(), form, **options)
    return buffer.getvalue()


def assembled(width: int, height: int, depth: int = 8, second: bytes = b"IDAT") -> bytes:
    """An RGB PNG with this header and data for 8x8 pixels of 16 bits, in two chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    data = zlib.compress(bytes(8 * (1 + 8 * 6)))
    chunks = [(b"IHDR", header), (b"IDAT", data[:9]), (second, data[9:]), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


CELLS = {
    "null": (None, r"is no image \(null\); store 8-bit PNG"),
    "empty": (b"", "is no image"),
    "truncated PNG": (encoded()[:100], "is no image"),
    "PNG without its last checksum": (encoded()[:-16], "is no image .*broken PNG file"),
    "truncated JPEG": (encoded(64, "JPEG")[:700], "is no image .*truncated"),
    "a SyntaxError of Pillow": (assembled(16, 8, second=bytes(4)), "is no image .*broken PNG file"),
    "bomb": (assembled(50_000, 50_000), "is no image .*bomb"),
    "large enough to warn": (assembled(10_000, 10_000), "is no image .*bomb"),
    "no width": (assembled(0, 8), "is no image .*of no size"),
    "16 bits, one level of them clear": (saved("I;16", transparency=0), "is a 16-bit image of which one level"),
    "32-bit": (saved("I", "TIFF"), "is a 32-bit image"),
    "floating point": (saved("F", "TIFF"), "is a floating-point image"),
    "inks": (saved("CMYK", "JPEG"), "is an image of mode CMYK"),
    "frames": (saved("L", save_all=True, append_images=[Image.new("L", (8, 8), 9)]), "has 2 frames"),
}


@pytest.mark.parametrize("bad", CELLS)
def test_a_cell_that_is_not_used_as_it_is(tmp_path: Path, bad: str) -> None:
    cell, message = CELLS[bad]
    cells = [encoded(), encoded(), encoded(), cell, encoded(), encoded()]
    text = refusal(write(tmp_path / "a.parquet", image=cells))
    assert re.search(f"a.parquet: row 3 {message}", text) and "0x" not in text


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["a.png"] * 6, r"row 0 is no image \(of type str\)"),
        ([[1, 2]] * 6, r"row 0 is no image \(of type list\)"),
        ([{"bytes": encoded(), "path": "a"}] * 4 + [{"bytes": None, "path": "b.png"}] * 2, "row 4 .* path is 'b.png'"),
        ([{"path": "a.png"}] * 6, "row 0 is no image .*without bytes"),
        ([{"bytes": encoded(), "path": "a"}] * 5 + [None], r"row 5 is no image \(null\)"),
    ],
)
def test_a_column_that_has_no_bytes(tmp_path: Path, cells: list[Any], message: str) -> None:
    assert re.search(f"a.parquet: {message}", refusal(write(tmp_path / "a.parquet", image=cells)))


def test_the_row_is_that_of_its_shard(tmp_path: Path) -> None:
    dataset = write_hub(tmp_path, LAYOUTS["files"])
    table = pq.read_table(tmp_path / "test.parquet")
    pq.write_table(table.set_column(0, "image", pa.array([encoded(), b"none"])), tmp_path / "test.parquet")
    assert f"{tmp_path}/test.parquet: row 1 is no image" in refusal(dataset)
    pq.write_table(table.set_column(1, "label", pa.array([0, 7])), tmp_path / "test.parquet")
    assert f"{tmp_path}/test.parquet: row 1: label 7 is out of range" in refusal(dataset)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "RGB"])
def test_what_is_opaque_and_of_8_bits_is_used_exactly(tmp_path: Path, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(pixels).convert("L" if mode == "LA" else "RGB").convert(mode)
    image.save(buffer := io.BytesIO(), "PNG")
    train, _ = write(tmp_path / "a.parquet", image=[buffer.getvalue()] * 6).load()
    assert np.array_equal(train.images[0], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", [pa.uint8(), pa.int16(), pa.uint64(), None])
def test_labels_of_any_type_of_whole_numbers(tmp_path: Path, kind: pa.DataType | None) -> None:
    plain = pa.array([0, 1, 0, 1, 1, 0], kind)
    train, test = write(tmp_path / "a.parquet", label=plain if kind else plain.dictionary_encode()).load()
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 0, 1], [1, 0]) and train.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label": [0, 1, None, 1, 1, 0]}, "row 2 has the label None; labels must be whole numbers from 0 on"),
        ({"label": [False, True] * 3}, "row 0 has the label False"),
        ({"label": [0.0, 1.0] * 3}, "row 0 has the label 0.0"),
        ({"label": pa.array(["0", "1"] * 3).dictionary_encode()}, "row 0 has the label '0'"),
        ({"label": [0, 1, 0, 1, 1, -1]}, "row 5: label -1 is out of range"),
        ({"label": pa.array([0, 1, 0, 2**63, 1, 0], pa.uint64())}, "row 3: label 9223372036854775808 is out of range"),
        ({"label": [0, 1, 0, 1, 2, 0]}, "no row of split 'train' has label 2, of the classes 0 to 2"),
        ({"split": ["train"] * 3 + ["dev", "test", "test"]}, "row 3 has split 'dev', and would be left out"),
        ({"split": ["train"] * 3 + [None, "test", "test"]}, "row 3 has split 'None'"),
        ({"split": [["train"]] * 4 + [["test"]] * 2}, "no row has split 'train'"),
    ],
)
def test_a_label_or_a_split_that_is_not_used_as_it_is(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    assert re.search(f"a.parquet: {message}", refusal(write(tmp_path / "a.parquet", **changed)))


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (b"{", "its metadata `huggingface` must be JSON"),
        (b"\xff", "its metadata `huggingface` must be JSON"),
        (b"[]", ".*must be JSON, and info.features.label.names there, if it is given, a list of different texts"),
        (b'{"info": {"features": [1]}}', ".*a list of different texts"),
        (b'{"info": {"features": {"label": {"names": "ab"}}}}', ".*a list of different texts"),
        (b'{"info": {"features": {"label": {"names": ["a", "a"]}}}}', ".*a list of different texts"),
        (b'{"info": {"features": {"label": {"names": ["a", 1]}}}}', ".*a list of different texts"),
        (b'{"info": {"features": {"label": {"names": ["a"]}}}}', "row 1: label 1 is out of range; .* classes 0 to 0"),
    ],
)
def test_metadata_that_names_no_classes(tmp_path: Path, about: bytes, message: str) -> None:
    dataset = write(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet").replace_schema_metadata({b"huggingface": about})
    pq.write_table(table, tmp_path / "a.parquet")
    assert re.search(f"a.parquet: {message}", refusal(dataset))


@pytest.mark.parametrize("about", [b"{}", b'{"info": null}', b'{"info": {"features": {"label": {"dtype": "int64"}}}}'])
def test_metadata_without_class_names_is_none(tmp_path: Path, about: bytes) -> None:
    dataset = write(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet").replace_schema_metadata({b"huggingface": about})
    pq.write_table(table, tmp_path / "a.parquet")
    assert dataset.load()[0].format.classes == ("0", "1")


def test_images_that_no_machine_has_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise MemoryError

    dataset = write(tmp_path / "a.parquet")
    monkeypatch.setattr("workflow_scripts.datasets._pictures.np.empty", refuse)
    with pytest.raises(UserError, match="a.parquet: row 0: 6 images of 8x8 do not fit into memory"):
        dataset.load()


def test_preparing_holds_the_pixels_twice_at_most(tmp_path: Path) -> None:
    data = encoded(32)  # noise: as large as its pixels
    columns = {"split": ["train"] * 1000 + ["test"] * 500, "label": [0, 1] * 750, "image": [data] * 1500}
    dataset = write(tmp_path / "a.parquet", **columns)
    dataset.load()  # imports Pillow
    tracemalloc.start()
    train, test, reserved = ParquetFile(file=dataset.file, reserve=0.1).prepare(Run("mine", 0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(train), len(test), len(reserved)) == (900, 500, 100)
    assert peak < 2.2 * 1500 * 32 * 32 * 3  # it was 4.0 times


def test_what_is_missing_is_said_before_it_is_loaded(tmp_path: Path) -> None:
    assert Digits().missing() == "" and write(tmp_path / "a.parquet").missing() == ""
    assert ParquetFile(file=str(tmp_path)).missing() == ""
    for absent in (tmp_path / "b.parquet", tmp_path / ("long" * 100)):
        text = ParquetFile(file=str(absent), image_column="img").missing()
        assert text.startswith(f"{absent} is not there") and "columns split, label and img" in text
        assert "\n" not in text


def test_every_prefix_of_the_order_is_stratified() -> None:
    labels = np.repeat([0, 1, 2], [10, 30, 60])
    order = stratified_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(100))
    for size in range(1, 101):
        counts = np.bincount(labels[order[:size]], minlength=3)
        assert (np.abs(counts - size * np.array([0.1, 0.3, 0.6])) <= 1.5).all()


def test_a_holdout_is_clean_seeded_and_split_by_class() -> None:
    dataset = Digits()
    train, _, reserve = dataset.prepare(Run("digits", 0))
    first, other = (dataset.draw_holdout(train, reserve, Run("digits", seed)) for seed in (0, 1))
    assert np.array_equal(first.index, dataset.draw_holdout(train, reserve, Run("digits", 0)).index)
    assert not np.array_equal(first.index, other.index)
    assert len(first) == round(0.25 * len(train))
    assert np.array_equal(first.images, train.images[first.index])
    fit, validation = first[:100].split()
    assert (len(fit), len(validation)) == (80, 20)
    assert np.bincount(validation.labels, minlength=10).min() >= 1


def test_a_reserve_is_kept_out_of_training() -> None:
    dataset = Digits(reserve=0.1)
    train, _, reserve = dataset.prepare(Run("digits", 0))
    assert (len(train), len(reserve)) == (1212, 135)
    whole, _ = Digits().load()
    assert np.array_equal(reserve.images, whole.images[reserve.index])
    rows = {image.tobytes() for image in train.images}
    assert sum(image.tobytes() in rows for image in reserve.images) == 0
    holdout = dataset.draw_holdout(train, reserve, Run("digits", 0))
    assert sorted(holdout.index) == sorted(reserve.index)


@pytest.mark.parametrize(
    ("reserve", "message"),
    [
        (1e-4, "mine: reserve is 0.0001, less than one of the 1347 training images; it must be 0 or at least 0.00074"),
        (0.999, "mine: reserve is 0.999, which leaves . classes without a training image"),
        (1.0, "mine: reserve is 1, which leaves 10 classes without a training image, class 0 among them"),
    ],
)
def test_a_reserve_of_nothing_or_of_too_much_is_said(reserve: float, message: str) -> None:
    assert re.match(message, refusal(Digits(reserve=reserve)))


def test_a_holdout_of_nothing_is_said(digits: tuple[Images, Images]) -> None:
    with pytest.raises(UserError, match="mine: holdout is 0.001, less than one of the 400 .* at least 0.0025"):
        Digits(holdout=1e-3).draw_holdout(digits[0], digits[0][:0], Run("mine", 0))


def test_overwritten_replaces_and_appends(digits: tuple[Images, Images]) -> None:
    train = digits[0][:5]
    changed = Images(np.zeros((2, 16, 16, 3), np.uint8), np.array([9, 9]), np.array([3, 77]), train.format)
    published = train.replace_rows(changed)
    assert published.index.tolist() == [0, 1, 2, 3, 4, 77] and published.labels.tolist()[3:] == [9, train.labels[4], 9]
    assert (published.images[[3, 5]] == 0).all() and np.array_equal(published.images[:3], train.images[:3])
    assert train.labels[3] != 9 or train.images[3].any(), "the original was changed"


def test_images_survive_the_disk(tmp_path: Path, digits: tuple[Images, Images]) -> None:
    path = tmp_path / "images.parquet"
    image_files.write_images(path, digits[0], {"fingerprint": "f", "params": {"a": 1}})
    back, about = image_files.read_images(path)
    assert np.array_equal(back.images, digits[0].images) and np.array_equal(back.labels, digits[0].labels)
    assert back.format == digits[0].format and about["params"] == {"a": 1}


def test_large_images_are_written_and_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "BYTES", 5 * 48 * 48 * 3)
    images = np.random.default_rng(0).integers(0, 256, (12, 48, 48, 3), np.uint8)
    train, _ = from_arrays((images, np.zeros(12, np.int64)), (images[:1], np.zeros(1, np.int64)), ["all"])
    image_files.write_images(tmp_path / "images.parquet", train, {})
    groups = pq.ParquetFile(tmp_path / "images.parquet").metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [5, 5, 2]
    assert np.array_equal(image_files.read_images(tmp_path / "images.parquet")[0].images, images)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, 1)
    with pytest.raises(RuntimeError), files.writing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == 1 and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_write_left_goes_with_the_next(tmp_path: Path) -> None:
    """But not what a process that lives is writing, or one of another machine."""
    killed = subprocess.Popen(["true"])
    killed.wait()
    for name in (f".a.{files.HOST}.{killed.pid}.json", f".a.{files.HOST}.{os.getppid()}.json", ".a.elsewhere.1.json"):
        (tmp_path / name).touch()
    files.write_json(tmp_path / "a.json", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f".a.{files.HOST}.{os.getppid()}.json", ".a.elsewhere.1.json", "a.json"]
    )


@pytest.mark.parametrize(("count", "sizes"), [(1, (1, 1)), (2, (1, 1)), (3, (2, 1)), (10, (8, 2))])
def test_no_part_of_a_holdout_is_empty(count: int, sizes: tuple[int, int], digits: tuple[Images, Images]) -> None:
    """An accuracy on nothing would be no reason to stop."""
    assert tuple(map(len, digits[0][:count].split())) == sizes


@pytest.mark.parametrize("cut", [0, 10, -10])
def test_truncated_files_are_said(tmp_path: Path, cut: int, digits: tuple[Images, Images], untrained: Any) -> None:
    images, network = tmp_path / "a.parquet", tmp_path / "a.safetensors"
    image_files.write_images(images, digits[1], {})
    weights.save(network, untrained(), {})
    for path in (images, network):
        path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match="not a readable Parquet file .* remove it and run again"):
        image_files.read_images(images)
    (link := tmp_path / "link.parquet").symlink_to(images)  # as into a cache
    with pytest.raises(UserError, match=f"{link}: not a readable Parquet file .* remove {images} and run again"):
        image_files.read_images(link)
    with pytest.raises(UserError, match="not a readable safetensors file .* remove it and run again"):
        weights.load(network, "preact_small", {}, torch.device("cpu"))


def test_weights_survive_the_disk_and_refuse_another_architecture(tmp_path: Path, untrained: Any) -> None:
    model: Model = untrained()
    path = tmp_path / "model.safetensors"
    weights.save(path, model, {"fingerprint": "f", "params": {}})
    params = vars(model.architecture)
    back = weights.load(path, "preact_small", params, torch.device("cpu"))
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, back.network.state_dict()[key])
    assert back.format == model.format and files.read_about(path)["architecture"]["width"] == 8
    weights.load(path, "preact_small", {**params, "epochs": 99}, torch.device("cpu"))  # trained otherwise, the same net
    for name, changed in (("preact_resnet18", {}), ("preact_small", {"width": 16})):
        with pytest.raises(UserError, match="a checkpoint of another architecture"):
            weights.load(path, name, {**params, **changed}, torch.device("cpu"))


def test_weights_that_are_not_what_their_metadata_says(tmp_path: Path, untrained: Any) -> None:
    model: Model = untrained()
    del model.network.layer3
    path = tmp_path / "model.safetensors"
    weights.save(path, model, {})
    with pytest.raises(UserError, match="not a readable safetensors file .*Missing key"):
        weights.load(path, "preact_small", vars(model.architecture), torch.device("cpu"))


def test_who_may_read_an_artifact_is_said_by_the_umask(tmp_path: Path, untrained: Any) -> None:
    before = os.umask(0o027)
    try:
        weights.save(tmp_path / "model.safetensors", untrained(), {})
        files.write_json(tmp_path / "metrics.json", {})
        assert os.umask(0o027) == 0o027, "the umask itself is left alone"
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "model.safetensors": 0o640,
        "metrics.json": 0o640,
    }
