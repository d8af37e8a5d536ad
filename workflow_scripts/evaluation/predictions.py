"""What a saved model answers: every metric is a function of this table."""

from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.evaluation.metrics import rates
from workflow_scripts.evaluation.protocols import asked
from workflow_scripts.models import Model


def answers(model: Model, test: Images, truth: Truth, run: Run) -> pa.Table:
    """Columns protocol, images (test, triggered), index, label (true), target (the attacker's, null for test images),
    prediction (-1: none)."""
    parts = []
    for protocol in model.protocols:
        given = asked(model, protocol, test.images, truth.triggered.images, run)
        for name, data, labels, targets, prediction in (
            ("test", test, test.labels, pa.nulls(len(test), pa.int64()), given[0]),
            ("triggered", truth.triggered, truth.original_labels, pa.array(truth.triggered.labels), given[1]),
        ):
            columns = {
                "protocol": pa.array([protocol.name] * len(data), pa.string()),
                "images": pa.array([name] * len(data), pa.string()),
                "index": pa.array(data.index),
                "label": pa.array(labels),
                "target": targets,
                "prediction": pa.array(prediction),
            }
            parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def judged(predictions: pa.Table) -> list[dict[str, Any]]:
    """One row of metrics for each protocol of a table of answers."""
    rows = []
    for protocol in predictions["protocol"].unique().to_pylist():
        mask = np.asarray(predictions["protocol"].to_pylist()) == protocol
        columns = {key: _numbers(predictions[key])[mask] for key in ("label", "target", "prediction")}
        triggered = np.asarray(predictions["images"].to_pylist())[mask] == "triggered"
        rows.append({"protocol": protocol, **rates(triggered, **columns)})
    return rows


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return column.fill_null(-2).to_numpy()  # -2 is nobody's prediction
