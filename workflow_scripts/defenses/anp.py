"""Adversarial Neuron Pruning Purifies Backdoored Deep Models."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from workflow_scripts.common.fields import Count, Positive, PositiveShare, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import HoldoutDefense
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.inference import extract_features
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.transfer import send
from workflow_scripts.units.masks import Changes, MaskedNetwork, Masks, prune_fallen
from workflow_scripts.units.selection import Selection


@dataclass(frozen=True)
class AdversarialNeuronPruning(HoldoutDefense):
    """Learn masks of the neurons that resist the worst change of their weights, and silence the neurons whose mask
    falls (Wu, Wang; NeurIPS 2021, arXiv 2110.14430). Neurons are normalized channels, their weights gamma and beta, and
    those of hidden linear layers, their weights all inputs' and the bias; of a network without either, the filters of
    its convolutions.

    eps: how far the weights are perturbed, relatively; alpha: the weight of the unperturbed loss; steps of the masks
    at learning rate lr; max_drop: how far the accuracy on the held-back fifth of the holdout may fall; grid: the
    step between two thresholds. selection:
    `random` silences as many neurons, drawn among all.

    Differences: lr is the paper's 0.2 (BackdoorBench runs 0.01). The threshold is the last of 0, 0.05, … 0.95 before
    the first that loses holdout accuracy; BackdoorBench picks it by ASR on the test set. Masks are learned in float32.
    """

    suspicious = "low"
    silences = "scales"

    eps: Positive = 0.4
    alpha: Share = 0.2
    steps: Count = 2000
    lr: Positive = 0.2
    batch_size: Count = 128
    max_drop: Share = 0.02
    grid: PositiveShare = 0.05
    selection: Selection = "own"

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        fit, validation = (extract_features(victim, part, victim.recipe) for part in holdout.split())
        masks = self._learn_masks(MaskedNetwork(in_float32(victim)), fit, run)
        return prune_fallen(
            victim, masks, validation, run, max_drop=self.max_drop, grid=self.grid, selection=self.selection
        )

    def _learn_masks(self, masked: MaskedNetwork, data: Images, run: Run) -> Masks:
        """One mask in [0, 1] for each neuron of each layer (algorithm 1)."""
        noise = run.torch_rng("anp/noise")

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            worst = self._worst_perturbation(masked, batch, noise)
            logits = masked.logits(batch.images)
            clean = F.cross_entropy(logits, batch.labels)
            robust = F.cross_entropy(masked.logits(batch.images, worst), batch.labels)
            (self.alpha * clean + (1 - self.alpha) * robust).backward()  # type: ignore[no-untyped-call]
            return logits, robust

        return masked.learn(data, run, step, phase="anp", lr=self.lr, batch_size=self.batch_size, steps=self.steps)

    def _worst_perturbation(self, masked: MaskedNetwork, batch: Batch, noise: torch.Generator) -> Changes:
        """The relative changes (2, neurons) of weight and bias after one sign step from a random start: up to 2 eps."""
        start = {
            name: send((torch.rand(2, len(mask), generator=noise) * 2 - 1) * self.eps, mask.device).requires_grad_()
            for name, mask in masked.masks.items()
        }
        loss = F.cross_entropy(masked.logits(batch.images, start), batch.labels)
        gradients = torch.autograd.grad(loss, list(start.values()))
        steps = zip(start.items(), gradients, strict=True)
        return {name: (value + self.eps * gradient.sign()).detach() for (name, value), gradient in steps}
