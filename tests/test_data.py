"""Loaders on tiny files in their real layout, holdouts, and files that are not whole."""

import io
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from workflow_scripts.common import files
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images, stratified_order
from workflow_scripts.common.run import Run
from workflow_scripts.datasets import from_arrays
from workflow_scripts.datasets.cifar10 import Cifar10
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


def encoded(size: int = 8, form: str = "PNG", seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), form, lossless=True)
    return buffer.getvalue()


def write(path: Path, **changed: Any) -> ParquetFile:
    columns = {
        "split": ["train"] * 4 + ["test"] * 2,
        "label": [0, 1, 0, 1, 1, 0],
        "image": [encoded(seed=i) for i in range(6)],
    }
    pq.write_table(pa.table({**columns, **changed}), path)
    return ParquetFile(file=str(path))


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
        ({"image": [encoded()] * 5 + [encoded(9)]}, r"images of mixed sizes, 8x8 and 9x9 \(row 5\)"),
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


def test_cifar10_in_its_real_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)  # the sums are those of the whole archive
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list):
        batch = {"data": rng.integers(0, 256, (10, 3072), np.uint8), "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class{i}" for i in range(10)]}))
    train, test = Cifar10(folder=str(tmp_path)).load()
    assert train.images.shape == (50, 32, 32, 3) and len(test) == 10
    assert train.format.classes[3] == "class3" and train.format.std == (0.247, 0.243, 0.261)
    first = pickle.loads((folder / "data_batch_1").read_bytes())["data"][0]
    assert np.array_equal(train.images[0], first.reshape(3, 32, 32).transpose(1, 2, 0))  # channels come last


def test_cifar10_that_is_not_there_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **options: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(CIFAR10, "download", offline)
    with pytest.raises(UserError, match=r"no network. Unpack cifar-10-python.tar.gz .*data_batch_1 is there"):
        Cifar10(folder=str(tmp_path)).load()


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


def test_overwritten_replaces_and_appends(digits: tuple[Images, Images]) -> None:
    train = digits[0][:5]
    changed = Images(np.zeros((2, 16, 16, 3), np.uint8), np.array([9, 9]), np.array([3, 77]), train.format)
    published = train.replace_rows(changed)
    assert published.index.tolist() == [0, 1, 2, 3, 4, 77] and published.labels.tolist()[3:] == [9, train.labels[4], 9]
    assert (published.images[[3, 5]] == 0).all() and np.array_equal(published.images[:3], train.images[:3])
    assert train.labels[3] != 9 or train.images[3].any(), "the original was changed"


def test_images_survive_the_disk(tmp_path: Path, digits: tuple[Images, Images]) -> None:
    path = tmp_path / "images.parquet"
    files.write_images(path, digits[0], {"fingerprint": "f", "params": {"a": 1}})
    back, about = files.read_images(path)
    assert np.array_equal(back.images, digits[0].images) and np.array_equal(back.labels, digits[0].labels)
    assert back.format == digits[0].format and about["params"] == {"a": 1}


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, 1)
    with pytest.raises(RuntimeError), files.writing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == 1 and [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("cut", [0, 10, -10])
def test_truncated_files_are_said(tmp_path: Path, cut: int, digits: tuple[Images, Images], untrained: Any) -> None:
    images, network = tmp_path / "a.parquet", tmp_path / "a.safetensors"
    files.write_images(images, digits[1], {})
    weights.save(network, untrained(), {})
    for path in (images, network):
        path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match="not a readable Parquet file .* remove it and run again"):
        files.read_images(images)
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
    with pytest.raises(UserError, match="another architecture than its metadata says: .*Missing key"):
        weights.load(path, "preact_small", vars(model.architecture), torch.device("cpu"))
