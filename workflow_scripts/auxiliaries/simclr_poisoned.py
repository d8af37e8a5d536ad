"""A self-supervised extractor of what the attacker published."""

from dataclasses import dataclass

from workflow_scripts.auxiliaries import Auxiliary
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.contrastive import Contrastive, pretrain


@dataclass(frozen=True)
class SimCLRPoisoned(Auxiliary, Contrastive):
    """SimCLR on the poisoned training images, without their labels: what a defender has who has no clean extractor."""

    def __call__(self, poisoned_train: Images, model: Model, run: Run) -> Model:
        pretrain(model, poisoned_train, self, run)
        return model
