"""Folders of images that are not what they should be: every image that lies there is read once, with its label, or the
folder is refused; and what is not read, the log names."""

import csv
import importlib
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from wrong import REFUSED, ask, hearing, inputs, is_read

from workflow_scripts.common import image_files
from workflow_scripts.common.errors import to_printable
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.datasets import Dataset, _download
from workflow_scripts.datasets.gtsrb import Gtsrb
from workflow_scripts.datasets.imagefolder import TEST, ImageFolder
from workflow_scripts.datasets.tiny_imagenet import TinyImageNet

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged images

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), np.uint8)


def encode(pixels: np.ndarray, form: str) -> bytes:
    Image.fromarray(pixels).save(buffer := io.BytesIO(), form, lossless=True)
    return buffer.getvalue()


PNG = [encode(pixels, "PNG") for pixels in PIXELS]
WHOLE = {encode(pixels, form): pixels for form in ("PNG", "WEBP", "BMP", "TIFF", "PPM") for pixels in PIXELS}


@dataclass(frozen=True)
class Link:
    """A symbolic link, as its target is written."""

    target: str


FOLDER, PIPE = "a folder", "a pipe"
Entry = bytes | str | Link
Tree = dict[str, Entry]
"""What lies in a folder: files, links, FOLDER or PIPE by the path that leads there."""

ALONE: Tree = {f"{'cat' if row % 2 else 'dog'}/{row}.png": content for row, content in enumerate(PNG)}
SPLIT: Tree = {f"{'train' if row < 6 else 'test'}/{path}": ALONE[path] for row, path in enumerate(sorted(ALONE))}
BOTH: Tree = {**SPLIT, "val/cat/0.png": PNG[0], "unlabelled/0.png": PNG[1], "README.md": b"Two."}
HOME = "tiny-imagenet-200"
TINY: Tree = {
    **{f"{HOME}/train/n0{row % 2}/images/{row}.JPEG": content for row, content in enumerate(PNG[:6])},
    **{f"{HOME}/train/n0{row}/n0{row}_boxes.txt": b"0.JPEG\t0\t0\t62\t62\n" for row in range(2)},
    **{f"{HOME}/val/images/{row}.JPEG": content for row, content in enumerate(PNG[6:])},
    f"{HOME}/val/val_annotations.txt": b"0.JPEG\tn00\t0\t0\n1.JPEG\tn01\t0\t0\n",
    f"{HOME}/wnids.txt": b"n00\nn01\n",
}
TINY_MOVED: Tree = {
    **{path: content for path, content in TINY.items() if "/val/" not in path},
    **{f"{HOME}/val/n0{row}/{row}.JPEG": content for row, content in enumerate(PNG[6:])},
}
SIGNS, TEST_SIGNS = "gtsrb/GTSRB/Final_Training/Images", "gtsrb/GTSRB/Final_Test/Images"
GTSRB: Tree = {
    **{f"{SIGNS}/0000{row % 2}/{row}.ppm": content for row, content in enumerate(PNG[:6])},
    **{f"{SIGNS}/0000{row}/GT-0000{row}.csv": b"Filename;ClassId\n" for row in range(2)},
    **{f"{TEST_SIGNS}/{row}.ppm": content for row, content in enumerate(PNG[6:])},
    f"{TEST_SIGNS}/GT-final_test.test.csv": b"Filename\n",
    "gtsrb/GT-final_test.csv": b"Filename;Width;ClassId\n0.ppm;4;1\n1.ppm;4;0\n",
}

ENDS = (".png", ".PNG", ".jpg", ".webp", ".tif", ".heic", ".npy", ".txt", ".png.part", ".png~", ".", "", ".csv")
STEMS = (
    "0",
    "7",
    "ä",
    "gro\u0308ße",
    "a\nb",
    "\x1b[31m",
    "\udcff",
    " ",
    "-x",
    "x" * 200,
    ".hidden",
    "._0",
    "%s",
    "{0}",
)
LITTER = ("Thumbs.db", "desktop.ini", ".DS_Store", "__MACOSX", "Icon\r", "lost+found")
FOLDERS = (
    "cat",
    "dog",
    "Cat",
    "fox",
    "train",
    "test",
    "val",
    "Test",
    "valid",
    "images",
    "00001",
    "00042",
    "n01",
    "n02",
)
NAMES = st.one_of(
    st.builds(str.__add__, st.sampled_from(STEMS), st.sampled_from(ENDS)).filter(lambda name: name.strip(".")),
    st.sampled_from(LITTER + FOLDERS),
)
TARGETS = ("nowhere", ".", "..", "../..", "0.png", "7.png", "../cat", "../dog/2.png", "/dev/zero", "/dev/null")
TEXTS = (
    b"",
    b"text",
    b"0.JPEG\tn01\t0\n",
    b"Filename;ClassId\n0.ppm;1\n",
    b"\xff\xfe",
    b"\x89PNG\r\n\x1a\n",
    b"P6 4 4 255\n",
)


