"""What a saved model answers: every metric is a function of this table."""

from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.common import arrow
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.evaluation.metrics import rates
from workflow_scripts.evaluation.protocols import predict_under
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import suspicion_scores


def prediction_table(model: Model, test: Images, truth: Truth, run: Run) -> pa.Table:
    """Columns protocol, images (test, triggered), index, label (true), target (the attacker's, null for test images),
    prediction (-1: none), rejected, score (null where nothing judges inputs)."""
    triggered = truth.triggered
    sets = {"test": (test, test.labels, None), "triggered": (triggered, truth.original_labels, triggered.labels)}
    parts = []
    for protocol in model.protocols:
        predicted = predict_under(model, protocol, test.images, triggered.images, run)
        for (name, (data, labels, targets)), prediction in zip(sets.items(), predicted, strict=True):
            score = suspicion_scores(model, data.images)
            columns = {
                "protocol": arrow.to_column([protocol.name] * len(data)),
                "images": arrow.to_column([name] * len(data)),
                "index": arrow.to_column(data.index),
                "label": arrow.to_column(labels),
                "target": pa.nulls(len(data), pa.int64()) if targets is None else arrow.to_column(targets),
                "prediction": arrow.to_column(prediction),
                "rejected": arrow.to_column(
                    np.zeros(len(data), bool) if score is None else score > model.wrapper.threshold  # type: ignore
                ),
                "score": pa.nulls(len(data), pa.float64()) if score is None else arrow.to_column(score),
            }
            parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def metrics_by_protocol(predictions: pa.Table) -> list[dict[str, Any]]:
    """One row of metrics for each protocol of a table of predictions."""
    protocols, images = (np.array(predictions[key].to_pylist(), str) for key in ("protocol", "images"))
    columns = {key: arrow.to_numpy(predictions[key]) for key in ("label", "prediction", "rejected")}
    columns["target"] = arrow.to_numpy(predictions["target"], null=-2)  # nobody's prediction
    rows = []
    for protocol in dict.fromkeys(protocols.tolist()):
        inside = protocols == protocol
        own = {key: column[inside] for key, column in columns.items()}
        rows.append({"protocol": protocol, **rates(images[inside] == "triggered", **own)})
    return rows
