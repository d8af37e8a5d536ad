"""Ordinary training on the published images, as a control."""

from dataclasses import dataclass

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import Defense
from workflow_scripts.models import Model
from workflow_scripts.training.loop import train


@dataclass(frozen=True)
class Plain(Defense):
    """What in-training defenses are held against. Of a data poison that is the victim itself, bit for bit; of an attack
    that controls training it shows whether the attack survives retraining."""

    control = True

    def __call__(self, poisoned_train: Images, model: Model, run: Run) -> Model:
        train(model, poisoned_train, model.recipe, run)
        return model
