"""Rank and local dimension of clean and of triggered features, epoch by epoch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.common import arrow
from workflow_scripts.common.fields import Count, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.networks.inside import find_stage, stage_activations
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.spectrum import gram_matrix
from workflow_scripts.training.inference import accuracy, iterate_batches, predicted_class
from workflow_scripts.training.loop import train
from workflow_scripts.units.features import penultimate_features

Row = dict[str, Any]


@dataclass(frozen=True)
class FeatureRank(Analysis):
    """Train the victim again, and measure after each epoch the features of triggered test images and of the same images
    without the trigger, of which there are as many. (Of an attack that controls training: ordinary training on what
    it publishes.) At the end also ACC and ASR of features that are forced into their top k directions.

    Rows of epoch, k, images, measure, value: `effective_rank`, `stable_rank`, `local_dimension` and `accuracy` (ASR
    where the images are triggered) have an epoch; `acc` and `asr`, of all images, have a k. The directions are the
    right singular vectors of the published training images' features.

    stage: 0 for the inputs of the classifier, otherwise the output of `layer{stage}`.
    size: images of each set at most; every: epochs between measurements, the last is always measured.
    neighbors: of the estimate of the local dimension; dimensions: values of k.
    """

    stage: Whole = 0
    size: Count = 500
    every: Count = 1
    neighbors: Count = 20
    dimensions: tuple[Count, ...] = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)

    def __call__(self, poisoned_train: Images, model: Model, test: Images, truth: Truth, run: Run) -> Measured:
        sets = self._image_sets(test, truth, run)
        rows: list[Row] = []

        def measure() -> bool:
            epoch = sum(row["kind"] == "epoch" for row in run.rows)
            if epoch % self.every == 0 or epoch == model.recipe.epochs:
                for name, data in sets.items():
                    found = self._measures(model, data)
                    rows.extend({"epoch": epoch, "images": name, "measure": m, "value": v} for m, v in found.items())
            return False

        train(model, poisoned_train, model.recipe, run, until=measure)
        rows += accuracy_by_rank(model, poisoned_train, {"acc": test, "asr": truth.triggered}, self.dimensions)
        types = {"epoch": pa.int64(), "k": pa.int64(), "images": pa.string(), "measure": pa.string()}
        schema = pa.schema([*types.items(), ("value", pa.float64())])
        return arrow.to_table(rows, schema), {"stage": self.stage}

    def _image_sets(self, test: Images, truth: Truth, run: Run) -> dict[str, Images]:
        """Triggered images and their clean originals; without a trigger any test images."""
        pool = truth.triggered if len(truth.triggered) else test
        chosen = pool[run.numpy_rng("feature rank").permutation(len(pool))[: self.size]]
        clean = {"clean": test[np.searchsorted(test.index, chosen.index)]}
        return clean | ({"triggered": chosen} if len(truth.triggered) else {})

    def _measures(self, model: Model, data: Images) -> dict[str, float]:
        if self.stage:
            stage = find_stage(model, self.stage)
            parts = [
                stage_activations(model, stage, batch).flatten(1).cpu() for batch in iterate_batches(model, data.images)
            ]
            found = torch.cat(parts)
        else:
            found = penultimate_features(model, data.images)
        sigma = singular_values(found)
        return {
            "effective_rank": effective_rank(sigma),
            "stable_rank": stable_rank(sigma),
            "local_dimension": local_dimension(found, self.neighbors),
            "accuracy": accuracy(model, data),
        }


def singular_values(rows: torch.Tensor) -> torch.Tensor:
    """float64 (min(N, D),), descending, of features (N, D), which are not centred: neither are the filter's."""
    values = torch.linalg.eigvalsh(gram_matrix(rows)).flip(0)[: min(rows.shape)]
    return values.clamp(min=0).sqrt()


def effective_rank(sigma: torch.Tensor) -> float:
    """exp of the entropy of σ / Σσ (Roy and Vetterli, EUSIPCO 2007): from 1 to the number of singular values."""
    share = sigma / sigma.sum()
    return float(torch.special.entr(share).sum().exp())


def stable_rank(sigma: torch.Tensor) -> float:
    """Σσ² / σ_1² (Rudelson and Vershynin, J. ACM 2007): from 1 to the rank."""
    return float((sigma / sigma[0]).square().sum())


def local_dimension(rows: torch.Tensor, neighbors: int) -> float:
    """Local intrinsic dimension of points (N, D): the maximum-likelihood estimate from the distances r_1 … r_k to the k
    nearest neighbors, 1 / mean ln(r_k / r_i), the mean over i < k (Levina and Bickel, NeurIPS 2004; Amsaleg et al.,
    KDD 2015) and over all points (MacKay and Ghahramani 2005: of inverses, as likelihoods combine)."""
    k = min(neighbors, len(rows) - 1)
    if k < 2:
        return float("nan")
    wide = rows.double()
    distances = torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.topk(k + 1, largest=False).values[:, 1:]
    nearest = nearest.clamp(min=torch.finfo(torch.float64).tiny)  # images that coincide
    return float(1 / (nearest[:, -1:] / nearest[:, :-1]).log().mean())


@torch.no_grad()
def accuracy_by_rank(model: Model, seen: Images, asked: dict[str, Images], dimensions: tuple[int, ...]) -> list[Row]:
    """Of each set its share of right answers when its features keep their top k directions only, for each k up to the
    number of features, which is the network as it is."""
    classifier = model.classifier
    directions = torch.linalg.eigh(gram_matrix(penultimate_features(model, seen.images).T))[1].flip(1).float()
    width = len(directions)
    rows = []
    for name, data in asked.items():
        found = penultimate_features(model, data.images) if len(data) else torch.empty(0, width)
        for k in sorted({min(k, width) for k in (*dimensions, width)}):
            kept = found @ directions[:, :k] @ directions[:, :k].T
            right = predicted_class(classifier(kept.to(model.mean.device)).cpu()) == data.labels
            if len(data):
                rows.append({"k": k, "measure": name, "value": float(right.mean())})
    return rows
