"""A self-supervised extractor of clean images."""

from dataclasses import dataclass

from workflow_scripts.auxiliaries import Auxiliary, draw_share
from workflow_scripts.common.fields import PositiveShare
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.contrastive import Contrastive, pretrain


@dataclass(frozen=True)
class SimCLR(Auxiliary, Contrastive):
    """SimCLR on the clean training images, without their labels: see `Contrastive`. share: of the images, drawn at
    random."""

    share: PositiveShare = 1.0

    def __call__(self, train: Images, model: Model, run: Run) -> Model:
        pretrain(model, draw_share(train, self.share, run), self, run)
        return model
