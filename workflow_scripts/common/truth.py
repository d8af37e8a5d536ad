"""The attacker's secret, `truth.parquet`: which training images were altered, and the triggered test images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.common import arrow, files, image_files
from workflow_scripts.common.images import ImageFormat, Images, check_labels
from workflow_scripts.common.visibility import trigger_visibility


@dataclass(frozen=True)
class Truth:
    """`triggered`: the test images that ASR counts, with the attacker's labels; `original_labels`: their true ones.

    `roles`, `altered` and `altered_labels` (role, index, true label) speak of the altered training images. `psnr`
    (dB), `rms` (0-255) and `ssim` are means over the triggered test images, None where there are none.
    """

    triggered: Images
    original_labels: np.ndarray
    roles: np.ndarray
    altered: np.ndarray
    altered_labels: np.ndarray
    psnr: float | None
    rms: float | None
    ssim: float | None

    def originals(self, test: Images) -> Images:
        """The triggered images without their trigger, in the same order, of the untouched test images."""
        return test[np.searchsorted(test.index, self.triggered.index)]


def write(
    path: str,
    altered: Images,
    roles: np.ndarray,
    labels: np.ndarray,
    clean: Images,
    triggered: Images,
    about: Mapping[str, Any],
) -> None:
    """The attacker's secret: of the `altered` training images their roles and true labels; of the test images that ASR
    counts the `clean` ones and the `triggered` ones, which have the attacker's labels."""
    train = pa.table(
        {
            "split": arrow.to_column(["train"] * len(altered)),
            "index": arrow.to_column(altered.index),
            "role": arrow.to_column(roles.tolist()),
            "label": arrow.to_column(altered.labels),
            "original_label": arrow.to_column(labels),
        }
    )
    rows = image_files.images_to_table(
        triggered.images,
        split=arrow.to_column(["test"] * len(triggered)),
        index=arrow.to_column(triggered.index),
        label=arrow.to_column(triggered.labels),
        original_label=arrow.to_column(clean.labels),
    )
    secret = pa.concat_tables([train, rows], promote_options="default")
    visibility = trigger_visibility(clean.images, triggered.images)
    arrow.write_table(path, secret, {**about, **clean.format.as_json(), **visibility})


def read(path: str) -> Truth:
    """The attacker's secret. Only *evaluate* and *analyze* may call this."""
    with files.reading_artifact(path, "Parquet"):
        about = files.read_about(path)
        form = ImageFormat.from_json(about)
        table, _ = arrow.read_table(path, _schema(form.shape))
        return _parse(table, about, form)


def _schema(shape: tuple[int, int, int]) -> pa.Schema:
    """Its columns, for triggered images (H, W, C); training images have no image, test images no role."""
    numbers = dict.fromkeys(("index", "label", "original_label"), pa.int64())
    kinds = {"split": pa.string(), "role": pa.string(), "image": pa.binary(math.prod(shape))}
    return arrow.require(pa.schema({**kinds, **numbers}), "split", *numbers)


def _parse(table: pa.Table, about: Mapping[str, Any], form: ImageFormat) -> Truth:
    splits = table["split"].to_pylist()
    count = splits.count("train")
    train, test = table.slice(0, count), table.slice(count)
    if splits != ["train"] * len(train) + ["test"] * len(test):
        raise ValueError("its rows are not those of training images, and then those of test images")
    if train["role"].null_count or test["image"].null_count:
        raise ValueError("a training image has no role in it, or a test image no pixels")
    image = test["image"].combine_chunks()
    images = image_files.to_pixels(image, form.shape) if len(test) else np.empty((0, *form.shape), np.uint8)
    index, label, original = (
        arrow.to_numpy(test[key]).astype(np.int64) for key in ("index", "label", "original_label")
    )
    before = arrow.to_numpy(train["original_label"]).astype(np.int64)
    check_labels(np.concatenate([label, original, before]), len(form.classes), "its labels")
    return Truth(
        triggered=Images(images, label, index, form),
        original_labels=original,
        roles=np.array(train["role"].to_pylist(), str),
        altered=arrow.to_numpy(train["index"]).astype(np.int64),
        altered_labels=before,
        psnr=_read_number(about, "trigger_psnr"),
        rms=_read_number(about, "trigger_rms"),
        ssim=_read_number(about, "trigger_ssim"),
    )


def _read_number(about: Mapping[str, Any], key: str) -> float | None:
    if about[key] is not None and type(about[key]) not in (int, float):
        raise ValueError(f"its metadata has the {key} {about[key]!r:.60}; it must be a number")
    return about[key]  # type: ignore[no-any-return]
