"""Data sets and artifacts that are not what they were: every column, every key, bytes, one in the place of another.

Left out, for a reader cannot notice it: another byte among pixels, weights or the numbers of a column, whose digests
`collect` compares, and in an image without checksums. And an auxiliary whose metadata asks for gigabytes.
"""

import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from wrong import (
    GONE,
    REFUSED,
    ask,
    changed,
    changed_table,
    damaged,
    exchange,
    find_cells,
    hearing,
    inputs,
    is_read,
    is_same,
    places,
    put,
)

from workflow_scripts.common import arrow, catalog, config, files, image_files, messages, scores, spellings, truth
from workflow_scripts.common.cells import Cell
from workflow_scripts.common.errors import to_printable
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.scores import Scores
from workflow_scripts.common.truth import Truth
from workflow_scripts.datasets.parquet import ParquetFile
from workflow_scripts.evaluation import collecting, costs
from workflow_scripts.jobs import readers
from workflow_scripts.jobs.job import Job
from workflow_scripts.jobs.step import _costs
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.wrappers.mlp_head import MlpHead

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged images

FORM = ImageFormat((4, 4, 3), ("cat", "dog", "eel"), (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), np.uint8)
IMAGES = Images(PIXELS, np.array([0, 1, 2, 0, 1, 2, 0, 1]), np.arange(8), FORM)


def encode(pixels: np.ndarray, form: str) -> bytes:
    Image.fromarray(pixels).save(buffer := io.BytesIO(), form, lossless=True)
    return buffer.getvalue()


CELLS = {form: [encode(pixels, form) for pixels in PIXELS] for form in ("PNG", "WEBP", "BMP", "TIFF", "GIF", "JPEG")}
EXACT = ("PNG", "WEBP", "BMP", "TIFF")
DATA = pa.table({"split": ["train"] * 6 + ["test"] * 2, "label": IMAGES.labels.tolist(), "image": CELLS["PNG"]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def check_images(rows: list[dict[str, Any]], found: Images) -> None:
    """The labels and the images are those of these rows of encoded images."""
    assert found.labels.tolist() == [row["label"] for row in rows]
    for row, pixels in zip(rows, found.images, strict=True):
        assert np.array_equal(pixels, PIXELS[CELLS["PNG"].index(row["image"])])


@inputs(200)
@given(changed_table(DATA))
def test_columns_of_a_data_set(folder: Path, table: pa.Table) -> None:
    pq.write_table(table, folder / "a.parquet", row_group_size=3)
    found = ask(lambda: ParquetFile(file=str(folder / "a.parquet")).prepare(Run("mine", 0)), "a.parquet", "mine: ")
    if is_read(found):
        for split, part in zip(("train", "test"), found, strict=False):
            check_images([row for row in table.to_pylist() if row["split"] == split], part)


@inputs(200)
@given(st.sampled_from(sorted(CELLS)), st.integers(0, 7), st.data())
def test_bytes_of_an_image(folder: Path, form: str, row: int, data: st.DataObject) -> None:
    """Of a PNG, which has checksums, and where one of an exact kind is cut off, all pixels are there or none."""
    whole = CELLS[form][row]
    cell = data.draw(damaged(whole, (b"\0", b"\xff" * 4, b"IEND", b"IDAT", b"\xff\xd8\xff\xe0", b"GIF89a")))
    cells = [*CELLS["PNG"][:row], cell, *CELLS["PNG"][row + 1 :]]
    pq.write_table(exchange(DATA, "image", pa.array(cells, pa.binary())), folder / "a.parquet")
    found = ask(lambda: ParquetFile(file=str(folder / "a.parquet")).load(), "a.parquet")
    if is_read(found) and (form == "PNG" or (form in EXACT and whole.startswith(cell))):
        assert np.array_equal(np.concatenate([part.images for part in found])[row], PIXELS[row])


@inputs(150)
@given(st.data())
def test_bytes_of_a_data_set(folder: Path, data: st.DataObject) -> None:
    pq.write_table(DATA, folder / "whole.parquet", row_group_size=3)
    content = (folder / "whole.parquet").read_bytes()
    (folder / "a.parquet").write_bytes(data.draw(damaged(content, (b"\0", b"\xff" * 4, b"PAR1", content[-200:]))))
    found = ask(lambda: ParquetFile(file=str(folder / "a.parquet")).load(), "a.parquet")
    assert not is_read(found) or sum(map(len, found)) == len(DATA)


NAMES = (
    *("train-00000-of-00002", "train-00001-of-00002", "train-00000-of-00001", "train", "test", "test-0", "b/test", "x"),
    *("b/train", "train/0", "test/1", "test/_x", "validation", "train_1"),
)
ENDS = (".parquet",) * 4 + (".PARQUET", ".parquet.part", ".txt", "")
SHARDS = {"train-00000-of-00002": DATA[:3], "train-00001-of-00002": DATA[3:6], "test": DATA[6:]}
INSIDE = {"train/a": DATA[:3], "train/b": DATA[3:6], "test/_metadata": b"PAR1", "test/a": DATA[6:]}
HUBS = [
    {name + ".parquet" * isinstance(layout[name], pa.Table): layout[name] for name in layout}
    for layout in (SHARDS, INSIDE)
]
Shards = dict[str, pa.Table | bytes | None]


@st.composite
def shards(draw: st.DrawFn) -> Shards:
    """Files of a folder, by name, some of them missing, twice there, misnamed, changed, cut off or folders."""
    found: Shards = {**draw(st.sampled_from(HUBS))}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(found)))
        content, other = found[name], draw(st.sampled_from(NAMES)) + draw(st.sampled_from(ENDS))
        match draw(st.sampled_from(["drop", "move", "copy", "change", "cut", "folder"])):
            case "drop" if len(found) > 1:
                del found[name]
            case "move":
                found[other] = found.pop(name)
            case "copy":
                found[other] = content
            case "change" if isinstance(content, pa.Table) and len(content) and content.schema == DATA.schema:
                found[name] = draw(changed_table(content))
            case "cut":
                found[name] = draw(st.binary(max_size=20))
            case _:
                found[name] = None
    return found


