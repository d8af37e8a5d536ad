"""What a detector says of the published training images, `scores.parquet`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.common import arrow

SCHEMA = pa.schema(
    [
        pa.field(*part, nullable=False)
        for part in (("index", pa.int64()), ("score", pa.float64()), ("flagged", pa.bool_()))
    ]
)


@dataclass(frozen=True)
class Scores:
    """`index` int64 (N,), `score` float64 (N,), the higher the more suspicious, `flagged` bool (N,): the verdict. A
    detector that judges the model as a whole has one row, of index -1."""

    index: np.ndarray
    score: np.ndarray
    flagged: np.ndarray

    def flagged_among(self, index: np.ndarray) -> np.ndarray:
        """bool: which of the images of these indices are flagged."""
        return np.isin(index, self.index[self.flagged])


def write(path: str, scores: Scores, about: Mapping[str, Any]) -> None:
    """Write one row for each image."""
    columns = {key: arrow.to_column(getattr(scores, key)) for key in ("index", "score", "flagged")}
    arrow.write_table(path, pa.table(columns), about)


def read(path: str) -> Scores:
    """The inverse of `write`."""
    table, _ = arrow.read_table(path, SCHEMA)
    return Scores(*(arrow.to_numpy(table[key]) for key in ("index", "score", "flagged")))
