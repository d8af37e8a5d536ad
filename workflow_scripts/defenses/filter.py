"""Training without what a detector flags."""

from dataclasses import dataclass

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import DetectorName
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.scores import Scores
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loop import train


@dataclass(frozen=True)
class Filter(Defense):
    """Ordinary training, by the model's recipe, on the published images that the detector `by` does not flag."""

    by: DetectorName = "ss"

    def __call__(self, poisoned_train: Images, model: Model, by: Scores, run: Run) -> Model:
        removed = by.flagged_among(poisoned_train.index)
        if removed.all():
            raise UserError(f"filter: {self.by} flags every image, so that there is none to train on")
        run.note(removed_share=float(removed.mean()))
        train(model, poisoned_train[~removed], model.recipe, run)
        return model