@st.composite
def contents(draw: st.DrawFn, old: Entry) -> Entry:
    """What may lie in the place of a file."""
    match draw(st.sampled_from(["other", "cut", "text", "lines", "link", "folder", "pipe"])):
        case "cut" if isinstance(old, bytes):
            return old[: draw(st.integers(0, len(old)))]
        case "lines" if isinstance(old, bytes):
            return b"".join(draw(st.permutations(old.splitlines(True) * 2))[: draw(st.integers(0, 4))])
        case "text":
            return draw(st.sampled_from(TEXTS) | st.binary(max_size=9))
        case "link":
            return Link(draw(st.sampled_from(TARGETS)))
        case "folder":
            return FOLDER
        case "pipe":
            return PIPE
    return draw(st.sampled_from(sorted(WHOLE)))


@st.composite
def changed_tree(draw: st.DrawFn, tree: Tree) -> Tree:
    """The tree with one to three files or folders that are missing, renamed, elsewhere, twice there, or of another
    kind."""
    for _ in range(draw(st.integers(1, 3))):
        if not tree:
            break
        path = draw(st.sampled_from(sorted(tree)))
        *above, last = path.split("/")[: draw(st.sampled_from([9, 9, 9, 9, -1, -1, -2, -3]))] or [path]
        place, beside = "/".join([*above, last]), "/".join([*above, draw(NAMES)])
        away = draw(st.sampled_from(sorted({"", *(str(parent) for p in tree for parent in Path(p).parents)})))
        away = str(Path(away, last))
        own = {p: p.removeprefix(place) for p in tree if p == place or p.startswith(f"{place}/")}
        rest = {p: tree[p] for p in tree if p not in own}
        match draw(st.sampled_from(["drop", "rename", "rename", "copy", "move", "add", "add", "content", "content"])):
            case "drop":
                tree = rest
            case "rename":
                tree = rest | {beside + end: tree[p] for p, end in own.items()}
            case "copy":
                tree = tree | {beside + end: tree[p] for p, end in own.items()}
            case "move":
                tree = rest | {away + end: tree[p] for p, end in own.items()}
            case "add":
                tree = tree | {beside: draw(contents(tree[path]))}
            case "content":
                tree = rest | {place: draw(contents(tree[path]))}
    return tree


def write_tree(folder: Path, tree: Tree) -> None:
    """The tree in a folder, anew; of a file in the place of a folder only the file."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, entry in sorted(tree.items()):
        place = folder / path
        if any(parent.is_symlink() or (parent.exists() and not parent.is_dir()) for parent in place.parents):
            continue
        (place if entry == FOLDER else place.parent).mkdir(parents=True, exist_ok=True)
        if place.exists() or place.is_symlink() or len(place.name.encode(errors="replace")) > 255:
            continue
        if isinstance(entry, Link):
            place.symlink_to(entry.target)
        elif isinstance(entry, bytes):
            place.write_bytes(entry)
        elif entry == PIPE:
            os.mkfifo(place)


def see(folder: Path) -> list[Path]:
    """What a user means to lie there."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name not in LITTER[:5])


def see_folders(folder: Path) -> list[Path]:
    return [path for path in see(folder) if path.is_dir()] if folder.is_dir() else []


Seen = list[tuple[str, bytes]]
"""Images that lie somewhere: the name of the class and the pixels of each."""


def find_pixels(path: Path) -> bytes:
    """Those of the whole image that a file is, or begins like."""
    assert path.is_file(), path
    content = path.read_bytes()
    found = [WHOLE[whole] for whole in WHOLE if content and whole.startswith(content)]
    assert found, f"{path} is no image"
    return found[0].tobytes()


def see_classes(folder: Path) -> Seen:
    return [(home.name, find_pixels(path)) for home in see_folders(folder) for path in see(home)]


