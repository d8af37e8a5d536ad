"""How a defense ranks the victim's neurons, beside how much the trigger changes them."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.analyses._logged import (
    hash_order,
    neurons_by_layer,
    rank_by_suspicion,
    rank_descending,
    read_scores,
    reason_to_skip,
)
from workflow_scripts.common import arrow
from workflow_scripts.common.images import Images
from workflow_scripts.common.truth import Truth
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model
from workflow_scripts.units.tac import FEATURES, divide_by_layer_mean, trigger_activated_change

SCHEMA = pa.schema(
    [
        ("layer", pa.string()),
        ("unit", pa.int64()),
        *((key, pa.float64()) for key in ("score", "rank", "tac", "tac_rank")),
        ("pruned", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class NeuronScores(Analysis):
    """A row for each neuron that the defense scored: its layer and place there, the score, its rank by suspicion (1:
    the first to be pruned), whether it was pruned, its TAC and the rank by that (1: changed most; layers are compared
    by TAC over its mean in the layer).

    Defenses score convolutions, normalizations or features; here all of them speak of the filters of convolutions and
    the neurons of hidden linear layers, with the TAC of these. `last` names the layer that
    makes the head's inputs; `order` is equal for equal orders. No rows, and the reason as `skipped`, where there is
    nothing to compare.
    """

    def __call__(self, victim: Model, defense: Defense, log: pa.Table, test: Images, truth: Truth) -> Measured:
        scored = read_scores(log)
        reason = reason_to_skip(scored, defense) or (None if len(truth.triggered) else "no image is triggered")
        if reason:
            return arrow.to_table([], SCHEMA), {"skipped": reason}
        change = trigger_activated_change(victim, test, truth)
        compared = {name: divide_by_layer_mean(found) for name, found in change.items()}
        suspicions, sources = rank_by_suspicion(scored, defense), neurons_by_layer(victim)
        rows: list[dict[str, Any]] = [
            {
                "layer": neurons.name,
                "unit": int(scored.unit[place]) - neurons.start,
                "score": scored.score[place],
                "rank": suspicions[place],
                "tac": float(change[neurons.name][scored.unit[place] - neurons.start]),
                "tac_rank": float(compared[neurons.name][scored.unit[place] - neurons.start]),
                "pruned": bool(scored.pruned[place]),
            }
            for place in range(len(scored))
            for neurons in sources[scored.layer[place]]
            if 0 <= scored.unit[place] - neurons.start < neurons.size
        ]
        for key in ("rank", "tac_rank"):
            for row, rank in zip(rows, rank_descending([row[key] for row in rows]), strict=True):
                row[key] = rank
        last = sources.get(FEATURES)
        about = {"last": last[0].name if last else None, "order": hash_order(scored, suspicions)}
        return arrow.to_table(rows, SCHEMA), about
