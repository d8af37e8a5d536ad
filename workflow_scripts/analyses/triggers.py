"""Examples of triggered images beside the clean ones."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.common import arrow, image_files
from workflow_scripts.common.fields import Count
from workflow_scripts.common.images import Images
from workflow_scripts.common.truth import Truth


@dataclass(frozen=True)
class Triggers(Analysis):
    """The first triggered test image of each class, as `clean` and `poisoned`, with the trigger's PSNR (dB),
    RMS and SSIM.

    examples: how many images at most.
    """

    examples: Count = 10

    def __call__(self, test: Images, truth: Truth) -> Measured:
        _, first = np.unique(truth.original_labels, return_index=True)
        shown = first[: self.examples]
        poisoned, clean = truth.triggered[shown], truth.originals(test)[shown]
        table = pa.table(
            {
                "index": arrow.to_column(poisoned.index),
                "label": arrow.to_column(clean.labels),
                "target": arrow.to_column(poisoned.labels),
                "clean": image_files.images_to_table(clean.images)["image"],
                "poisoned": image_files.images_to_table(poisoned.images)["image"],
            }
        )
        visible = {"psnr": truth.psnr, "rms": truth.rms, "ssim": truth.ssim}
        return table, {**visible, **test.format.as_json()}