@inputs(120)
@given(shards())
@example({**HUBS[1], "train/c.PARQUET": DATA})
@example({**HUBS[0], "README.md": b"Eight."})
def test_a_folder_of_shards(folder: Path, layout: Shards) -> None:
    """What is read are the rows of all files of the split, in the order of their names; the log names what is not."""
    home = folder / "hub"
    shutil.rmtree(home, ignore_errors=True)
    for name, content in sorted(layout.items()):
        path = home / name
        assume(not any(parent.is_file() for parent in path.parents) and not path.exists())
        (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        elif content is not None:
            path.write_bytes(content)
    with hearing() as heard:
        found = ask(lambda: ParquetFile(file=str(home)).load(), str(home))
    if is_read(found):
        ((start, *used),) = [place for place in find_splits(layout) if place[1] and place[2]]
        for names, part in zip(used, found, strict=True):
            tables = [layout[name] for name in names]
            check_images([row for table in tables if isinstance(table, pa.Table) for row in table.to_pylist()], part)
        check_unread(start, layout.keys() - {name for names in used for name in names}, " ".join(heard))


def find_splits(layout: Shards) -> list[tuple[str, list[str], list[str]]]:
    """For each folder where splits may be, as its names begin, the files of each split."""

    def is_of(path: str, split: str) -> bool:
        first, _, rest = path.removesuffix(".parquet").partition("/")
        alone = first == split or (first.startswith(f"{split}-") and not rest)
        return path.endswith(".parquet") and "/" not in rest and alone

    def find(start: str, split: str) -> list[str]:
        there = [name for name in sorted(layout) if name.startswith(start) and layout[name] is not None]
        return [name for name in there if is_of(name.removeprefix(start), split)]

    return [(start, find(start, "train"), find(start, "test")) for start in ("", "b/")]


def check_unread(start: str, names: set[str], heard: str) -> None:
    """The log has what was not read; and a split's folder has nothing that was not, but for what begins with _."""
    for name in names:
        place = name.removeprefix(start)
        top, _, rest = place.partition("/")
        assert top in heard or (top in ("train", "test") and rest.startswith("_")), name


ENTRY = {"loader": "parquet", "file": "a.parquet", "image_column": "image", "label_column": "label", "holdout": 0.5}
ENTRY |= {"train_split": "train", "reserve": 0.0}
HUB = {"info": {"features": {"label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}, "image": {}}}}


def to_json(value: Any) -> Any:
    """The value as JSON may have it."""
    return json.loads(json.dumps(value, default=str, skipkeys=True))


@inputs(150)
@given(changed(ENTRY), changed(HUB), st.booleans())
@example(ENTRY | {"file": "\0"}, HUB, True)
@example(ENTRY | {"file": "\ud800"}, HUB, True)
@example(ENTRY | {"file": "\ud7fc"}, HUB, True)
def test_an_entry_of_a_data_set_and_its_metadata(folder: Path, entry: Any, about: Any, plain: bool) -> None:
    """As the configuration has it, asked for while planning and loaded in its job."""
    table = DATA.replace_schema_metadata({"huggingface": json.dumps(HUB if plain else to_json(about))})
    (folder / "own").mkdir(exist_ok=True)
    pq.write_table(table, folder / "own/a.parquet")
    read = ask(lambda: config.read({"studies": ["one"], "datasets": {"mine": entry}}), "config")
    if is_read(read):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder / "own")
            dataset = catalog.make("datasets", *read.loader("mine"))
            assert len(dataset.missing().splitlines()) <= 1
            name = to_printable(str(getattr(dataset, "file", "mine: ")))
            found = ask(lambda: dataset.prepare(Run("mine", 0)), name, "mine: ")
        if found is not REFUSED and isinstance(dataset, ParquetFile) and not dataset.reserve:
            check_images([row for row in DATA.to_pylist() if row["split"] == dataset.train_split], found[0])


CELL = {"dataset": "digits", "model": "small", "attack": "badnets", "ratio": "0.1", "seed": "0", "defense": "ft"}
MADE: dict[str, Any] = {"fingerprint": "f", "params": {"defense": {"holdout_size": 0.5}}, "wildcards": CELL}
PARAMS = spellings.resolve("models", "preact_small", {"models": {"preact_small": {"width": 2}}})
ROW: dict[str, Any] = {
    **CELL,
    **{f"{axis}_params": "{}" for axis in ("attack", "defense", "model")},
    **{f"{metric}{part}": 0.5 for metric in ("acc", "asr", "ra") for part in ("", "_low", "_high")},
    **{f"{metric}_n": 8 for metric in ("acc", "asr", "ra")},
    **dict.fromkeys(("rejected_test", "rejected_triggered")),
    **dict.fromkeys(("trigger_psnr", "trigger_rms", "trigger_ssim"), 20.5),
    **dict.fromkeys(("digests", "made", "code"), {"a/train.parquet": "0f"}),
    "notes": {"pruned_share": 0.25, "pruned_layers": "conv1"},
    "protocol": "default",
    "classes": 3,
}
JSON = {"metrics.json": [ROW], "costs.json": _costs(1.5, Counter(forward=2))}


def write_network(path: Path, wrapped: bool = False) -> None:
    model = weights.build("preact_small", PARAMS, FORM, Run("digits", 0))
    if wrapped:
        model.wrap(MlpHead((3,)))
    weights.save(path, model, {**MADE, "notes": {}})


def write_truth(path: Path) -> None:
    roles, labels = np.array(["payload", "payload", "cover"]), np.array([1, 2, 0])
    truth.write(str(path), IMAGES[:3], roles, labels, IMAGES[4:7], IMAGES[5:], MADE)


def write_scores(path: Path) -> None:
    scores.write(str(path), Scores(np.arange(8), np.arange(8) / 4, np.arange(8) > 5), MADE)


def write_log(path: Path) -> None:
    run = Run("digits", 0)
    run.log("epoch", epoch=0, loss=0.5)
    run.log("unit", layer="conv1", unit=3, score=0.25, pruned=True)
    run.write_log(str(path), MADE)


def write_metrics(path: Path) -> None:
    files.write_json(path.with_suffix(".json"), [ROW])
    arrow.write_table(path, collect(path.with_suffix(".json")))


WRITERS: dict[str, Callable[[Path], None]] = {
    "train.parquet": lambda path: image_files.write_images(path, IMAGES, MADE),
    "holdout.parquet": lambda path: image_files.write_images(path, IMAGES, {**MADE, "train_images": 16}),
    "truth.parquet": write_truth,
    "scores.parquet": write_scores,
    "log.parquet": write_log,
    "metrics.parquet": write_metrics,
    "victim.safetensors": write_network,
    "wrapped.safetensors": lambda path: write_network(path, wrapped=True),
    **{name: lambda path, value=value: files.write_json(path, value) for name, value in JSON.items()},  # type: ignore[misc]
}
TABLES = sorted(name for name in WRITERS if name.endswith(".parquet"))
NETWORKS = sorted(name for name in WRITERS if name.endswith(".safetensors"))


def collect(path: Path) -> pa.Table:
    return collecting.collect([str(path)], {}, str(path.parent), {"digits": 0.9})


def collect_costs(path: Path) -> pa.Table:
    messages.read_costs(str(path.parents[1]))
    return costs.collect_costs([Cell(**CELL)], [str(path)], [dict.fromkeys(costs.BEHIND, [str(path)])])


def job(path: Path) -> Job:
    return Job.of("defense", MADE, {"file": str(path)})


READERS: dict[str, Callable[[Path], Any]] = {
    "train.parquet": lambda path: image_files.read_images(path)[0],
    "holdout.parquet": lambda path: readers.holdout(job(path), "file"),
    "truth.parquet": lambda path: truth.read(str(path)),
    "scores.parquet": lambda path: scores.read(str(path)),
    "log.parquet": lambda path: readers.table(job(path), "file"),
    "metrics.parquet": lambda path: arrow.read_table(path, collecting.SCHEMA)[0],
    "victim.safetensors": lambda path: weights.load(path, "preact_small", PARAMS, torch.device("cpu")),
    "wrapped.safetensors": lambda path: weights.load_frozen(path, torch.device("cpu")),
    "metrics.json": collect,
    "costs.json": collect_costs,
}


class Kept:
    """One whole artifact of each kind, and beside them a place for one that is not."""

    def __init__(self, folder: Path):
        self.whole, self.folder = folder / "whole/digits", folder / "changed/digits"
        self.whole.mkdir(parents=True)
        self.folder.mkdir(parents=True)
        for name, write in WRITERS.items():
            write(self.whole / name)
        self.abouts = {name: files.read_about(self.whole / name) for name in (*TABLES, *NETWORKS)}
        self.tables = {name: pq.read_table(self.whole / name) for name in TABLES}

    def read(self, name: str) -> Any:
        """What the reader of this kind makes of the one that is not whole."""
        path = self.folder / name
        found = ask(lambda: READERS[name](path), str(path), "holdout_size", made=True)
        about = ask(lambda: files.read_about(path), str(path), made=True) if path.suffix != ".json" else {}
        assert about is REFUSED or isinstance(about, dict)
        return found

    def read_table(self, name: str, table: pa.Table) -> Any:
        """What is made of this table in its place: all its rows as they are, or nothing."""
        pq.write_table(table, self.folder / name)
        found = self.read(name)
        if found is not REFUSED:
            rows = table.to_pylist()[: 8 if name == "holdout.parquet" else None]
            for row, other in zip(list_rows(found), rows, strict=True):
                assert all(type(v) is type(other[key]) and is_same(other[key], v) for key, v in row.items()), (
                    row,
                    other,
                )
        return found

    def read_about(self, name: str, about: dict[str, Any], stored: dict[str, str] | None = None) -> Any:
        """What is made of this metadata in its place, or of what is stored instead: just that, or nothing."""
        stored = {files.KEY: json.dumps(about)} if stored is None else stored
        if name in NETWORKS:
            save_file(load_file(self.whole / name), self.folder / name, stored)
        else:
            pq.write_table(self.tables[name].replace_schema_metadata(stored), self.folder / name)
        found = self.read(name)
        if found is not REFUSED:
            check_about(found, about)
        return found

    def read_json(self, name: str, value: Any) -> Any:
        """What is made of this JSON in its place: rows of just its values, or nothing."""
        files.write_json(self.folder / name, value)
        found = self.read(name)
        if found is not REFUSED:
            told = value if name == "metrics.json" else [value]
            for row, other in zip(found.to_pylist(), told, strict=True):
                written = {**other, **other.get("notes", {})}
                for key in row.keys() & written.keys() - {"digests", "code"}:
                    assert is_same(written[key], row[key]), key
        return found


@pytest.fixture(scope="module")
def kept(folder: Path) -> Kept:
    return Kept(folder)


def list_rows(found: Any) -> list[dict[str, Any]]:
    """What was read, as rows of the table that it stood in, without the columns that are not read."""
    if isinstance(found, Images):
        pixels = [image.tobytes() for image in found.images]
        return _zip(index=found.index.tolist(), label=found.labels.tolist(), image=pixels)
    if isinstance(found, Scores):
        return _zip(index=found.index.tolist(), score=found.score.tolist(), flagged=found.flagged.tolist())
    if isinstance(found, Truth):
        own = {"index": found.altered.tolist(), "role": found.roles.tolist()}
        train = _zip(**own, original_label=found.altered_labels.tolist(), split=["train"] * len(found.altered))
        more = _zip(original_label=found.original_labels.tolist(), split=["test"] * len(found.triggered))
        return train + [row | other for row, other in zip(list_rows(found.triggered), more, strict=True)]
    return found.to_pylist()  # type: ignore[no-any-return]


def _zip(**columns: list[Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def check_about(found: Any, about: dict[str, Any]) -> None:
    """Formats, numbers and fields are those of the metadata."""
    if form := getattr(getattr(found, "triggered", found), "format", None):
        for key, value in form.as_json().items():
            assert len(value) == len(about[key]) and all(map(is_same, about[key], value))
            assert {type(part) for part in about[key]} <= {int, float, str}
    if isinstance(found, Truth):
        assert all(is_same(about[f"trigger_{key}"], getattr(found, key)) for key in ("psnr", "rms", "ssim"))
    if isinstance(found, Model):
        made = {"architecture": vars(found.architecture), "wrapper": vars(found.wrapper) if found.wrapper else {}}
        for part, own in made.items():
            told = about[part] or {}
            assert all(is_same(told[key], own[key]) for key in told.keys() & own.keys() - SKIPPED[bool(found.wrapper)])


SKIPPED = {True: set[str](), False: set(vars(weights.Recipe()))}
"""Of a victim's architecture the recipe is the cell's; of an auxiliary it is what the file says."""


def test_whole_artifacts_are_read(kept: Kept) -> None:
    for name in WRITERS:
        shutil.copy(kept.whole / name, kept.folder / name)
        assert kept.read(name) is not REFUSED


def test_every_column_of_an_artifact(kept: Kept) -> None:
    """Without it, with empty cells, of another type, with a value that its type has no place for."""
    for name, table in kept.tables.items():
        for column in table.column_names:
            kept.read_table(name, table.drop_columns([column]))
            other = pa.int64() if table.schema.field(column).type == pa.string() else pa.string()
            for array in (
                pa.nulls(len(table)),
                pa.nulls(len(table), other),
                *find_cells(table[column], len(table) - 1),
            ):
                kept.read_table(name, exchange(table, column, array))


OTHERS: Sequence[Any] = (GONE, None, True, -1, 2.5, float("nan"), "a\nb", [], {}, ["a", "b", "c"], 10**400)
NESTED = ("shape", "mean", "classes", "architecture", "wrapper")


def test_every_key_of_metadata(kept: Kept) -> None:
    """Missing, or of each other type; the values of lists and mappings too, of which some are read."""
    for name, about in kept.abouts.items():
        kept.read_about(name, {}, {})
        for key, value in about.items():
            parts = list(value if isinstance(value, dict) else range(len(value))) if key in NESTED and value else []
            for place in [(key,), *((key, part) for part in parts)]:
                for other in OTHERS:
                    kept.read_about(name, put(about, place, other))


@inputs(200)
@given(st.sampled_from(TABLES), st.data())
def test_columns_of_an_artifact(kept: Kept, name: str, data: st.DataObject) -> None:
    """All rows are read as they are, of the types that they must be."""
    is_read(kept.read_table(name, data.draw(changed_table(kept.tables[name]))))


@inputs(150)
@given(st.sampled_from([*TABLES, *NETWORKS]), st.data())
def test_metadata_of_an_artifact(kept: Kept, name: str, data: st.DataObject) -> None:
    about = to_json(data.draw(changed(kept.abouts[name])))
    built = about.get("architecture") if isinstance(about, dict) else None
    sizes = [v for v in built.values() if isinstance(v, int | float)] if isinstance(built, dict) else []
    assume(not any(64 < size < 2**31 for size in sizes))  # a network of gigabytes
    text = json.dumps(about)
    stored = data.draw(st.sampled_from([text, text, text, text, text[:-1], "", "[]", "null", text + "}", text * 2]))
    is_read(kept.read_about(name, about, {files.KEY: stored}))


@inputs(300)
@given(st.sampled_from(sorted(WRITERS)), st.data())
def test_bytes_of_an_artifact(kept: Kept, name: str, data: st.DataObject) -> None:
    snippets = (b"\0", b"\xff" * 8, b"{", b'"', b"PAR1", b"NaN", b"null", b"[" * 2000, b"9" * 5000, b"\xef\xbb\xbf")
    (kept.folder / name).write_bytes(data.draw(damaged((kept.whole / name).read_bytes(), snippets)))
    is_read(kept.read(name))


ALIKE = (
    {"holdout.parquet", "train.parquet"},
    {"wrapped.safetensors", "victim.safetensors"},
    {"log.parquet", "metrics.parquet"},
)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_an_artifact_in_the_place_of_another(kept: Kept, name: str) -> None:
    """Another kind, nothing, a folder, or a pipe or a device, which never end; only of the same columns and keys it
    could not be told."""
    for other in WRITERS:
        shutil.copy(kept.whole / other, kept.folder / name)
        assert (kept.read(name) is REFUSED) == (name != other) or {name, other} in ALIKE, other
    (kept.folder / name).unlink()
    assert kept.read(name) is REFUSED
    (kept.folder / name).mkdir()
    assert kept.read(name) is REFUSED
    (kept.folder / name).rmdir()
    os.mkfifo(kept.folder / name)
    assert kept.read(name) is REFUSED
    (kept.folder / name).unlink()
    (kept.folder / name).symlink_to("/dev/zero")
    assert kept.read(name) is REFUSED
    (kept.folder / name).unlink()


@inputs(200)
@given(st.sampled_from(sorted(JSON)), st.data())
def test_values_of_a_json_artifact(kept: Kept, name: str, data: st.DataObject) -> None:
    is_read(kept.read_json(name, to_json(data.draw(changed(JSON[name])))))


def test_every_key_of_a_json_artifact(kept: Kept) -> None:
    """Missing, or of each other type; rows of two cells, one twice, and a key that stands there twice."""
    for name, value in JSON.items():
        for place in list(places(value))[1:]:
            for other in OTHERS:
                kept.read_json(name, put(value, place, other))
    for rows in ([], [ROW, ROW], [ROW, ROW | {"seed": "1"}]):
        assert kept.read_json("metrics.json", rows) is REFUSED
    assert kept.read_json("metrics.json", [ROW | {"digests": {"x" * 300: "0f"}}]) is not REFUSED
    (kept.folder / "costs.json").write_text(json.dumps(JSON["costs.json"])[:-1] + ', "seconds": 2}')
    assert kept.read("costs.json") is REFUSED


@inputs(80)
@given(st.sampled_from(NETWORKS), st.data())
def test_tensors_of_a_network(kept: Kept, name: str, data: st.DataObject) -> None:
    """Each weight is the one of the file, bit by bit."""
    state = load_file(kept.whole / name)
    key = data.draw(st.sampled_from(sorted(state)))
    own = state.pop(key)
    match data.draw(st.sampled_from(["drop", "rename", "type", "shape", "more"])):
        case "rename":
            state[key.upper()] = own
        case "type":
            kinds = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool]
            state[key] = own.to(data.draw(st.sampled_from(kinds)))
        case "shape":
            flat = own.flatten()
            state[key] = data.draw(
                st.sampled_from([own[None], flat, flat[:1], flat[:0], own.repeat(2, *own.shape)])
            ).clone()
        case "more":
            state |= {key: own, "more": torch.zeros(2)}
    save_file(state, kept.folder / name, {files.KEY: json.dumps(kept.abouts[name])})
    found = kept.read(name)
    if is_read(found):
        read = found.network.state_dict()
        assert read.keys() == state.keys()
        assert all(value.dtype == read[key].dtype and torch.equal(value, read[key]) for key, value in state.items())
