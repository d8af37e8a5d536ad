"""Adaptive-Patch beside backdoor-toolbox, which is by its authors: the same images, their pictures and ours.

    python -m benchmarks.attacks.adap_patch TOOLBOX PARQUET

TOOLBOX is a checkout of github.com/vtu81/backdoor-toolbox, PARQUET a file of CIFAR-10's images.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from PIL import Image

from benchmarks.attacks._images import HEADER, RUN, describe, read_images
from benchmarks.compare_tsbd import executed
from workflow_scripts.attacks.adap_patch import (
    AdaptivePatch,
    Overlay,
    corner_pattern,
    large_logo,
    middle_logo,
    small_logo,
    stack,
)

COUNT = 400
SHAPE = (32, 32, 3)
HERE = {
    "phoenix_corner_32.png": (small_logo(SHAPE, (-1, -1)), 0.5),
    "firefox_corner_32.png": (large_logo(SHAPE), 0.2),
    "badnet_patch4_32.png": (corner_pattern(SHAPE), 0.5),
    "trojan_square_32.png": (middle_logo(SHAPE), 0.3),
}
TEST = {
    "phoenix_corner2_32.png": stack(small_logo(SHAPE, (-1, 0)), small_logo(SHAPE, (-1, -1))),
    "badnet_patch4_32.png": HERE["badnet_patch4_32.png"][0],
}


def main(checkout: str, parquet: str) -> None:
    """Print the comparison as Markdown."""
    folder = Path(checkout) / "triggers"
    sys.modules["config"] = MagicMock(triggers_dir=str(folder))
    module = executed(Path(checkout) / "poison_tool_box" / "adaptive_patch.py")
    images = read_images(parquet, COUNT)
    pictures = {name: read_overlay(folder, name) for name in HERE | TEST}
    print("| picture | pixels there | here | both | largest difference of its pixels |\n|---|---|---|---|---|")
    for name, picture in pictures.items():
        here = TEST[name] if name in TEST else HERE[name][0]
        both = here.shown & picture.shown
        gap = np.abs(here.picture - picture.picture)[both[..., 0]].max()
        print(f"| `{name}` | {picture.shown.sum()} | {here.shown.sum()} | {both.sum()} | {gap:.0f} |")
    print("\n" + HEADER)
    vars(module)["print"] = lambda *values: None
    with TemporaryDirectory() as made, patch.object(torch.Tensor, "cuda", lambda tensor: tensor):
        opacities = [opacity for _, opacity in HERE.values()]
        data = [(to_tensor(image), 1) for image in images]
        generator = module.poison_generator(32, data, 0.5, made, list(HERE), opacities, cover_rate=0.5)
        published, payload, cover, labels = generator.generate_poisoned_training_set()
        there = to_levels(published)
        for rows, role in ((payload, "payload"), (cover, "covers")):
            print(describe(f"{role}, their pictures", images[rows], lay(images[rows], pictures), there[rows]))
        same = torch.nn.Identity()
        transform = module.poison_transform(32, list(TEST), [1, 1], denormalizer=same, normalizer=same)
        there = to_levels(transform.transform(torch.stack([image for image, _ in data]), labels, same, same)[0])
    both = stack(*(pictures[name] for name in TEST))
    print(describe("test time, their pictures", images, both.lay_on(images, 1.0), there))
    print(describe("test time, our pictures", images, AdaptivePatch().make_trigger(SHAPE, RUN)(images), there))


def lay(images: np.ndarray, pictures: dict[str, Overlay]) -> np.ndarray:
    """uint8: the four pictures on four quarters of the images, as the official code has it."""
    quarters = np.array_split(images, 4)
    laid = [pictures[name].lay_on(part, HERE[name][1]) for name, part in zip(HERE, quarters, strict=True)]
    return np.concatenate(laid)


def read_overlay(folder: Path, name: str) -> Overlay:
    """A picture of theirs; where it has no mask, its black pixels are not shown."""
    picture = np.asarray(Image.open(folder / name).convert("RGB")).astype(np.float32)
    mask = folder / f"mask_{name}"
    covered = np.asarray(Image.open(mask).convert("RGB")) if mask.exists() else picture
    return Overlay(picture, np.asarray(covered.max(-1, keepdims=True) > 0))


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """float32 (C, H, W), of [0, 1]."""
    return torch.tensor(image).permute(2, 0, 1) / 255


def to_levels(values: Any) -> np.ndarray:
    """float (N, H, W, C), of 255."""
    return (255 * values).permute(0, 2, 3, 1).numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