def list_seen(found: Images) -> Seen:
    names = found.format.classes
    return sorted((names[label], image.tobytes()) for label, image in zip(found.labels, found.images, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    """No network is asked for; and what takes longer to import than a reader may take is there."""
    importlib.import_module("torchvision.datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_download, "is_online", lambda host: False)
        yield


def prepare(dataset: Dataset, *names: str) -> tuple[Images, Images]:
    """Training and test images, as they are in artifacts; REFUSED where they are not there or not read."""

    def read() -> tuple[Images, Images]:
        train, test, _ = dataset.prepare(Run("mine", 0))
        return train, test

    if missing := dataset.missing():
        assert missing.isprintable() and any(name in missing for name in names)
        return REFUSED  # type: ignore[no-any-return]
    return ask(read, *names)


def check_heard(heard: list[str], folder: Path, read: Sequence[str]) -> None:
    """Whatever lies in a folder and was not read is named."""
    others = [to_printable(path.name) for path in see(folder) if path.name not in read]
    lines = [line for line in heard if line.startswith(f"{folder}: ")]
    assert len(lines) == bool(others) and all(line.isprintable() for line in lines)
    assert all(name[:40] in lines[0] for name in others[:3]) if others else True


@inputs(300)
@given(st.sampled_from([ALONE, SPLIT, BOTH]).flatmap(changed_tree), st.sampled_from([0.2, 0.5]))
@example({**ALONE, "dog/notes.txt": b"text"}, 0.5)
@example({**ALONE, "fox": Link("nowhere")}, 0.5)
@example({**ALONE, "dog/9.png": PIPE}, 0.5)
@example({**ALONE, "dog/9.png": Link("/dev/zero")}, 0.5)
@example({**ALONE, "dog.heic": b"text"}, 0.5)
@example(BOTH, 0.5)
def test_a_folder_of_images(folder: Path, tree: Tree, share: float) -> None:
    """As it is read, so it is in the artifact."""
    home = folder / "mine"
    write_tree(home, tree)
    with hearing() as heard:
        found = prepare(ImageFolder(folder=str(home), test_share=share), str(home), "mine: ")
    if not is_read(found):
        return
    train, test = map(list_seen, found)
    if see_folders(home / "train"):
        name = next(name for name in TEST if see_folders(home / name))
        assert train == sorted(see_classes(home / "train")) and test == sorted(see_classes(home / name))
        check_heard(heard, home, ("train", name))
        for part in ("train", name):
            check_heard(heard, home / part, [path.name for path in see_folders(home / part)])
    else:
        assert sorted(train + test) == sorted(see_classes(home)) and len(test) == round(share * len(train + test))
        check_heard(heard, home, [path.name for path in see_folders(home)])
    image_files.write_images(folder / "train.parquet", found[0], {})
    assert list_seen(image_files.read_images(folder / "train.parquet")[0]) == train


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "._0.png", "__MACOSX", "Icon\r", ".cache"])
@pytest.mark.parametrize("place", ["", "train/", "train/cat/", "test/dog/"])
def test_what_systems_leave_in_folders(folder: Path, name: str, place: str) -> None:
    """Is no image, and not worth a word."""
    write_tree(folder / "mine", {**SPLIT, f"{place}{name}": FOLDER if name in ("__MACOSX", ".cache") else b"text"})
    with hearing() as heard:
        train, test = prepare(ImageFolder(folder=str(folder / "mine")))
    assert (len(train), len(test), heard) == (6, 2, [])


def see_listed(folder: Path, told: list[tuple[str, str]]) -> Seen:
    """The images of a folder, each with the label that is told of it, once."""
    labels = dict(told)
    paths = [path for path in see(folder) if not path.name.startswith("GT-")]
    assert sorted(path.name for path in paths) == sorted(name for name, _ in told)
    return [(labels[path.name], find_pixels(path)) for path in paths]


@inputs(150)
@given(st.sampled_from([TINY, TINY_MOVED]).flatmap(changed_tree))
@example({**TINY, f"{HOME}/val/images/2.JPEG": PNG[0]})
@example({**TINY, f"{HOME}/train/n01/9.JPEG": PNG[0]})
@example({**TINY, f"{HOME}/val/val_annotations.txt": PIPE})
@example({**TINY, f"{HOME}/words.txt": PIPE})
@example(TINY)
@example(TINY_MOVED)
def test_tiny_imagenet(folder: Path, tree: Tree) -> None:
    write_tree(folder / "mine", tree)
    home = folder / "mine" / HOME
    found = prepare(TinyImageNet(folder=str(folder / "mine"), size=4), str(folder / "mine"), "mine: ")
    if is_read(found):
        train, test = map(list_seen, found)
        homes = see_folders(home / "train")
        assert train == sorted((one.name, find_pixels(path)) for one in homes for path in see(one / "images"))
        assert not [path for one in homes for path in see(one) if path.suffix == ".JPEG"]
        labels = home / "val/val_annotations.txt"
        if labels.exists():
            told = [(line.split("\t")[0], line.split("\t")[1]) for line in labels.read_text().splitlines()]
            assert test == sorted(see_listed(home / "val/images", told))
        else:
            assert test == sorted(see_classes(home / "val"))


@inputs(150)
@given(changed_tree(GTSRB))
@example({**GTSRB, "gtsrb/GT-final_test.csv": PIPE})
@example({**GTSRB, f"{TEST_SIGNS}/2.ppm": PNG[0]})
@example({**GTSRB, f"{SIGNS}/00001/notes.txt": b"text"})
@example(GTSRB)
def test_gtsrb(folder: Path, tree: Tree) -> None:
    write_tree(folder / "mine", tree)
    home = folder / "mine"
    found = prepare(Gtsrb(folder=str(home), size=4), str(home), "mine: ", "GTSRB is not to be had: ")
    if is_read(found):
        train, test = map(list_seen, found)
        homes = see_folders(home / SIGNS)
        paths = [path for one in homes for path in see(one) if not path.name.startswith("GT-")]
        assert train == sorted((str(int(path.parent.name)), find_pixels(path)) for path in paths)
        rows = csv.DictReader((home / "gtsrb/GT-final_test.csv").read_text().splitlines(), delimiter=";")
        told = [(row["Filename"], str(int(row["ClassId"]))) for row in rows]
        assert test == sorted(see_listed(home / TEST_SIGNS, told))
