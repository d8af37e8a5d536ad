"""Adversarial Feature Map Pruning for Backdoor."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from workflow_scripts.common.fields import Byte, Count, Size, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuningDefense
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.training.augmentation import crop_and_flip
from workflow_scripts.training.inference import iterate_batches
from workflow_scripts.training.loop import train
from workflow_scripts.units.layers import log_pruning, zero_filters
from workflow_scripts.units.reversal import Move, Reversal, UnitResponses, evaluate_units
from workflow_scripts.units.selection import Selection, Units, select_units

RELEASED_SAMPLES = 32


@dataclass(frozen=True)
class FeatureMapPruning(FineTuningDefense):
    """Zero the feature maps whose displacement by a small change of the image costs most accuracy, then fine-tune
    (Huang, Bu; ICLR 2024, arXiv 2307.11565).

    method: one step (`fgsm`), or two of which the worse counts (`pgd`); epsilon: how far images move to displace a map,
    start: how far at random before, both in 1/255; samples: that many images of the holdout are moved. Of each layer's
    N maps floor(N / p) go, those of the lowest accuracy. Neurons of hidden linear layers are maps too. selection:
    `random` draws as many of each layer, so that as many channels fall silent: what is one summand of several does not.

    Differences from the release, which ships no values of epsilon and start: images are moved in [0, 1], before their
    normalization, 512 of them (there 32), and equal accuracies are told apart by the mean loss. gamma becomes 0 only
    where a normalization sees the pruned map alone. `pgd` takes the worse of two steps and prunes as `fgsm` does (there
    the smaller of two clusters goes). All of it is in float32: bfloat16 rounds by as much as epsilon. The release looks
    at the test set between epochs, in training mode, and so ends with that set's statistics in its normalizations.

    faithful: as the release's FGSM script has it. 32 images, augmented, normalized, clipped to [0, 1] and normalized
    again; what a block's last convolution yields is the block's output; layers are scored in the order of execution and
    pruned in that of the modules, a normalization with the convolution before it. With `pgd`, neither that script's
    training mode nor its clusters.
    """

    suspicious = "low"
    silences = "filters"
    compare_by = "rank"

    holdout_size: Size = 0.1
    method: Move = "fgsm"
    epsilon: Byte = 1.0
    start: Byte = 1.0
    samples: Count = 512
    p: Count = 64
    epochs: Whole = 10
    faithful: bool = False
    selection: Selection = "own"

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        images, labels = self.sample(victim, holdout, run)
        signs = torch.randint(2, images.shape, generator=run.torch_rng("fmp/start")).to(images) * 2 - 1
        self.prune(victim, self.score_units(victim, images, labels, signs), run)
        self.fine_tune(victim, holdout, run)
        return victim

    def sample(self, victim: Model, holdout: Images, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
        """The images (B, C, H, W) to move, float32 in [0, 1], and their labels (B,); where `faithful`, normalized."""
        data = holdout[: self.samples]  # class-stratified, as every prefix of a holdout is
        if self.faithful:
            data = holdout[
                torch.randperm(len(holdout), generator=run.torch_rng("fmp/batch"))[:RELEASED_SAMPLES].numpy()
            ]
            augmented = crop_and_flip(victim.recipe)(torch.from_numpy(data.images), run.torch_rng("fmp/augmentation"))
            data = replace(data, images=augmented.numpy())
        images = torch.cat(list(iterate_batches(victim, data.images))).float() / 255
        labels = torch.from_numpy(data.labels).to(images.device)
        return ((images - victim.mean) / victim.std if self.faithful else images), labels

    def score_units(
        self, victim: Model, images: torch.Tensor, labels: torch.Tensor, signs: torch.Tensor
    ) -> UnitResponses:
        """What the victim answers to these images when they are reversed from these signs, in float32."""
        exact = in_float32(victim).requires_grad_(False)
        reversal = Reversal(self.method, self.epsilon / 255, self.start / 255, summed=self.faithful)
        return evaluate_units(exact, images, labels, signs, reversal)

    def prune(self, victim: Model, responses: UnitResponses, run: Run) -> None:
        """Zero the lowest of each layer; log and note what was done."""
        scores = responses.hits if self.faithful else responses.scores()
        sizes = {name: len(score) for name, score in scores.items()}
        own = {name: self.lowest_units(score) for name, score in scores.items()}
        lowest = select_units(self.selection, own, sizes, run, within=True)
        pruned = lowest
        if self.faithful:
            pruned = _zero_as_released(victim, lowest)
        else:
            zero_filters(victim, lowest)
        log_pruning(run, scores, pruned, self.epochs)

    def lowest_units(self, scores: torch.Tensor) -> list[int]:
        """The floor(N / p) units of the lowest scores (N,), of equal ones the first. The release has them in the order
        of NumPy's default sort, which is not stable and hangs on the processor; so has `faithful`."""
        order = np.argsort(scores.numpy(), kind=None if self.faithful else "stable")
        return order[: len(scores) // self.p].tolist()

    def fine_tune(self, model: Model, data: Images, run: Run, **given: Any) -> None:
        """Train in place without weight decay. Pruned weights may grow again, but where gamma is 0 too no gradient
        reaches either."""
        plain = replace(model.recipe, momentum=0.9, nesterov=False, weight_decay=0.0, schedule="cosine")
        fields = asdict(plain) | {"epochs": self.epochs, "lr": self.lr, "batch_size": self.batch_size}
        if self.epochs:
            train(model, data, AnnealedRecipe(**fields), run, phase="fine-tuning", **given)


class AnnealedRecipe(Recipe):
    """The learning rate falls to 1e-4, not to 0."""

    def lr_at(self, epoch: int, fraction: float) -> float:
        return 1e-4 + (1 - 1e-4 / self.lr) * super().lr_at(epoch, fraction)


@torch.no_grad()
def _zero_as_released(model: Model, lowest: Units) -> Units:
    """Zero, of the i-th layer in the order of the modules, what is lowest of the i-th in the order of execution, and
    the same units of gamma in every normalization up to the next layer. Returns what was pruned of which layer."""
    ranked, units = list(lowest.values()), model.units()
    pruned: Units = {}
    for name, module in model.network.named_modules():
        if name in units:
            pruned[name] = ranked[len(pruned)]
        if name in units or isinstance(module, nn.BatchNorm2d):
            module.weight[ranked[len(pruned) - 1]] = 0
    return pruned
