"""CTRL's trigger beside BackdoorBench's, which is the authors' own.

    python -m benchmarks.attacks.ctrl BACKDOORBENCH PARQUET

BACKDOORBENCH is a checkout of github.com/SCLBD/BackdoorBench, PARQUET a file of CIFAR-10's images. Needs OpenCV and
kornia, which Backstop does not.
"""

import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch

from benchmarks.attacks._images import HEADER, RUN, describe, read_images
from benchmarks.compare_tsbd import executed
from workflow_scripts.attacks.ctrl import Ctrl

COUNT = 200
SIZES = (16, 32, 64)


def main(checkout: str, parquet: str) -> None:
    """Print the comparison as Markdown."""
    sys.modules.update({name: MagicMock() for name in ("pytorch_wavelets",)})
    module = executed(Path(checkout) / "utils" / "bd_img_transform" / "ctrl.py")
    print(HEADER)
    for size in SIZES:
        images = resize(read_images(parquet, COUNT), size)
        here = Ctrl().make_trigger((size, size, 3), RUN)(images)
        window = min(32, size)
        agent = module.PoisonFre(None, size, [1, 2], window, [window // 2 - 1, window - 1], False, True)
        values = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        magnitude = 100 * window / 32
        cast = agent.Poison_Frequency_Diff(values, None, magnitude)[0]
        print(describe(f"{size} pixels", images, here, to_levels(cast)))
        inside = np.minimum(here, 255 - here).min(-1, keepdims=True) > 0
        kept = [np.where(inside, side, 0) for side in (images, here, to_levels(cast))]
        wrapped = Ctrl(overflow="wrap").make_trigger((size, size, 3), RUN)(images)
        print(describe(f"{size} pixels, `overflow: wrap`", images, wrapped, to_levels(cast)))
        print(describe(f"{size} pixels, where no value leaves 0 to 255", *kept))


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 (N, size, size, 3): nearest pixels."""
    places = np.arange(size) * 32 // size
    return images[:, places][:, :, places]


def to_levels(values: torch.Tensor) -> np.ndarray:
    """float (N, H, W, 3) of 255."""
    return (255 * values).permute(0, 2, 3, 1).numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
