"""Labeled images in memory, as every method is handed them."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workflow_scripts.common.errors import UserError


@dataclass(frozen=True)
class ImageFormat:
    """What all images of a dataset share: shape (H, W, C), class names, mean and std per channel, of [0, 1]."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """The four, as they stand in the metadata of a file."""
        return {key: list(getattr(self, key)) for key in ("shape", "classes", "mean", "std")}

    @classmethod
    def from_json(cls, about: dict[str, Any]) -> "ImageFormat":
        """The inverse of `as_json`; other keys are ignored. ValueError if it is no format of images."""
        if missing := [key for key in ("shape", "classes", "mean", "std") if not isinstance(about.get(key), list)]:
            raise ValueError(f"no images of this pipeline: its metadata has no {missing[0]}")
        shape, classes, mean, std = (about[key] for key in ("shape", "classes", "mean", "std"))
        lengths = [length for length in shape if type(length) is int and length > 0]
        if not (len(lengths) == len(shape) == 3 and all(isinstance(name, str) for name in classes)):
            raise ValueError(f"its metadata is of images of shape {shape!r:.60} and classes {classes!r:.60}")
        numbers = [value for value in (*mean, *std) if type(value) in (int, float) and math.isfinite(value)]
        if not (len(mean) == len(std) == len(numbers) / 2 == shape[2] and min(std) > 0):
            raise ValueError(f"its metadata has mean {mean!r:.60} and std {std!r:.60} for {shape[2]} channels")
        return cls((shape[0], shape[1], shape[2]), tuple(classes), tuple(mean), tuple(std))


@dataclass(frozen=True)
class Images:
    """`images` uint8 (N, H, W, C), `labels` int64 (N,), `index` int64 (N,): the place in the dataset."""

    images: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    format: ImageFormat

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: Any) -> "Images":
        """The chosen rows: a slice, a mask or positions."""
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], index=self.index[chosen])

    def split(self, share: float = 0.8) -> tuple["Images", "Images"]:
        """The first `share` and the rest, at least one image each; of a single image both are that. Of a holdout both
        are class-stratified, for all its prefixes are."""
        cut = min(round(share * len(self)), len(self) - 1)
        return self[: max(1, cut)], self[cut:]

    def replace_rows(self, changed: "Images") -> "Images":
        """These images with the rows of `changed` in place of those of the same index, the others appended."""
        position = {int(index): row for row, index in enumerate(self.index)}
        inside = np.array([int(index) in position for index in changed.index], bool)
        rows = np.array([position[int(index)] for index in changed.index[inside]], np.int64)
        images, labels = self.images.copy(), self.labels.copy()
        images[rows], labels[rows] = changed.images[inside], changed.labels[inside]
        added = changed[~inside]
        return replace(
            self,
            images=np.concatenate([images, added.images]),
            labels=np.concatenate([labels, added.labels]),
            index=np.concatenate([self.index, added.index]),
        )


@dataclass(frozen=True)
class Features(Images):
    """Images as a frozen extractor sees them: `images` is float32 (N, D)."""


def count_holdout(size: float, total: int) -> int:
    """How many images a `holdout_size` asks for, of so many training images."""
    return round(size * total) if size <= 1 else int(size)


def check_holdout(size: float, count: int, there: int, who: str, dataset: str) -> None:
    """UserError, which begins with `who`, if these are none, or more than there are for defenders."""
    if not 1 <= count <= there:
        raise UserError(
            f"{who} holdout_size {size:g} asks for {count} images of {dataset}; it may ask for 1 to {there}, or for "
            "more with a larger `holdout`, or `reserve` where there is one, in the dataset's entry of config.yaml"
        )


def format_bound(ratio: float) -> str:
    """The largest ratio that may be asked for, rounded down to four digits: one that may be."""
    return f"{math.floor(ratio * 1e4 + 1e-9) / 1e4:g}"


def stratified_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order of positions whose every prefix has the classes in their overall proportion, within an image."""
    key = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        key[rng.permutation(rows)] = (np.arange(len(rows)) + rng.random(len(rows))) / len(rows)
    return np.argsort(key, kind="stable")


def check_labels(labels: np.ndarray, classes: int, where: str) -> None:
    """UserError if a label is not one of 0 … classes - 1."""
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise UserError(f"{where}: label {wrong[0]} is out of range; there are the classes 0 to {classes - 1}")
