"""The unit scores that a defense logged, so that they can be held against those of others."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import rankdata
from torch import nn

from workflow_scripts.common import catalog
from workflow_scripts.defenses import Defense
from workflow_scripts.pruning.tac import FEATURES
from workflow_scripts.pruning.units import layers


@dataclass(frozen=True)
class Scored:
    """Units as a defense logged them: `layer` (U,) names, `unit` (U,) places there, `score` (U,), `pruned` (U,)."""

    layer: np.ndarray
    unit: np.ndarray
    score: np.ndarray
    pruned: np.ndarray

    def __len__(self) -> int:
        return len(self.unit)


def read(log: pa.Table) -> Scored:
    """The units of a log that have a score."""
    rows = log.filter(pc.equal(log["kind"], "unit"))
    if not len(rows):
        return Scored(np.empty(0, str), *(np.empty(0, kind) for kind in (np.int64, np.float64, bool)))
    columns = {key: rows[key].to_numpy() for key in ("layer", "unit", "score", "pruned")}
    found = Scored(columns["layer"].astype(str), columns["unit"], columns["score"], columns["pruned"].astype(bool))
    known = np.isfinite(found.score)
    return Scored(found.layer[known], found.unit[known], found.score[known], found.pruned[known])


def useless(scored: Scored, defense: Defense) -> str | None:
    """Why these scores say nothing of the victim's units; None if they do."""
    name = type(defense).__module__.rpartition(".")[2]
    if catalog.describe("defenses", name).in_training:
        return f"{name} trains a network of its own, whose units are not the victim's"
    if not len(scored) or not defense.suspicious:
        return f"{name} scores no units"
    return None


def suspicion(scored: Scored, defense: Defense) -> np.ndarray:
    """float64 (U,): the higher, the earlier the defense would prune the unit, over all layers as its class says that
    it compares them."""
    values = scored.score if defense.suspicious == "high" else -scored.score
    if defense.compared == "score":
        return values
    found = np.empty(len(values))
    for layer in np.unique(scored.layer):
        inside = scored.layer == layer
        found[inside] = _within(values[inside], defense.compared)
    return found


def _within(values: np.ndarray, compared: str) -> np.ndarray:
    """One layer's scores as deviations in its standard deviations, or as ranks in (0, 1]."""
    if compared == "rank":
        return rankdata(values) / len(values)
    deviation = values.std(ddof=1) if len(values) > 1 else 0.0
    return (values - values.mean()) / (deviation or 1.0)


def neurons(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """The convolutions and hidden linear layers whose neurons a logged layer speaks of, by the logged name.

    Of a convolution or a linear layer: itself. Of a normalisation: those that the graph has before it (all that are
    summed there), but for those that an earlier normalisation has read already: in pre-activation networks the identity
    carries a convolution to several, and the first is the one that follows it. Of `linear`, the features: the layer
    that makes them; of a residual block, its branch.
    """
    names = {module: name for name, module in network.named_modules()}
    found: dict[str, tuple[str, ...]] = {}
    for layer in layers(network):
        taken = {name for group in found.values() for name in group}
        found[layer.name] = tuple(names[source] for source in layer.sources if names[source] not in taken)
        found[FEATURES] = found[layer.name][:1]
    return found | {name: (name,) for group in found.values() for name in group}


def name_of_order(scored: Scored, values: np.ndarray) -> str:
    """The same for the same order of the same units."""
    return hashlib.sha256(ranks(values).tobytes() + "/".join(scored.layer).encode()).hexdigest()[:16]


def ranks(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """1 for the largest, equal values sharing their mean rank."""
    return rankdata(-np.asarray(values))
