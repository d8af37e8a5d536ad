"""What a defense's scores are worth at every share of units, and what its choice of one costs."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.analyses._logged import LoggedUnits, hash_order, rank_by_suspicion, read_scores, reason_to_skip
from workflow_scripts.common import arrow
from workflow_scripts.common.fields import Percent, Share, Size
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.defenses import Defense
from workflow_scripts.evaluation.predictions import metrics_by_protocol, prediction_table
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import accuracy, extract_features
from workflow_scripts.units.features import prune_features
from workflow_scripts.units.layers import as_unit_layer, zero_filters
from workflow_scripts.units.tac import FEATURES
from workflow_scripts.units.thresholds import loses_more

SCHEMA = pa.schema(
    [
        ("units", pa.int64()),
        *((key, pa.float64()) for key in ("share", "holdout_acc", "acc", "asr", "ra")),
        *((key, pa.bool_()) for key in ("own", "blind", "oracle")),
    ]
)


@dataclass(frozen=True)
class Sweep(Analysis):
    """A row for each share of the units that the defense scored, silenced in its order, the most suspicious first, ties
    at random: accuracy on the held-back fifth of the holdout, ACC, ASR and RA. Nothing is fine-tuned.

    own: as many units as the defense pruned; blind: the last share before the first that loses more than max_drop of
    the holdout's accuracy, which a defender can choose; oracle: the lowest ASR up to there, which takes the trigger
    (how BackdoorBench chooses for FP, ANP and RNP, on test accuracy). Between the last two is what selection costs.

    percents: the shares. Units are silenced where they were scored, as the defense does it: a filter's weights, a
    normalization's gamma and, where its `silences` says so, beta, a feature's inputs to the head become 0. No rows, and
    the reason as `skipped`, where no units were scored.
    """

    holdout_size: Size = 0.05
    percents: tuple[Percent, ...] = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90)
    max_drop: Share = 0.02

    def __call__(
        self, victim: Model, defense: Defense, log: pa.Table, holdout: Images, test: Images, truth: Truth, run: Run
    ) -> Measured:
        scored = read_scores(log)
        if reason := reason_to_skip(scored, defense):
            return arrow.to_table([], SCHEMA), {"skipped": reason}
        test, validation = (extract_features(victim, data, victim.recipe) for data in (test, holdout.split()[1]))
        if len(truth.triggered):
            truth = replace(truth, triggered=extract_features(victim, truth.triggered, victim.recipe))
        suspicions = rank_by_suspicion(scored, defense)
        order = np.lexsort((run.numpy_rng("sweep/ties").random(len(scored)), -suspicions))
        own = int(scored.pruned.sum())
        rows: list[dict[str, Any]] = []
        done = 0
        for count in sorted({0, own, *(round(percent / 100 * len(scored)) for percent in self.percents)}):
            _prune(victim, scored, order[done:count], defense.silences)
            done = count
            rates = metrics_by_protocol(prediction_table(victim, test, truth, run))[0]
            measured = {key: rates[key] for key in ("acc", "asr", "ra")}
            kept = accuracy(victim, validation)
            rows.append({"units": count, "share": count / len(scored), "holdout_acc": kept, **measured})
        marked = self._choose(rows) | {"own": own}
        for row in rows:
            row |= {mark: row["units"] == count for mark, count in marked.items()}
        return arrow.to_table(rows, SCHEMA), {"order": hash_order(scored, suspicions)}

    def _choose(self, rows: list[dict[str, Any]]) -> dict[str, int | None]:
        """How many units the blind rule and the oracle silence, of rows that start with the victim."""
        before = rows[0]["holdout_acc"]
        allowed = list(itertools.takewhile(lambda row: not loses_more(before, row["holdout_acc"], self.max_drop), rows))
        attacked = [row for row in allowed if row["asr"] is not None]
        best = min(attacked, key=lambda row: row["asr"], default=None)
        return {"blind": allowed[-1]["units"], "oracle": best and best["units"]}


def _prune(model: Model, scored: LoggedUnits, chosen: np.ndarray, silences: str) -> None:
    """Silence these of the scored units, in place, as a defense does that `silences` so."""
    layers = scored.layer[chosen]
    found = {str(name): scored.unit[chosen][layers == name].tolist() for name in np.unique(layers)}
    if FEATURES in found:
        prune_features(model, found.pop(FEATURES))
    if silences == "filters":
        zero_filters(model, found)
        return
    modules = dict(model.network.named_modules())
    for name, units in found.items():
        as_unit_layer(name, modules[name]).prune(units, keep_shift=silences == "scales")
