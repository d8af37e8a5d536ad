"""The unit scores that a defense logged, so that they can be held against those of others."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from workflow_scripts.common import arrow, catalog
from workflow_scripts.common.cells import is_in_training
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model
from workflow_scripts.units.layers import unit_layers
from workflow_scripts.units.tac import FEATURES


@dataclass(frozen=True)
class LoggedUnits:
    """Units as a defense logged them: `layer` (U,) names, `unit` (U,) places there, `score` (U,), `pruned` (U,)."""

    layer: np.ndarray
    unit: np.ndarray
    score: np.ndarray
    pruned: np.ndarray

    def __len__(self) -> int:
        return len(self.unit)


def read_scores(log: pa.Table) -> LoggedUnits:
    """The units of a log that have a score."""
    rows = arrow.select_rows(log, "kind", "unit")
    if not len(rows):
        return LoggedUnits(np.empty(0, str), *(np.empty(0, kind) for kind in (np.int64, np.float64, bool)))
    columns = {key: np.array(rows[key].to_pylist()) for key in ("layer", "unit", "score", "pruned")}
    found = LoggedUnits(columns["layer"].astype(str), columns["unit"], columns["score"], columns["pruned"].astype(bool))
    known = np.isfinite(found.score)
    return LoggedUnits(found.layer[known], found.unit[known], found.score[known], found.pruned[known])


def reason_to_skip(scored: LoggedUnits, defense: Defense) -> str | None:
    """Why these scores say nothing of the victim's units; None if they do."""
    name = catalog.file_name(defense)
    if is_in_training(catalog.describe("defenses", name).asks):
        return f"{name} trains a network of its own, whose units are not the victim's"
    if not len(scored) or not defense.suspicious:
        return f"{name} scores no units"
    return None


def rank_by_suspicion(scored: LoggedUnits, defense: Defense) -> np.ndarray:
    """float64 (U,): the higher, the earlier the defense would prune the unit, over all layers as its class says that
    it compares them."""
    values = scored.score if defense.suspicious == "high" else -scored.score
    if defense.compare_by == "score":
        return values
    found = np.empty(len(values))
    for layer in np.unique(scored.layer):
        inside = scored.layer == layer
        found[inside] = _within(values[inside], defense.compare_by)
    return found


def _within(values: np.ndarray, compared: str) -> np.ndarray:
    """One layer's scores as deviations in its standard deviations, or as ranks in (0, 1]."""
    if compared == "rank":
        return rankdata(values) / len(values)
    deviation = values.std(ddof=1) if len(values) > 1 else 0.0
    return (values - values.mean()) / (deviation or 1.0)


class Neurons(NamedTuple):
    """Units `start` to `start + size` of a logged layer as the neurons of the layer `name`."""

    name: str
    start: int
    size: int


def neurons_by_layer(model: Model) -> dict[str, list[Neurons]]:
    """The convolutions and hidden linear layers whose neurons a logged layer speaks of, by the logged name.

    Of a convolution or a linear layer: itself. Of a normalization: those that the graph has before it (all that are
    summed there), but for those that an earlier normalization has read already: in pre-activation networks the identity
    carries a convolution to several, and the first is the one that follows it. Of `linear`, the features: the layer
    that makes them; of a residual block, its branch.
    """
    names = {module: name for name, module in model.network.named_modules()}
    found: dict[str, list[Neurons]] = {}
    single: dict[str, list[Neurons]] = {}
    for layer in unit_layers(model):
        own = [
            Neurons(names[source.module], segment.start, segment.count)
            for segment in layer.segments
            for source in segment.sources
        ]
        found[layer.name] = [neurons for neurons in own if neurons.name not in single]
        single |= {neurons.name: [neurons._replace(start=0)] for neurons in own}
        if len(layer) == model.classifier.in_features:
            found[FEATURES] = found[layer.name][:1]
    return found | single


def hash_order(scored: LoggedUnits, values: np.ndarray) -> str:
    """The same for the same order of the same units."""
    return hashlib.sha256(rank_descending(values).tobytes() + "/".join(scored.layer).encode()).hexdigest()[:16]


def rank_descending(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """1 for the largest, equal values sharing their mean rank."""
    return rankdata(-np.asarray(values))
