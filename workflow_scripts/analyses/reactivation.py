"""Whether the backdoor is gone or asleep: what a few poisoned images bring back."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.common import arrow
from workflow_scripts.common.fields import Count, Positive, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.evaluation.predictions import metrics_by_protocol, prediction_table
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loop import train

SCHEMA = pa.schema([("poisoned", pa.int64()), *((key, pa.float64()) for key in ("acc", "asr", "ra"))])


@dataclass(frozen=True)
class Reactivation(Analysis):
    """ACC, ASR and RA of the defended model, `poisoned` null, and for each of `counts` of a copy that was fine-tuned on
    so many images with the trigger, as the attacker published them, among `clean` unaltered training images (the
    question of Min et al., NeurIPS 2024, arXiv 2410.09838, and of Zhu et al., NeurIPS 2024, arXiv 2405.16134).

    At 0 nothing but clean images are learned. What a clean model learns of as many, the control `clean`, is what the
    images teach; what a defended one learns beyond that was asleep in it. epochs at lr, along a cosine, with the
    victim's recipe otherwise; every defense of a victim is shown the same images. counts: those of which the attacker
    has so many. No rows where nothing is poisoned.
    """

    counts: tuple[Whole, ...] = (0, 1, 2, 5, 10, 20, 50)
    clean: Count = 1000
    epochs: Count = 5
    lr: Positive = 0.01
    batch_size: Count = 128

    def __call__(self, defended: Model, poisoned_train: Images, test: Images, truth: Truth, run: Run) -> Measured:
        draw = run.numpy_rng("reactivation")
        payload, altered = (
            np.isin(poisoned_train.index, rows) for rows in (truth.altered[truth.roles == "payload"], truth.altered)
        )
        poisoned, untouched = (draw.permutation(np.flatnonzero(rows)) for rows in (payload, ~altered))
        if not len(poisoned):
            return arrow.to_table([], SCHEMA), {"skipped": "no image is poisoned"}
        rows = [{"poisoned": None, **measure(defended, test, truth, run)}]
        for count in (count for count in self.counts if count <= len(poisoned)):
            shown = poisoned_train[np.sort(np.concatenate([untouched[: self.clean], poisoned[:count]]))]
            model = self._fine_tune(defended, shown, run)
            rows.append({"poisoned": count, **measure(model, test, truth, run)})
        return arrow.to_table(rows, SCHEMA), {}

    def _fine_tune(self, model: Model, data: Images, run: Run) -> Model:
        """A copy, trained, as the model is asked first."""
        copied = copy.deepcopy(model)
        if copied.wrapper:
            copied.wrapper.ask(copied, copied.protocols[0])
            if copied.wrapper.rewrites:  # to ask it once more would undo the training
                copied.wrapper = None
        recipe = replace(model.recipe, epochs=self.epochs, lr=self.lr, batch_size=self.batch_size, schedule="cosine")
        train(copied, data, recipe, replace(run, rows=[], notes={}), phase="reactivation")
        return copied


def measure(model: Model, test: Images, truth: Truth, run: Run) -> dict[str, float]:
    """ACC, ASR and RA by the model's first protocol."""
    rates = metrics_by_protocol(prediction_table(model, test, truth, run))[0]
    return {key: rates[key] for key in ("acc", "asr", "ra")}
