"""Loaders of published data sets and of folders, on tiny files in the real layout, whole and broken, with and without a
network."""

import pickle
import re
import shutil
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import write_cifar, write_gtsrb, write_image, write_imagenette, write_tiny
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100, GTSRB, Imagenette

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.run import Run
from workflow_scripts.common.source import ROOT
from workflow_scripts.datasets import Dataset, _download, gtsrb, imagenette
from workflow_scripts.datasets._download import is_online
from workflow_scripts.datasets.cifar10 import Cifar10
from workflow_scripts.datasets.cifar100 import Cifar100
from workflow_scripts.datasets.gtsrb import Gtsrb
from workflow_scripts.datasets.imagefolder import ImageFolder
from workflow_scripts.datasets.imagenette import Imagenette as ImagenetteLoader
from workflow_scripts.datasets.parquet import ParquetFile
from workflow_scripts.datasets.tiny_imagenet import TinyImageNet

Write = Callable[..., Dataset]


def refusal(dataset: Dataset) -> str:
    """The one line that says why a dataset cannot be prepared."""
    with pytest.raises(UserError) as error:
        dataset.prepare(Run("mine", 0))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("source", [CIFAR10, CIFAR100])
def test_cifar_in_its_real_layout(tmp_path: Path, no_sums: None, source: Any) -> None:
    dataset = write_cifar(tmp_path, source)
    assert (dataset.unpacked, dataset.archive) == (source.base_folder, source.filename)
    assert dataset.host in source.url and dataset.first == source.train_list[0][0]
    train, test = dataset.load()
    assert train.images.shape == (10 * len(source.train_list), 32, 32, 3) and len(test) == 10
    assert test.labels.tolist() == [*range(10)] and train.format.classes[3] == "class3"
    assert len(train.format.classes) == (10 if source is CIFAR10 else 100)
    first = pickle.loads((tmp_path / dataset.unpacked / dataset.first).read_bytes())["data"][0]
    assert np.array_equal(train.images[0], first.reshape(3, 32, 32).transpose(1, 2, 0))  # channels come last
    std = (0.247, 0.243, 0.261) if source is CIFAR10 else (0.2673, 0.2564, 0.2762)
    assert train.format.std == test.format.std == std


@pytest.mark.parametrize("source", [CIFAR10, CIFAR100])
def test_a_cifar_that_is_not_whole_says_what_to_put_where(tmp_path: Path, source: Any) -> None:
    dataset = write_cifar(tmp_path, source)
    wanted = f"{dataset.title} is not to be had: .* Unpack {dataset.archive} .*/{dataset.first} is there and whole"
    assert re.fullmatch(wanted, refusal(dataset))


@pytest.mark.parametrize("edition", ["final", "competition"])
def test_gtsrb_in_its_real_layout(tmp_path: Path, edition: str) -> None:
    train, test = write_gtsrb(tmp_path, edition=edition).load()
    assert train.images.shape == (3, 32, 32, 3) and train.labels.tolist() == [0, 14, 14]
    assert test.labels.tolist() == [14, 0] and train.format.classes == tuple(map(str, range(43)))
    assert (train.format.mean, train.format.std) == ((0, 0, 0), (1, 1, 1))
    folder = tmp_path / "gtsrb" / ("GTSRB/Final_Training/Images" if edition == "final" else "GTSRB/Training")
    signs = Image.open(folder / "00000/00000_00000.ppm")
    assert np.array_equal(train.images[0], np.asarray(signs.resize((32, 32), Image.Resampling.BILINEAR))), "whole"
    if edition == "competition":
        assert len(GTSRB(str(tmp_path), "train")) == 3, "torchvision's own"


def test_gtsrb_may_be_gray_and_of_another_size(tmp_path: Path) -> None:
    train, _ = write_gtsrb(tmp_path, size=16, fit="crop", channels="gray").load()
    assert train.images.shape == (3, 16, 16, 1) and 0 < train.format.std[0] < 1


ROWS = "Filename;ClassId\n00000.ppm;14\n00001.ppm;0\n"


