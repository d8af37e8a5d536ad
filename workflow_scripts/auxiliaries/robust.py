"""A network that small changes of an image mislead less."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from workflow_scripts.auxiliaries import Auxiliary
from workflow_scripts.common.fields import Count, Positive
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.hooks import keep_running_statistics
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.adversary import Adversary
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import make_step
from workflow_scripts.training.loop import train as fit


@dataclass(frozen=True)
class Robust(Adversary, Auxiliary):
    """Adversarial training of the backbone on the clean training images: every step is on perturbed images, moved anew
    against the network as it is, in training mode (Madry et al.; ICLR 2018, arXiv 1706.06083; see `Adversary`).

    epochs, lr: of SGD whose learning rate is a tenth from two thirds of the epochs on. All else is the backbone's
    recipe. Differences: the paper trains a wide ResNet of 45.9 million weights for 80,000 batches of 128, 200 epochs.
    """

    epochs: Count = 40
    lr: Positive = 0.1

    def __call__(self, train: Images, model: Model, run: Run) -> Model:
        ordinary, stream = make_step(model, F.cross_entropy), run.torch_rng("adversary")

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            with keep_running_statistics(model):
                worst = self.perturb(model, batch.images, batch.labels, stream)
            return ordinary(replace(batch, images=worst))

        fit(model, train, replace(model.recipe, epochs=self.epochs, lr=self.lr, schedule="step"), run, step=step)
        return model
