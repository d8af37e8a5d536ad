"""A picture of each trigger."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common import image_files
from workflow_scripts.common.cells import Study
from workflow_scripts.common.fields import Count
from workflow_scripts.reporting.panels import finish, make_lines, panels


@dataclass(frozen=True)
class Triggers:
    """For each attack, at the study's first seed: clean and poisoned images, and their amplified difference.

    examples: images of each attack.
    """

    examples: Count = 3

    first_seed = True

    def __call__(self, study: Study, triggers: Sequence[Measured]) -> Figure:
        found: list[Measured] = []
        for table, about in triggers:  # the same pictures at several ratios or for several models are one line
            if len(table) and not any(table.equals(other) and _names(about) == _names(own) for other, own in found):
                found.append((table, about))
        shown, width = panels(found), 3 * self.examples
        figure, grid = make_lines(len(shown), width, (0.95 * width + 1.3, 1.12 * max(1, len(shown)) + 0.8))
        for axis in grid.flat:
            axis.axis("off")
        for line, (title, seeds) in zip(grid, shown.items(), strict=False):
            table, about = seeds[0]
            self._line(line, table, about)
            name = f"{title}\n{_measures(about)}"
            line[0].text(-0.12, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=9)
        return finish(figure, f"Triggers: {study.title}")

    def _line(self, axes: np.ndarray, table: pa.Table, about: dict[str, Any]) -> None:
        count = min(self.examples, len(table))
        clean, poisoned = (
            image_files.to_pixels(table[key].combine_chunks(), tuple(about["shape"]))[:count]
            for key in ("clean", "poisoned")
        )
        change = poisoned.astype(float) - clean
        gain = 127 / max(1.0, float(np.abs(change).max()))
        pictures = {
            "clean": clean,
            "poisoned": poisoned,
            f"difference ×{gain:.1f}": np.clip(128 + gain * change, 0, 255),
        }
        for block, (name, images) in enumerate(pictures.items()):
            for place, image in enumerate(images):
                axis = axes[block * self.examples + place]
                axis.imshow(image.astype(np.uint8).squeeze(), interpolation="nearest", cmap="gray", vmin=0, vmax=255)
            axes[block * self.examples + count // 2].set_title(name, fontsize=8)


def _measures(about: dict[str, Any]) -> str:
    """How much of the trigger is to be seen, a line for each measure."""
    if about["psnr"] is None:
        return "no change"
    return f"{about['psnr']:.1f} dB\nRMS {about['rms']:.1f}\nSSIM {about['ssim']:.3f}"


def _names(about: dict[str, Any]) -> tuple[str, str]:
    return about["dataset"], about["attack"]
