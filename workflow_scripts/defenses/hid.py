"""Hölder Iterative Defense: Hölder Pruning without a clean extractor."""

import copy
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.common.fields import Count, NonNegative, Positive, PositiveShare, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses._holder import HolderPruningDefense
from workflow_scripts.models.probe import Probe
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Extractor, Model
from workflow_scripts.techniques.contrastive import Contrastive, pretrain
from workflow_scripts.techniques.fixmatch import fixmatch
from workflow_scripts.techniques.mixmatch import mixmatch
from workflow_scripts.training import inference
from workflow_scripts.training.loop import train
from workflow_scripts.wrappers.mlp_head import MlpHead


@dataclass(frozen=True)
class HolderIterativeDefense(HolderPruningDefense):
    """Learn features without labels, then in rounds: train a head on them, prune it by Hölder constants, select the
    images that it still believes, and learn features and head from these, the others unlabeled (ICLR 2025 submission
    yJduhi9mDQ, withdrawn; its authors publish no code).

    ssl_epochs of SimCLR, as DBD has it, on views that are crops of at least ssl_crop_scale of the area, mirrored every
    other time if ssl_flip, and blurred as often as ssl_blur says. In each of the rounds: head_epochs
    of a new head with hidden layers of these widths; of each published class the `fraction` of lowest loss, those not
    predicted as published left out; semi_epochs over what was selected, by `semi`. The fraction grows by fraction_step
    each round, which is this project's reading: at 0 as many are believed in each. Where less than the share `settled`
    of images enters or leaves the selection, the round before was the last.

    Differences: the submission names neither the self-supervised and the semi-supervised method nor what makes a sample
    clean. MixMatch has DBD's values (Huang et al.; ICLR 2022, arXiv 2202.03423). Beside the pruned head these differ
    from DBD: it selects anew in each epoch, half of all images whatever their class, by symmetric cross-entropy under a
    linear head that trains on; its SimCLR has a batch normalization in the projection, and its first views alone are
    anchors. semi_epochs are as many steps, in three rounds on CIFAR-10, as DBD's 190 times 1,024. SGD takes the place
    of Adam, with a cosine schedule in each round.
    """

    ssl_epochs: Count = 100
    ssl_lr: Positive = 0.4
    ssl_batch_size: Count = 512
    ssl_crop_scale: PositiveShare = 0.2
    ssl_flip: bool = True
    ssl_blur: Share = 0.5
    hidden: tuple[Count, ...] = (512, 256)
    head_epochs: Count = 30
    head_lr: Positive = 0.05
    head_weight_decay: NonNegative = 0.01
    rounds: Count = 3
    fraction: PositiveShare = 0.5
    fraction_step: Share = 0.1
    settled: Share = 0.01
    semi: Literal["mixmatch", "fixmatch", "none"] = "mixmatch"
    semi_epochs: Count = 150
    lr: Positive = 0.01
    batch_size: Count = 64

    def __call__(self, poisoned_train: Images, model: Model, run: Run) -> Model:
        views = Contrastive(
            epochs=self.ssl_epochs,
            lr=self.ssl_lr,
            batch_size=self.ssl_batch_size,
            crop_scale=self.ssl_crop_scale,
            flip=self.ssl_flip,
            blur=self.ssl_blur,
        )
        pretrain(model, poisoned_train, views, run)
        before = None
        for number in range(1, self.rounds + 1):
            probe, chosen = self._select(model, poisoned_train, number, run)
            changed = 1.0 if before is None else float((chosen != before).mean())
            run.log("choice", name="changed selection", round=number, value=changed)
            if changed < self.settled:
                break
            before, defended = chosen, with_head(model, probe, self.hidden)
            if not chosen.any():
                run.note(diverged=f"no image is predicted as published in round {number}")
                break
            self._fine_tune(defended, poisoned_train, chosen, views, f"semi-supervised {number}", run)
            model.network.load_state_dict(defended.network.state_dict(), strict=False)  # all but the classifier
        return defended

    def _select(self, model: Model, published: Images, number: int, run: Run) -> tuple[Model, np.ndarray]:
        """A pruned head above the model's features, and the images that it believes, bool (N,)."""
        own = Probe(hidden=self.hidden, epochs=self.head_epochs, lr=self.head_lr, weight_decay=self.head_weight_decay)
        probe = weights.build("probe", asdict(own), published.format, run, Extractor(model))
        features = inference.extract_features(probe, published, own)
        train(probe, features, own, run, phase=f"head {number}")
        self.prune(probe, published, run, suffix=f" (round {number})")
        predicted, labels = inference.logits(probe, features.images), published.labels
        losses = F.cross_entropy(predicted, torch.from_numpy(labels), reduction="none").numpy()
        share = min(1.0, self.fraction + self.fraction_step * (number - 1))
        chosen = lowest_loss_mask(losses, labels, share) & (inference.predicted_class(predicted) == labels)
        for index in published.index[chosen].tolist():
            run.log("selected", round=number, index=index)
        return probe, chosen

    def _fine_tune(
        self, model: Model, published: Images, chosen: np.ndarray, views: Contrastive, phase: str, run: Run
    ) -> None:
        recipe = replace(
            model.recipe, epochs=self.semi_epochs, lr=self.lr, batch_size=self.batch_size, schedule="cosine"
        )
        labeled, unlabeled = published[chosen], published[~chosen]
        if self.semi == "none" or not len(unlabeled):
            train(model, labeled, recipe, run, phase=phase)
        elif self.semi == "mixmatch":
            mixmatch(model, labeled, unlabeled, recipe, run, phase=phase)
        else:
            fixmatch(model, labeled, unlabeled, recipe, run, phase=phase, views=views)


def with_head(model: Model, probe: Model, hidden: tuple[int, ...]) -> Model:
    """A trainable copy of the model with the probe's network, of these hidden widths, in place of its classifier."""
    copied = copy.deepcopy(model).requires_grad_(True)
    name = copied.classifier_name
    copied.wrap(MlpHead(hidden))
    copied.network.get_submodule(name).load_state_dict(probe.network.state_dict())
    return copied


def lowest_loss_mask(losses: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """bool (N,): of each class the share of lowest loss."""
    chosen = np.zeros(len(losses), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen[rows[losses[rows].argsort(kind="stable")[: round(share * len(rows))]]] = True
    return chosen
