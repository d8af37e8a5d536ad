"""Where images lie by the top and by the remaining singular directions of their features."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.common import arrow
from workflow_scripts.common.fields import Count, Positive, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.networks.model import Model
from workflow_scripts.units.features import penultimate_features

SCHEMA = pa.schema(
    [
        ("part", pa.string()),
        *((key, pa.float32()) for key in ("x", "y")),
        *((key, pa.int64()) for key in ("index", "label")),
        ("triggered", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class SingularEmbedding(Analysis):
    """t-SNE (van der Maaten and Hinton, JMLR 2008) of the victim's features, reconstructed from their top k singular
    directions, and from the others. The features are the inputs of the classifier, of clean and triggered test images
    together. Rows of part (top, rest), x, y, index, label (true), triggered.

    size: images in all; triggered: their share, less where there are not so many; perplexity: of t-SNE.
    """

    k: Count = 10
    size: Count = 500
    triggered: Share = 0.2
    perplexity: Positive = 30.0

    def __call__(self, victim: Model, test: Images, truth: Truth, run: Run) -> Measured:
        altered = self._draw(len(truth.triggered), round(self.triggered * self.size), "triggered", run)
        clean = self._draw(len(test), self.size - len(altered), "clean", run)
        images = np.concatenate([test.images[clean], truth.triggered.images[altered]])
        features = penultimate_features(victim, images)
        if not torch.isfinite(features).all():
            return arrow.to_table([], SCHEMA), {"skipped": "the victim's features are not finite"}
        top, rest = split_directions(features, self.k)
        count = len(images)
        columns = {
            "index": np.concatenate([test.index[clean], truth.triggered.index[altered]]),
            "label": np.concatenate([test.labels[clean], truth.original_labels[altered]]),
            "triggered": np.arange(count) >= len(clean),
        }
        tables = []
        for name, found in (("top", top), ("rest", rest)):
            x, y = self._embed(found, run).T
            tables.append(pa.table({"part": [name] * count, "x": x, "y": y, **columns}))
        return pa.concat_tables(tables), {"k": self.k, "classes": list(test.format.classes)}

    def _draw(self, available: int, count: int, which: str, run: Run) -> np.ndarray:
        return run.numpy_rng(f"singular embedding/{which}").permutation(available)[:count]

    def _embed(self, rows: torch.Tensor, run: Run) -> np.ndarray:
        from sklearn.manifold import TSNE

        perplexity = min(self.perplexity, (len(rows) - 1) / 3)
        seed = int(run.numpy_rng("singular embedding/t-SNE").integers(2**31))
        return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows.numpy())


def split_directions(rows: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (N, D) as the sum of their projections on the top k right singular directions and on the others."""
    _, _, directions = torch.linalg.svd(rows, full_matrices=False)
    top = rows @ directions[:k].T @ directions[:k]
    return top, rows - top
