"""An extractor trained on clean images and their labels."""

from dataclasses import dataclass

from workflow_scripts.auxiliaries import Auxiliary, draw_share
from workflow_scripts.common.fields import PositiveShare
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loop import train as fit


@dataclass(frozen=True)
class Supervised(Auxiliary):
    """Ordinary training of the backbone, by its recipe, on the clean training images: with all of them, the clean
    model's features. share: of the images, drawn at random."""

    share: PositiveShare = 1.0

    def __call__(self, train: Images, model: Model, run: Run) -> Model:
        fit(model, draw_share(train, self.share, run), model.recipe, run)
        return model
