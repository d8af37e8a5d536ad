"""Refool's reflections beside BackdoorBench's, of the same scenes and from the same draws.

    python -m benchmarks.attacks.refool BACKDOORBENCH PARQUET

BACKDOORBENCH is a checkout of github.com/SCLBD/BackdoorBench with its reflections, PARQUET a file of CIFAR-10's images.
Needs OpenCV, which Backstop does not.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
from PIL import Image

from benchmarks.attacks._images import HEADER, RUN, describe, read_images
from benchmarks.compare_tsbd import executed
from workflow_scripts.attacks import to_uint8
from workflow_scripts.attacks.refool import GAMMA, blur, double, draw_scene

COUNT = 200
SHARES = {"BackdoorBench's share of the image, 0.4": 0.4, "the paper's, here 0.75": 0.75}
MISSING = (
    *("attack", "attack.badnet", "utils", "utils.bd_dataset", "utils.bd_dataset_v2", "utils.aggregate_block"),
    *("utils.aggregate_block.dataset_and_transform_generate", "utils.aggregate_block.bd_attack_generate"),
    "utils.backdoor_generate_poison_index",
)
Mix = Callable[[np.ndarray, np.ndarray, float, Any], np.ndarray]


class Recorded:
    """A generator that remembers what it drew."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.drawn: list[Any] = []

    def integers(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        self.drawn.append(self.rng.integers(low, high, size))
        return self.drawn[-1]

    def uniform(self, low: float, high: float) -> float:
        self.drawn.append(self.rng.uniform(low, high))
        return float(self.drawn[-1])


def main(checkout: str, parquet: str) -> None:
    """Print the comparison as Markdown."""
    sys.modules.update({name: MagicMock() for name in MISSING})
    official = executed(Path(checkout) / "attack" / "refool.py").blend_images
    images = read_images(parquet, COUNT)
    folder = Path(checkout) / "resource" / "refool" / "Refool-SelectedReflectionImages" / "selected_out-images"
    scenes = [np.asarray(Image.open(path).convert("RGB").resize((32, 32), 2)) for path in sorted(folder.glob("*.jpg"))]
    print(HEADER)
    for label, share in SHARES.items():
        for mix in (double, blur):
            pairs = [mixed(mix, official, image, scenes, share) for image in images]
            here, there = (np.stack(side) for side in zip(*pairs, strict=True))
            print(describe(f"{mix.__name__}, {label}", images, here, there))
    drawn = [draw_scene(number, images.shape[1:]) for number in range(200)]
    print(
        "\n| scenes | number | mean level | std between pixels | between neighbors | of saturation |\n"
        + "|---" * 6
        + "|"
    )
    print(statistics("BackdoorBench's, downloaded", scenes) + "\n" + statistics("here, drawn", drawn))


def mixed(mix: Mix, official: Any, image: np.ndarray, scenes: list[np.ndarray], share: float) -> list[np.ndarray]:
    """One image with a reflection, here and there."""
    rng = Recorded(RUN.numpy_rng(str(image.sum())))
    scene = scenes[rng.integers(len(scenes))]
    light, behind = ((values / np.float32(255)) ** GAMMA for values in (image, scene))
    here = to_uint8(255 * mix(light, behind, share, rng).clip(0, 1) ** (1 / GAMMA))
    fixed: dict[str, Any] = {"max_image_size": 32, "alpha_t": share, "ghost_rate": float(mix is double)}
    dim = 0.0
    if mix is double:
        _, shifts, side, part = rng.drawn
        fixed |= {"offset": tuple(shifts.tolist()), "ghost_alpha": abs(side - part)}
    else:
        _, sigma, dim = rng.drawn
        fixed["sigma"] = sigma
    gone = patch.object(np.lib, "pad", np.pad, create=True)  # NumPy 2 has no such name
    with gone, patch.object(np.random, "random", lambda: 10 * dim):
        return [here, official(image, scene, **fixed)[0]]


def statistics(name: str, scenes: list[np.ndarray]) -> str:
    """A row of what scenes look like."""
    values = np.stack(scenes).astype(float)
    saturation = values.max(-1) - values.min(-1)
    steps = np.abs(np.diff(values, axis=2)).mean()
    return (
        f"| {name} | {len(scenes)} | {values.mean():.0f} | {values.std((1, 2)).mean():.0f} | {steps:.0f} "
        f"| {saturation.mean():.0f} |"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
