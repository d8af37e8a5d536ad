"""What a defense is: a frozen dataclass whose call is handed what its signature names, and returns the defended model.

The signature is the threat model. Controls (`control = True`) are no defenses: they show what a number is worth.
"""

from dataclasses import dataclass, replace
from typing import Any

from workflow_scripts.common.fields import Count, Positive, Size, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loop import train


class Defense:
    """`model.safetensors` is what the call returns; what it logs goes beside it.

    needs: what the network must have, so that a study which asks otherwise is refused before the run: `("stages",)`,
    or, of one value of a field, `("estimator~head: an extractor",)`.
    stands_for: of a cell whose model exists already, the name under which it is kept: *evaluate* takes that one itself.
    """

    control = False
    needs = ()
    stands_for = ""
    silences = "units"
    """What it sets to 0 of a unit that it prunes, so that others can do the same: weights and shift (`units`), all but
    the shift (`scales`), or also the scale of a normalization that sees the filter alone (`filters`)."""

    @property
    def suspicious(self) -> str:
        """Which end of the logged scores is suspected, `high` or `low`; nothing where no units are scored."""
        return ""

    @property
    def compare_by(self) -> str:
        """How its scores of units are compared between layers: as they stand (`score`), by their distance from the
        layer's mean in its standard deviations (`deviation`), or by their rank within the layer (`rank`)."""
        return "score"


@dataclass(frozen=True)
class HoldoutDefense(Defense):
    """A defense that is given clean images.

    holdout_size: a share of the number of training images, or a number of images above 1.
    """

    holdout_size: Size = 0.05


@dataclass(frozen=True)
class FineTuningDefense(HoldoutDefense):
    """A defense that trains on the holdout: the victim's recipe but for these fields, and a cosine schedule."""

    epochs: Whole = 100
    lr: Positive = 0.01
    batch_size: Count = 256

    def fine_tune(self, model: Model, data: Images, run: Run, **given: Any) -> None:
        """Train in place, nothing at 0 epochs; `given`: a step, an optimizer or what else `train` takes."""
        run.note(finetune_epochs=self.epochs)
        if self.epochs:
            recipe = replace(
                model.recipe, epochs=self.epochs, lr=self.lr, batch_size=self.batch_size, schedule="cosine"
            )
            train(model, data, recipe, run, phase="fine-tuning", **given)
