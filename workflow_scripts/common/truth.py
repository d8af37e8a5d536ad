"""The attacker's secret, `truth.parquet`: which training images were altered, and the triggered test images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.common import files
from workflow_scripts.common.images import ImageFormat, Images

if TYPE_CHECKING:
    from workflow_scripts.attacks import Attack, Planted


@dataclass(frozen=True)
class Truth:
    """`triggered`: the test images that ASR counts, with the attacker's labels; `original_labels`: their true ones.

    `roles`, `altered` and `altered_labels` (role, index, true label) speak of the altered training images. `psnr` (dB)
    and `rms` (0-255) are means over the triggered test images, None where there are none.
    """

    triggered: Images
    original_labels: np.ndarray
    roles: np.ndarray
    altered: np.ndarray
    altered_labels: np.ndarray
    psnr: float | None
    rms: float | None


def publish(planted: "Planted", attack: "Attack", test: Images, output: Any, about: dict[str, Any]) -> None:
    """Write what the attacker publishes (`output.poison`) and what stays secret (`output.truth`)."""
    files.write_images(output.poison, planted.changed, about)
    rows, labels = attack.counted(test.labels, len(test.format.classes))
    clean = test[rows]
    images = planted.trigger(clean.images)
    secret = pa.concat_tables([_altered(planted), _triggered(images, clean, labels)], promote_options="default")
    files.write_table(output.truth, secret, {**about, **test.format.as_json(), **loudness(clean.images, images)})


def _altered(planted: "Planted") -> pa.Table:
    return pa.table(
        {
            "split": pa.array(["train"] * len(planted.changed), pa.string()),
            "index": pa.array(planted.changed.index),
            "role": pa.array(planted.roles.tolist(), pa.string()),
            "label": pa.array(planted.changed.labels),
            "original_label": pa.array(planted.original_labels),
        }
    )


def _triggered(images: np.ndarray, clean: Images, labels: np.ndarray) -> pa.Table:
    return files.images_table(
        images,
        split=pa.array(["test"] * len(images), pa.string()),
        index=pa.array(clean.index),
        label=pa.array(labels),
        original_label=pa.array(clean.labels),
    )


def loudness(clean: np.ndarray, triggered: np.ndarray) -> dict[str, float | None]:
    """PSNR (dB, peak 255) and RMS (0-255) of the change, means over the images; unchanged images have no PSNR."""
    error = np.square(triggered.astype(np.float64) - clean).mean(axis=(1, 2, 3))
    changed = error[error > 0]
    return {
        "trigger_psnr": float((10 * np.log10(255**2 / changed)).mean()) if len(changed) else None,
        "trigger_rms": float(np.sqrt(error).mean()) if len(error) else None,
    }


def read(path: str) -> Truth:
    """The attacker's secret. Only *evaluate* and *analyze* may call this."""
    table, about = files.read_table(path)
    form = ImageFormat.from_json(about)
    train = table.filter(pc.equal(table["split"], "train"))
    test = table.filter(pc.equal(table["split"], "test"))
    image = test["image"].combine_chunks() if len(test) else pa.array([], test.schema.field("image").type)
    images = files.pixels(image, form.shape) if len(test) else np.empty((0, *form.shape), np.uint8)
    return Truth(
        triggered=Images(images, test["label"].to_numpy(), test["index"].to_numpy(), form),
        original_labels=test["original_label"].to_numpy(),
        roles=np.array(train["role"].to_pylist(), str),
        altered=train["index"].to_numpy(),
        altered_labels=train["original_label"].to_numpy(),
        psnr=about["trigger_psnr"],
        rms=about["trigger_rms"],
    )
