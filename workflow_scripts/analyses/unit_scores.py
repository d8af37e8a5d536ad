"""The scores by which a defense pruned."""

from dataclasses import dataclass

import pyarrow as pa

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.common import arrow

SCHEMA = pa.schema([("layer", pa.string()), ("unit", pa.int64()), ("score", pa.float64()), ("pruned", pa.bool_())])


@dataclass(frozen=True)
class UnitScores(Analysis):
    """Layer, unit, score, pruned: a row for each unit that the defense logged; none of a defense that scores no units.
    `thresholds`: by layer, the score at which pruning begins, of a defense that logs one for each layer."""

    def __call__(self, log: pa.Table) -> Measured:
        units = arrow.select_rows(log, "kind", "unit")
        table = units.select(SCHEMA.names).cast(SCHEMA) if len(units) else arrow.to_table([], SCHEMA)
        chosen = arrow.select_rows(log, "kind", "choice").to_pylist()
        thresholds = {row["layer"]: row["value"] for row in chosen if row["name"] == "threshold" and row.get("layer")}
        return table, {"thresholds": thresholds}
