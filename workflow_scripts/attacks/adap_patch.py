"""Revisiting the Assumption of Latent Separability for Backdoor Defenses: Adaptive-Patch."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from workflow_scripts.attacks import Trigger, scale_length, to_uint8
from workflow_scripts.attacks._covers import AdaptivePoison
from workflow_scripts.common.fields import NonNegative
from workflow_scripts.common.run import Run

Place = tuple[int, int]
"""The rows and the columns between a patch and the edges: above and left of it, where negative below and right."""
CORNERS = {
    (0, 0): ("101", "010", "100"),
    (0, -1): ("101", "010", "001"),
    (-1, 0): ("100", "010", "101"),
    (-1, -1): ("001", "010", "101"),
}
"""White pixels on black, of 3x3, by the corner; -1 is flush with the lower or right edge, -2 a pixel away from it."""


class Overlay(NamedTuple):
    """picture: float32 (H, W, C), of 255; shown: bool (H, W, 1), where it is to be seen."""

    picture: np.ndarray
    shown: np.ndarray

    def lay_on(self, images: np.ndarray, opacity: float) -> np.ndarray:
        """uint8 (N, H, W, C) with this on them."""
        values = images.astype(np.float32)
        return to_uint8(values + opacity * self.shown * (self.picture - values))


@dataclass(frozen=True)
class AdaptivePatch(AdaptivePoison):
    """Four translucent patches, in training one of them on each image; at test time two at once, opaque (see
    `AdaptivePoison`). The paper's ratio is 0.003.

    together: at test time `corners` for a logo in both lower corners, in front of it a pattern in all four, as on
    CIFAR-10; `logos` for the two larger logos, as on GTSRB.

    Differences: the logos are drawn, seeded pixels of strong hues, and square, while the official one of 13x13 shows
    140 pixels; images get the four patches in turn, not in quarters of a list; rounded to whole gray levels, which the
    official code does not do. Sides and margins are given for 32 pixels and grow with the image, nearest pixels.
    """

    cover_ratio: NonNegative = 2.0
    together: Literal["corners", "logos"] = "corners"

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        if self.together == "logos":
            both = stack(large_logo(shape), middle_logo(shape))
        else:
            both = stack(small_logo(shape, (-1, 0)), small_logo(shape, (-1, -1)), corner_pattern(shape))
        return lambda images: both.lay_on(images, 1.0)

    def weaken(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width, channels = images.shape[1:]
        shape = height, width, channels
        overlays = small_logo(shape, (-1, -1)), large_logo(shape), corner_pattern(shape), middle_logo(shape)
        weak = np.empty_like(images)
        for turn, (overlay, opacity) in enumerate(zip(overlays, (0.5, 0.2, 0.5, 0.3), strict=True)):
            weak[turn::4] = overlay.lay_on(images[turn::4], opacity)
        return weak


def stack(lowest: Overlay, *others: Overlay) -> Overlay:
    """All in one, each in front of those before it."""
    for upper in others:
        picture = np.where(upper.shown, upper.picture, lowest.picture)
        lowest = Overlay(picture, lowest.shown | upper.shown)
    return lowest


def small_logo(shape: tuple[int, int, int], place: Place) -> Overlay:
    """5x5 pixels."""
    return put(draw_logo(5), shape, place)


def middle_logo(shape: tuple[int, int, int]) -> Overlay:
    """8x8 pixels, three away from the lower right corner."""
    return put(draw_logo(8), shape, (-4, -4))


def large_logo(shape: tuple[int, int, int]) -> Overlay:
    """13x13 pixels, one away from the upper right corner."""
    return put(draw_logo(13), shape, (1, -2))


def corner_pattern(shape: tuple[int, int, int]) -> Overlay:
    """3x3 pixels in each corner."""
    return stack(*(put(_read_pattern(lines), shape, place) for place, lines in CORNERS.items()))


def draw_logo(side: int) -> np.ndarray:
    """float32 (side, side, 3), of 255: each pixel a strong hue, the same ones for all datasets and seeds."""
    rng = np.random.default_rng(20230501 + side)
    values = np.zeros((side, side, 3))
    values[..., 1], values[..., 2] = rng.random((side, side)), 1
    return (255 * rng.permuted(values, axis=2)).astype(np.float32)


def put(patch: np.ndarray, shape: tuple[int, int, int], place: Place) -> Overlay:
    """A square patch for 32-pixel images, at this place of an image of this shape."""
    side = scale_length(shape, len(patch))
    near = (np.arange(side) * 2 + 1) * len(patch) // (2 * side)
    top, left = (_start(edge, side, length, shape) for edge, length in zip(place, shape, strict=False))
    picture, shown = np.zeros(shape, np.float32), np.zeros((*shape[:2], 1), bool)
    window = np.s_[top : top + side, left : left + side]
    picture[window] = patch[near][:, near, : shape[2]]
    shown[window] = True
    return Overlay(picture, shown)


def _start(edge: int, side: int, length: int, shape: tuple[int, int, int]) -> int:
    """The first row or column of a patch."""
    margin = edge if edge >= 0 else -1 - edge
    scaled = scale_length(shape, margin) if margin else 0
    return scaled if edge >= 0 else length - side - scaled


def _read_pattern(lines: tuple[str, ...]) -> np.ndarray:
    white = np.array([list(line) for line in lines]) == "1"
    return np.repeat(255 * white[..., None], 3, axis=2).astype(np.float32)