@pytest.mark.parametrize(
    ("broken", "text", "message"),
    [
        ("GTSRB/Final_Training/Images/00014/00000_00001.ppm", "P6\n8 8\n255\n", "00014/00000_00001.ppm is no image"),
        ("GTSRB/Final_Training/Images/00050/a.ppm", "", "00050 is no class of GTSRB, whose folders are 00000 to 00042"),
        ("GTSRB/Final_Training/Images/00001/GT-00001.csv", "", "00001 has no images"),
        ("GTSRB/Final_Training/Images/00014/a.txt", "", "00014/a.txt is no image by its name"),
        ("GTSRB/Final_Training/Images/a.ppm", "", "Images/a.ppm lies in no folder of a class"),
        (
            "GTSRB/Final_Test/Images/00002.ppm",
            "",
            "Images/00002.ppm has no label in {home}/GT-final_test.csv, which has 2",
        ),
        ("GT-final_test.csv", ROWS + "00001.ppm;1\n", "GT-final_test.csv: 00001.ppm stands there twice"),
        ("GT-final_test.csv", ROWS + "00009.ppm;3\n", "00009.ppm: there is no such file"),
        ("GT-final_test.csv", "Filename,ClassId\n00001.ppm,3\n", "GTSRB is not to be had: 'Filename'. Unpack GTSRB_Fi"),
        ("GT-final_test.csv", ROWS.replace("14", "43"), "label 43 is out of range"),
        ("GT-final_test.csv", "Filename;ClassId\n", "00000.ppm has no label in {home}/GT-final_test.csv, which has 0"),
    ],
)
def test_a_broken_gtsrb_is_said(tmp_path: Path, broken: str, text: str, message: str) -> None:
    dataset = write_gtsrb(tmp_path)
    path = tmp_path / "gtsrb" / broken
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert message.format(home=tmp_path / "gtsrb") in refusal(dataset)


@pytest.mark.parametrize("edition", imagenette.ARCHIVES)
def test_imagenette_in_its_real_layout(tmp_path: Path, edition: str) -> None:
    url = Imagenette._ARCHIVES[edition][0]
    assert url.endswith(f"/{imagenette.ARCHIVES[edition]}.tgz") and ImagenetteLoader.host in url
    train, test = write_imagenette(tmp_path, edition=edition).load()
    assert train.images.shape == (10, 24, 24, 3) and train.labels.tolist() == test.labels.tolist() == [*range(10)]
    assert train.format.classes[:2] == ("tench", "English springer") and train.format.mean == (0.485, 0.456, 0.406)


def test_a_broken_imagenette_is_said(tmp_path: Path) -> None:
    dataset = write_imagenette(tmp_path)
    path = next((tmp_path / "imagenette2-320/val/n02979186").iterdir())
    path.write_bytes(path.read_bytes()[:300])
    assert f"{path} is no image" in refusal(dataset)
    path.with_suffix(".txt").touch()
    assert f"{path.with_suffix('.txt')} is no image by its name" in refusal(dataset)
    path.with_suffix(".txt").unlink()
    path.unlink()
    assert f"{path.parent} has no images" in refusal(dataset)
    path.parent.rmdir()
    assert f"Imagenette is not to be had: {path.parent} is not there. Unpack" in refusal(dataset)


def test_tiny_imagenet_in_its_real_layout(tmp_path: Path) -> None:
    train, test = write_tiny(tmp_path).load()
    assert train.images.shape == (4, 64, 64, 3) and train.labels.tolist() == [0, 0, 1, 1], "in the order of n01, n02"
    assert test.labels.tolist() == [1, 0, 1] and train.format.classes == ("goldfish", "tailed frog")
    assert train.format.mean == (0.4802, 0.4481, 0.3975)
    home = tmp_path / "tiny-imagenet-200"
    assert np.array_equal(test.images[2], np.asarray(Image.open(home / "val/images/val_2.JPEG")))
    assert write_tiny(tmp_path, size=32).load()[0].images.shape == (4, 32, 32, 3)


