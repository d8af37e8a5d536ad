"""What the comparisons of triggers share: the images, and a row of differences."""

import numpy as np

from workflow_scripts.common.run import Run
from workflow_scripts.datasets.parquet import ParquetFile

RUN = Run("cifar10_jpeg", 0)
HEADER = (
    "| | images | gray levels here, of 255 | largest difference | pixels that differ | by two or more |\n"
    "|---|---|---|---|---|---|"
)


def read_images(parquet: str, count: int) -> np.ndarray:
    """uint8 (count, 32, 32, 3): the first test images."""
    return ParquetFile(file=parquet).load()[1].images[:count]


def describe(name: str, clean: np.ndarray, here: np.ndarray, official: np.ndarray) -> str:
    """A row: how far the trigger moves an image, in root mean square, and how far the two are from each other."""
    gap = np.abs(here.astype(float) - official)
    moved = np.sqrt(((here.astype(float) - clean) ** 2).mean())
    shares = f"{100 * (gap > 0.5).mean():.2f} % | {100 * (gap > 1.5).mean():.2f} %"
    return f"| {name} | {len(here)} | {moved:.2f} | {gap.max():.2f} | {shares} |"
