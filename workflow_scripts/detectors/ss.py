"""Spectral Signatures in Backdoor Attacks."""

from dataclasses import dataclass

import numpy as np
import torch

from workflow_scripts.common.fields import PositiveShare
from workflow_scripts.common.images import Images
from workflow_scripts.common.scores import Scores
from workflow_scripts.detectors import Detector
from workflow_scripts.networks.model import Model
from workflow_scripts.units.features import penultimate_features


@dataclass(frozen=True)
class SpectralSignatures(Detector):
    """Of each published class, flag the images that lie furthest along the first singular direction of the class's
    features (Tran, Li, Madry; NeurIPS 2018, arXiv 1811.00636). The features are the inputs of the classifier, centered
    by class; the score is the square of their part along that direction.

    poisoned: the share of a class that may be poisoned, epsilon in the paper, which a defender must guess; 1.5 times
    that is flagged in every class. BackdoorBench flags 15 % of each, by features that are not centered.

    It needs the poisoned images to be few in their class: where they are half of it, as in the target class at a ratio
    of a tenth of ten classes, both halves lie equally far from the mean.
    """

    poisoned: PositiveShare = 0.1

    def __call__(self, poisoned_train: Images, victim: Model) -> Scores:
        features = penultimate_features(victim, poisoned_train.images)
        score, flagged = np.zeros(len(poisoned_train)), np.zeros(len(poisoned_train), bool)
        for label in np.unique(poisoned_train.labels):
            rows = np.flatnonzero(poisoned_train.labels == label)
            score[rows] = score_signatures(features[rows])
            count = min(len(rows), round(1.5 * self.poisoned * len(rows))) if np.isfinite(score[rows]).all() else 0
            flagged[rows[np.argsort(-score[rows], kind="stable")[:count]]] = True
        return Scores(poisoned_train.index, score, flagged)


def score_signatures(features: torch.Tensor) -> np.ndarray:
    """float64 (N,): the squared part of each of the features (N, D), centered, along their first right singular
    vector (algorithm 1); NaN where features are not finite."""
    if not torch.isfinite(features).all():
        return np.full(len(features), np.nan)
    centered = features.double() - features.double().mean(0)
    direction = torch.linalg.svd(centered, full_matrices=False).Vh[0]
    return (centered @ direction).square().numpy()
