"""Data sets of encoded images: each is decoded, brought to one size and put at its place, one at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workflow_scripts.common import files
from workflow_scripts.common.decoding import Background, decode
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.progress import report
from workflow_scripts.datasets import Dataset, from_arrays

if TYPE_CHECKING:
    from PIL.Image import Image

Fit = Literal["crop", "whole"]
Channels = Literal["rgb", "gray", "auto"]
Sample = tuple[Path, int]
"""The file of an image, and its label."""
TOLD = 5
"""Images that cannot be decoded are told together, so many of them."""
POINTER = b"version https://git-lfs"
"""How the text begins that a clone has in place of a file which Git LFS keeps, as long as that is not fetched."""


@dataclass(frozen=True)
class Pictures(Dataset):
    """size: pixels of a side to which images are resized, bilinear and antialiased, as Pillow and torchvision do it; 0
    for images that are all of one size, which are taken as they are. fit: `crop` resizes the shorter side and cuts the
    middle out of the longer one (torchvision's Resize and CenterCrop); `whole` resizes both sides, whatever their
    ratio.
    channels: `rgb` shows gray images as RGB; `gray` is one channel, of colors their luma (ITU-R BT.601, Pillow's L);
    `auto` is one channel where every image is gray, pixel by pixel, otherwise RGB.
    background: what shows through transparent pixels. Black is also what random crops see outside of an image.
    """

    size: Whole = 0
    fit: Fit = "crop"
    channels: Channels = "rgb"
    background: Background = "black"

    def read_files(
        self, train: Sequence[Sample], test: Sequence[Sample], classes: Sequence[str]
    ) -> tuple[Images, Images]:
        """Training and test images of these files. UserError names a file that is no image, or of another size."""
        samples = [*train, *test]
        cells = ((str(path), read_bytes(path)) for path, _ in samples)
        images = self.gather(cells, range(len(samples)))
        labels, cut = np.array([label for _, label in samples], np.int64), len(train)
        return from_arrays((images[:cut], labels[:cut]), (images[cut:], labels[cut:]), classes)

    def gather(self, cells: Iterable[tuple[str, Any]], places: Sequence[int] | np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, C): each cell, of (where it is from, the encoded image), at its place of 0 … N - 1. UserError
        if one cannot be decoded, or if they are not of one size.

        Nothing is held but these pixels and one image as it was stored; where a color image follows gray ones in
        `auto`, for a moment a third more.
        """
        images: np.ndarray | None = None
        faults: list[str] = []
        if self.size:  # before the first one is resized, which may take all that the machine has
            _allocate(len(places), (self.size, self.size), "size")
        for place, (where, cell) in report(zip(places, cells, strict=True), "image", len(places)):
            try:
                pixels = self._decode(cell)
            except UserError as error:
                faults.append(f"{where} {error}")
                if len(faults) == TOLD:
                    break
                continue
            if images is None:
                images = _allocate(len(places), pixels.shape, where)
            if pixels.shape[:2] != images.shape[1:3]:
                sizes = [f"{width}x{height}" for height, width in (pixels.shape[:2], images.shape[1:3])]
                raise UserError(
                    f"{where} is of {sizes[0]} pixels, those before it of {sizes[1]}: images of mixed sizes need a "
                    "`size` in the dataset's entry of config.yaml, to which all are resized"
                )
            if pixels.shape[2] > images.shape[3]:
                grown = _allocate(len(places), pixels.shape, where)
                grown[:] = images
                images = grown
            images[place] = pixels  # gray ones into all channels
        if faults:
            raise UserError("; ".join(faults) + ("; there may be more" if len(faults) == TOLD else ""))
        return images if images is not None else np.empty((0, 1, 1, 3), np.uint8)

    def _decode(self, cell: Any) -> np.ndarray:
        """uint8 (H, W, C) of an encoded image, at its final size; C is 1 for gray in `auto`."""
        image = decode(cell, self.background)
        image = image.convert("L") if self.channels == "gray" else image
        pixels = np.asarray(_resize(image, self.size, self.fit) if self.size else image)
        if self.channels == "auto" and pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        planes = pixels if pixels.ndim == 3 else pixels[..., None]
        return np.broadcast_to(planes, (*planes.shape[:2], 3)) if self.channels == "rgb" else planes


def standardize(parts: tuple[Images, Images], mean: Sequence[float], std: Sequence[float]) -> tuple[Images, Images]:
    """The same images with the mean and the std, of [0, 1], that the literature takes off; one channel keeps its own
    where those are of three."""
    train, test = parts
    if train.format.shape[2] != len(mean):
        return parts
    form = replace(train.format, mean=tuple(mean), std=tuple(std))
    return replace(train, format=form), replace(test, format=form)


def read_bytes(path: Path) -> bytes:
    """What a file of an image holds. UserError if it cannot be read, or is not there but for a pointer to it."""
    with files.reading(path, "image"):
        data = path.read_bytes()
    refuse_pointer(path, data)
    return data


def refuse_pointer(path: Path, data: bytes) -> None:
    """UserError if a file that begins with these bytes is what a clone has in place of it."""
    if data.startswith(POINTER):
        raise UserError(
            f"{path} is a pointer of Git LFS, not the file itself; fetch it, by `git lfs pull` in its clone"
        )


def _resize(image: "Image", size: int, fit: Fit) -> "Image":
    """The image, gray or RGB, with sides of `size` pixels; unchanged where it has them."""
    from PIL import Image

    if image.size == (size, size):
        return image
    width, height = image.size
    short = min(width, height)
    scaled = (size, size) if fit == "whole" else (int(size * width / short), int(size * height / short))
    large = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in scaled)
    return large.crop((left, top, left + size, top + size))


def _allocate(count: int, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Room for so many images, uint8. UserError if the machine has none."""
    try:
        return np.empty((count, *shape), np.uint8)
    except (MemoryError, ValueError):
        pixels = f"{shape[1]}x{shape[0]}"
        raise UserError(f"{where}: {count} images of {pixels} do not fit into memory; give a smaller `size`") from None
