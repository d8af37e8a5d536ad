"""How clean the images are that a defense set aside as clean."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.common import arrow
from workflow_scripts.common.images import Images
from workflow_scripts.common.truth import Truth


@dataclass(frozen=True)
class SelectionQuality(Analysis):
    """For each round of a defense that logs `selected` images: how many; `purity`, the share of them that carries no
    payload; `recall`, the share of all images without payload that is among them; `payload`, the share of those with
    payload that is. Images that cover for a payload have their true label and count as clean. A share of none is
    empty."""

    def __call__(self, log: pa.Table, poisoned_train: Images, truth: Truth) -> Measured:
        rows = arrow.select_rows(log, "kind", "selected").to_pylist()
        payload = np.isin(poisoned_train.index, truth.altered[truth.roles == "payload"])
        found = []
        for number in sorted({row["round"] for row in rows}):
            chosen = np.isin(poisoned_train.index, [row["index"] for row in rows if row["round"] == number])
            shares = {
                "purity": share_among(~payload, chosen),
                "recall": share_among(chosen, ~payload),
                "payload": share_among(chosen, payload),
            }
            found.append({"round": number, "selected": int(chosen.sum()), **shares})
        columns = {
            "round": pa.int64(),
            "selected": pa.int64(),
            **dict.fromkeys(["purity", "recall", "payload"], pa.float64()),
        }
        return arrow.to_table(found, pa.schema(columns.items())), {}


def share_among(true: np.ndarray, among: np.ndarray) -> float | None:
    """Of the rows in one mask, the share in the other."""
    return float(true[among].mean()) if among.any() else None