def test_tiny_imagenet_as_backdoorbench_moves_it(tmp_path: Path) -> None:
    dataset = write_tiny(tmp_path)
    _, before = dataset.load()
    val = tmp_path / "tiny-imagenet-200/val"
    for number, name in enumerate(("n02", "n01", "n02")):
        (val / name).mkdir(exist_ok=True)
        (val / "images" / f"val_{number}.JPEG").rename(val / name / f"val_{number}.JPEG")
    (val / "images").rmdir()
    (val / "val_annotations.txt").unlink()
    (val.parent / "words.txt").unlink()
    _, test = dataset.load()
    assert test.labels.tolist() == [0, 1, 1] and test.format.classes == ("n01", "n02")
    assert np.array_equal(test.images, before.images[[1, 0, 2]])


@pytest.mark.parametrize(
    ("broken", "text", "message"),
    [
        (
            "val/val_annotations.txt",
            "val_0.JPEG\tn03\t0\n",
            "line 1 names no class that has a folder in train/: 'val_0",
        ),
        ("val/val_annotations.txt", "val_0.JPEG\tn01\nval_1.JPEG n02\n", "line 2 names no class"),
        (
            "val/val_annotations.txt",
            "val_0.JPEG\tn01\t0\n",
            "val_1.JPEG has no label in .*annotations.txt, which has 1;",
        ),
        (
            "val/val_annotations.txt",
            "val_0.JPEG\tn01\n" * 2,
            "val_1.JPEG has no label in .*txt, which has 2; is it whole",
        ),
        ("val/images/val_0.txt", "", "val_0.txt is no image by its name, and would be left out"),
        ("train/n01/images/n01_0.JPEG", "none", "n01_0.JPEG is no image"),
        ("train/n01/images/none.txt", "", "n01/images/none.txt is no image by its name"),
        ("train/n01/n01_0.JPEG", "", "train/n01/n01_0.JPEG lies in no folder of a class"),
        ("train/n03/images/.hidden.png", "", "n03/images has no images"),
        ("train/n03/a.txt", "", r"Tiny ImageNet is not to be had: .* Unzip tiny-imagenet-200.zip"),
    ],
)
def test_a_broken_tiny_imagenet_is_said(tmp_path: Path, broken: str, text: str, message: str) -> None:
    dataset = write_tiny(tmp_path)
    path = tmp_path / "tiny-imagenet-200" / broken
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert re.search(message, refusal(dataset))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Forgets whether there is one, before and after; no proxy."""
    monkeypatch.setattr(_download, "getproxies", dict)
    is_online.cache_clear()
    yield monkeypatch
    is_online.cache_clear()


ABSENT: dict[str, tuple[Any, Write, str, str]] = {
    "CIFAR-10": (Cifar10, write_cifar, "www.cs.toronto.edu", "Unpack cifar-10-python.tar.gz .*/data_batch_1 is there"),
    "CIFAR-100": (Cifar100, write_cifar, "www.cs.toronto.edu", "Unpack cifar-100-python.tar.gz .*/train is there"),
    "GTSRB": (Gtsrb, write_gtsrb, "sid.erda.dk", "Unpack GTSRB_Final_Training_Images.zip, .*, so that GTSRB/Final_Tr"),
    "Imagenette": (ImagenetteLoader, write_imagenette, "s3.amazonaws.com", "Unpack imagenette2-320.tgz .*-320/train"),
    "Tiny ImageNet": (TinyImageNet, write_tiny, "", "Unzip tiny-imagenet-200.zip .*/tiny-imagenet-200/train and /val"),
}
"""Loader, what writes its files, the host, and what to put where."""


@pytest.mark.parametrize("title", ABSENT)
def test_what_is_absent_is_asked_for_once_and_said(title: str, tmp_path: Path, network: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(address: object, timeout: float) -> None:
        asked.append(address)
        raise socket.gaierror("no such name")

    network.setattr(socket, "create_connection", refuse)
    loader, write, host, remedy = ABSENT[title]
    for _ in range(2):
        text = loader(folder=str(tmp_path)).missing()
        reason = f"{title} is not to be had: {tmp_path}/[^ ]* is not there{f', {host} not reachable' if host else ''}. "
        assert re.match(reason + remedy, text) and "\n" not in text
    assert asked == ([(host, 443)] if host else [])
    whole = write(tmp_path, CIFAR100 if title == "CIFAR-100" else CIFAR10) if write is write_cifar else write(tmp_path)
    assert whole.missing() == ""
    assert loader(folder=str(tmp_path / ("long" * 100))).missing()


@pytest.mark.parametrize(
    ("proxies", "address"),
    [
        ({}, ("www.cs.toronto.edu", 443)),
        ({"https": "http://proxy.test:3128"}, ("proxy.test", 3128)),
        ({"https": "http://proxy.test"}, ("proxy.test", 80)),
    ],
)
def test_what_can_be_downloaded_is_not_missing(
    tmp_path: Path, network: pytest.MonkeyPatch, proxies: dict[str, str], address: object
) -> None:
    asked = []

    def connect(address: object, timeout: float) -> socket.socket:
        asked.append(address)
        return socket.socket()

    network.setattr(socket, "create_connection", connect)
    network.setattr(_download, "getproxies", lambda: proxies)
    assert Cifar10(folder=str(tmp_path)).missing() == "" and asked == [address]
    assert TinyImageNet(folder=str(tmp_path)).missing(), "which is never downloaded"


def test_a_network_that_does_not_answer_is_none(network: pytest.MonkeyPatch) -> None:
    def wait(*args: object) -> None:
        time.sleep(0.5)
        raise TimeoutError

    network.setattr(socket, "create_connection", wait)
    network.setattr(_download, "PATIENCE", 0.05)
    started = time.perf_counter()
    assert not is_online("nowhere.test") and time.perf_counter() - started < 0.4


@pytest.mark.parametrize("title", [title for title in ABSENT if ABSENT[title][2]])
def test_a_download_that_fails_says_what_to_put_where(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(url: str, root: Any, *args: object, **options: object) -> None:
        Path(root).mkdir(parents=True, exist_ok=True)
        (Path(root) / "half.zip").touch()
        raise RuntimeError("no network")

    for module in ("cifar", "gtsrb", "imagenette", "utils"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", offline)
    loader, _, _, remedy = ABSENT[title]
    assert re.search(f"{title} is not to be had: no network. {remedy}", refusal(loader(folder=str(tmp_path / "new"))))
    assert not list((tmp_path / "new").iterdir()), "nothing is left of it"


ARCHIVES = {
    "GTSRB_Final_Training_Images.zip": ["GTSRB/Final_Training"],
    "GTSRB-Training_fixed.zip": ["GTSRB/Training"],
    "GTSRB_Final_Test_Images.zip": ["GTSRB/Final_Test"],
    "GTSRB_Final_Test_GT.zip": ["GT-final_test.csv"],
}
"""What is in each of GTSRB's archives."""


