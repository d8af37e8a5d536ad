"""Adversarial Feature Map Pruning for Backdoor."""

from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from workflow_scripts.common.fields import Byte, Count, Size, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuned
from workflow_scripts.models import Model, in_float32
from workflow_scripts.pruning.feature_reversal import Answers, Reversal, answers
from workflow_scripts.pruning.units import computes, layers, log_units
from workflow_scripts.training.inference import batches
from workflow_scripts.training.loader import crop_and_flip
from workflow_scripts.training.loop import train
from workflow_scripts.training.recipe import Recipe

Pruned = dict[str, list[int]]
"""The units to prune of each layer, by its name."""
RELEASED_SAMPLES = 32


@dataclass(frozen=True)
class FeatureMapPruning(FineTuned):
    """Zero the feature maps whose displacement by a small change of the image costs most accuracy, then fine-tune
    (Huang, Bu; ICLR 2024, arXiv 2307.11565).

    epsilon: how far images move to displace a map, start: how far at random before, both in 1/255; samples: that many
    images of the holdout are moved. Of each layer's N maps floor(N / p) go, those of the lowest accuracy. Neurons of
    hidden linear layers are maps too.

    Differences from the release, which ships no values of epsilon and start: images are moved in [0, 1], before their
    normalisation, 512 of them (there 32), and equal accuracies are told apart by the mean loss. gamma becomes 0 only
    where a normalisation sees the pruned map alone. `pgd` takes the worse of two steps and prunes as `fgsm` does (there
    the smaller of two clusters goes). All of it is in float32: bfloat16 rounds by as much as epsilon. The release looks
    at the test set between epochs, in training mode, and so ends with that set's statistics in its normalisations.

    faithful: as the release's FGSM script has it. 32 images, augmented, normalised, clipped to [0, 1] and normalised
    again; what a block's last convolution yields is the block's output; layers are scored in the order of execution and
    pruned in that of the modules, a normalisation with the convolution before it. With `pgd`, neither that script's
    training mode nor its clusters.
    """

    suspicious = "low"
    compared = "rank"

    holdout_size: Size = 0.1
    method: Literal["fgsm", "pgd"] = "fgsm"
    epsilon: Byte = 1.0
    start: Byte = 1.0
    samples: Count = 512
    p: Count = 64
    epochs: Whole = 10
    faithful: bool = False

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        images, labels = self.sampled(victim, holdout, run)
        signs = torch.randint(2, images.shape, generator=run.torch("fmp/start")).to(images) * 2 - 1
        self.prune(victim, self.judged(victim, images, labels, signs), run)
        self.fine_tuned(victim, holdout, run)
        return victim

    def sampled(self, victim: Model, holdout: Images, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
        """The images (B, C, H, W) to move, float32 in [0, 1], and their labels (B,); where `faithful`, normalised."""
        data = holdout[: self.samples]  # class-stratified, as every prefix of a holdout is
        if self.faithful:
            data = holdout[torch.randperm(len(holdout), generator=run.torch("fmp/batch"))[:RELEASED_SAMPLES].numpy()]
            augmented = crop_and_flip(victim.recipe)(torch.from_numpy(data.images), run.torch("fmp/augmentation"))
            data = replace(data, images=augmented.numpy())
        images = torch.cat(list(batches(victim, data.images))).float() / 255
        labels = torch.from_numpy(data.labels).to(images.device)
        return ((images - victim.mean) / victim.std if self.faithful else images), labels

    def judged(self, victim: Model, images: torch.Tensor, labels: torch.Tensor, signs: torch.Tensor) -> Answers:
        """What the victim answers to these images when they are reversed from these signs, in float32."""
        exact = in_float32(victim).requires_grad_(False)
        reversal = Reversal(self.method, self.epsilon / 255, self.start / 255, summed=self.faithful)
        return answers(exact, images, labels, signs, reversal)

    def prune(self, victim: Model, judged: Answers, run: Run) -> None:
        """Zero the lowest of each layer; log and note what was done."""
        scores = judged.hits if self.faithful else judged.scores()
        lowest = {name: self.lowest(score) for name, score in scores.items()}
        pruned = _zero_as_released(victim.network, lowest) if self.faithful else _zero(victim.network, lowest)
        for name, score in scores.items():
            log_units(run, name, score, pruned[name])
        share = sum(map(len, pruned.values())) / sum(map(len, scores.values()))
        run.note(pruned_share=share, pruned_layers="all", finetune_epochs=self.epochs)
        run.note(forward_passes=judged.forward, backward_passes=judged.backward)

    def lowest(self, scores: torch.Tensor) -> list[int]:
        """The floor(N / p) units of the lowest scores (N,), of equal ones the first. The release has them in the order
        of NumPy's default sort, which is not stable and hangs on the processor; so has `faithful`."""
        order = np.argsort(scores.numpy(), kind=None if self.faithful else "stable")
        return order[: len(scores) // self.p].tolist()

    def fine_tuned(self, victim: Model, holdout: Images, run: Run) -> None:
        """Train in place without weight decay. Pruned weights may grow again, but where gamma is 0 too no gradient
        reaches either."""
        plain = replace(victim.recipe, momentum=0.9, nesterov=False, weight_decay=0.0, schedule="cosine")
        fields = asdict(plain) | {"epochs": self.epochs, "lr": self.lr, "batch_size": self.batch_size}
        if self.epochs:
            train(victim, holdout, Annealed(**fields), run, phase="fine-tuning")


class Annealed(Recipe):
    """The learning rate falls to 1e-4, not to 0."""

    def lr_at(self, epoch: int, fraction: float) -> float:
        return 1e-4 + (1 - 1e-4 / self.lr) * super().lr_at(epoch, fraction)


@torch.no_grad()
def _zero(network: nn.Module, pruned: Pruned) -> Pruned:
    """Zero these units' weights and biases, and gamma of a normalisation that sees the layer alone; beta stays."""
    modules = dict(network.named_modules())
    found = layers(network)
    for name, units in pruned.items():
        for parameter in modules[name].parameters():
            parameter[units] = 0
        for layer in found:
            if layer.sources == (modules[name],):
                layer.silence(units, keep_shift=True)
    return pruned


@torch.no_grad()
def _zero_as_released(network: nn.Module, lowest: Pruned) -> Pruned:
    """Zero, of the i-th layer in the order of the modules, what is lowest of the i-th in the order of execution, and
    the same units of gamma in every normalisation up to the next layer. Returns what was pruned of which layer."""
    ranked = list(lowest.values())
    pruned: Pruned = {}
    for name, module in network.named_modules():
        if computes(module):
            pruned[name] = ranked[len(pruned)]
        if computes(module) or isinstance(module, nn.BatchNorm2d):
            module.weight[ranked[len(pruned) - 1]] = 0
    return pruned