@pytest.mark.parametrize("edition", ["final", "competition"])
def test_only_what_is_absent_of_gtsrb_is_downloaded(
    edition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_gtsrb(tmp_path / "server", edition=edition).load()
    asked = []

    def download(url: str, root: Any = "", download_root: str = "", **options: object) -> None:
        asked.append(url.rpartition("/")[2])
        for part in ARCHIVES[asked[-1]]:
            target = Path(root or download_root, part)
            target.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "server/gtsrb" / part).rename(target)

    for module in ("gtsrb", "utils"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", download)
    dataset = Gtsrb(folder=str(tmp_path / "new"), edition=edition)  # type: ignore[arg-type]
    for part, same in zip(dataset.load(), whole, strict=True):
        assert np.array_equal(part.images, same.images) and np.array_equal(part.labels, same.labels)
    training = "GTSRB_Final_Training_Images.zip" if edition == "final" else "GTSRB-Training_fixed.zip"
    assert asked == [training, "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["gtsrb"]
    dataset.load()
    (tmp_path / "new/gtsrb/GT-final_test.csv").rename(tmp_path / "server/gtsrb/GT-final_test.csv")
    (tmp_path / "server/gtsrb/GTSRB/Final_Test/Images").mkdir(parents=True)
    dataset.load()
    assert asked[3:] == ["GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"]


def test_gtsrb_comes_from_where_torchvision_takes_it() -> None:
    source = Path(GTSRB.__init__.__code__.co_filename).read_text()
    for name in (gtsrb.ARCHIVES, "GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"):
        assert name in source


def test_planning_never_imports_torch(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    code = (
        "import sys\nfrom workflow_scripts.common import catalog\n"
        f"given = {{'cifar10': {{'folder': {str(tmp_path)!r}}}, 'parquet': {{'file': 'nowhere'}}, 'digits': {{}}, "
        "'tiny_imagenet': {'folder': 'nowhere'}, 'imagefolder': {'folder': 'nowhere'}}\n"
        "print([bool(catalog.make('datasets', name, fields).missing()) for name, fields in given.items()])\n"
        "made = [catalog.make('datasets', name, {}) for name in catalog.list_methods('datasets')]\n"
        "from workflow_scripts.attacks._user_files import find_missing\n"
        "print([m for m in ('torch', 'torchvision', 'pandas', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.splitlines() == ["[False, True, False, True, True]", "[]"]


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """A folder of twelve cats, six dogs and three emus, of several kinds and sizes."""
    for name, count in (("dog", 6), ("cat", 12), ("emu", 3)):
        for number in range(count):
            end = ("png", "jpg", "JPEG", "bmp")[number % 4]
            write_image(tmp_path / "animals" / name / f"{number:02}.{end}", 8 + number, 12, seed=100 * count + number)
    (tmp_path / "animals/cat/Thumbs.db").touch()
    (tmp_path / "animals/cat/.hidden.png").touch()
    (tmp_path / "animals/.cache").mkdir()
    (tmp_path / "animals/README.md").touch()
    return tmp_path / "animals"


def test_a_folder_of_class_folders_is_split_by_class(animals: Path) -> None:
    train, test = ImageFolder(folder=str(animals), size=8, test_share=1 / 3).load()
    assert train.format.classes == ("cat", "dog", "emu")
    assert (np.bincount(train.labels).tolist(), np.bincount(test.labels).tolist()) == ([8, 4, 2], [4, 2, 1])
    again, _ = ImageFolder(folder=str(animals), size=8, test_share=1 / 3).load()
    other, _ = ImageFolder(folder=str(animals), size=8, test_share=1 / 3, split_seed=1).load()
    assert np.array_equal(again.images, train.images) and not np.array_equal(other.images, train.images)
    rows = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in rows for image in test.images)


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation"])
def test_a_folder_with_a_split(animals: Path, name: str) -> None:
    write_image(animals.parent / name / "emu/0.png", 20, 20)
    write_image(animals.parent / name / "cat/0.png", 20, 20)
    write_image(animals.parent / "unlabelled/0.png")
    animals.rename(animals.parent / "train")
    train, test = ImageFolder(folder=str(animals.parent), size=8).load()
    assert (len(train), test.labels.tolist(), test.format.classes) == (21, [0, 2], ("cat", "dog", "emu"))
    if name == "val":
        write_image(animals.parent / "test/dog/0.png")
        assert ImageFolder(folder=str(animals.parent), size=8).load()[1].labels.tolist() == [1], "test before val"


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("bus", "train", "test"):
        for number in range(2):
            write_image(tmp_path / name / f"{number}.png", seed=number)
    train, test = ImageFolder(folder=str(tmp_path), test_share=0.5).load()
    assert train.format.classes == ("bus", "test", "train") and (len(train), len(test)) == (3, 3)


@pytest.mark.parametrize(
    ("add", "fields", "message"),
    [
        ("cat/new.png", {}, "cat/new.png is no image"),
        ("cat/new.heic", {}, "cat/new.heic is no image by its name, and would be left out; convert it"),
        ("cat/notes.txt", {}, "cat/notes.txt is no image by its name, and would be left out; convert it"),
        ("loose.png", {}, "loose.png lies in no folder of a class"),
        ("fox/desktop.ini", {}, "fox has no images; put some there, or take it away"),
        ("cat/young/0.png", {}, "cat is a folder of images, and has a folder young; it may have images only"),
        ("train/cat/0.png", {}, "has train/, but no folder test, val, valid, validation with class folders"),
        ("", {"test_share": 1e-4}, "test_share is 0.0001, less than one of its 21 images"),
        ("", {"test_share": 0.95}, "test_share is 0.95, which leaves class . without an image to train on"),
        ("", {"test_share": 1.0}, "which leaves class cat without an image to train on, of the 12 that it has"),
        ("", {"size": 0}, "cat/0..... is of .*: images of mixed sizes need a `size` in the dataset's entry"),
        ("", {"folder": "nowhere"}, "nowhere is no folder, or may not be read; put there"),
        ("", {"folder": __file__}, "test_datasets.py is no folder, or may not be read"),
    ],
)
def test_a_folder_that_is_not_used_as_it_is(animals: Path, add: str, fields: dict[str, Any], message: str) -> None:
    if add:
        (animals / add).parent.mkdir(parents=True, exist_ok=True)
        (animals / add).touch()
    text = refusal(ImageFolder(**{"folder": str(animals), "size": 8, **fields}))
    assert re.search(message.replace("class .", "class (cat|dog|emu)"), text)


@pytest.mark.parametrize("name", ["cat/0.png", "all.parquet"])
def test_a_pointer_of_git_lfs_is_said_to_be_one(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "cat/1.png")
    (tmp_path / name).write_text("version https://git-lfs.example/spec/v1\noid sha256:4d7a\nsize 12345\n")
    dataset = (
        ImageFolder(folder=str(tmp_path), test_share=0.5)
        if name == "cat/0.png"
        else ParquetFile(file=str(tmp_path / name))
    )
    assert f"{tmp_path / name} is a pointer of Git LFS, not the file itself; fetch it" in refusal(dataset)


def test_a_test_image_of_no_trained_class_is_said(tmp_path: Path) -> None:
    for name in ("train/cat/0.png", "train/dog/0.png", "test/fox/0.png"):
        write_image(tmp_path / name)
    text = refusal(ImageFolder(folder=str(tmp_path)))
    assert text.endswith("test/fox is of no class that there is to train on: cat, dog")
    (tmp_path / "empty").mkdir()
    assert "empty has no folders" in refusal(ImageFolder(folder=str(tmp_path / "empty")))


def test_a_folder_that_is_missing_is_said_before_it_is_loaded(animals: Path) -> None:
    assert ImageFolder(folder=str(animals)).missing() == ""
    text = ImageFolder(folder=str(animals / "none")).missing()
    assert text.startswith(f"{animals}/none is no folder") and "or train/ and test/ with such folders" in text


def test_preparing_a_folder_holds_the_pixels_twice_at_most(tmp_path: Path) -> None:
    write_image(tmp_path / "cat/0000.png", 40, 60)
    data = (tmp_path / "cat/0000.png").read_bytes()
    (tmp_path / "dog").mkdir()
    for number in range(1, 600):
        (tmp_path / f"{'cat' if number < 300 else 'dog'}/{number:04}.png").write_bytes(data)
    dataset = ImageFolder(folder=str(tmp_path), size=32, reserve=0.1)
    dataset.load()  # imports Pillow
    tracemalloc.start()
    train, test, reserved = dataset.prepare(Run("mine", 0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(train), len(test), len(reserved)) == (432, 120, 48)
    assert peak < 2.2 * 600 * 32 * 32 * 3


def test_several_broken_images_are_told_together_and_one_class_is_none(tmp_path: Path) -> None:
    for name in ("cat/a", "cat/b", "cat/c", "dog/a", "dog/b"):
        write_image(tmp_path / f"{name}.png", 8, 8)
    for name in ("cat/b", "dog/a"):
        (tmp_path / f"{name}.png").write_bytes(b"none")
    told = refusal(ImageFolder(folder=str(tmp_path)))
    assert "cat/b.png is no image" in told and "; " in told and "dog/a.png is no image" in told
    shutil.rmtree(tmp_path / "dog")
    (tmp_path / "cat/b.png").unlink()
    with pytest.raises(UserError, match="mine: its one class is 'cat'; a backdoor needs another"):
        ImageFolder(folder=str(tmp_path), test_share=0.5).prepare(Run("mine", 0))
