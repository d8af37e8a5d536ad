"""One cell: a saved model, asked about the test set and the triggered images."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from workflow_scripts.common import arrow, files
from workflow_scripts.evaluation.predictions import metrics_by_protocol, prediction_table
from workflow_scripts.jobs.job import Job


def evaluate(
    inputs: Mapping[str, str], made: Mapping[str, Any], predicted: str, own: str, root: str
) -> list[dict[str, Any]]:
    """A row for each protocol of the defended model, of the predictions that it writes.

    Args:
        inputs: paths of defended, test and truth, and of the extractor below the model, where there is one;
            predicted: that of the predictions; own: that of the rows; all below `root`.
        made: what this evaluation is made by: fingerprint, hyper-parameters, wildcards.
    """
    params, job = made["params"], Job.of("defense", made, inputs)
    test, secret = job.argument("test"), job.argument("truth")
    predictions = prediction_table(job.argument("defended"), test, secret, job.run)
    arrow.write_table(predicted, predictions, made)
    paths = [*inputs.values(), predicted]
    about = {
        **job.wildcards,
        **{f"{axis}_params": json.dumps(params[axis], sort_keys=True) for axis in ("attack", "defense", "model")},
        "classes": len(test.format.classes),
        "trigger_psnr": secret.psnr,
        "trigger_rms": secret.rms,
        "trigger_ssim": secret.ssim,
        "notes": _add_divergence(_read_notes(inputs["defended"]), predictions),
        "digests": {_below(root, path): files.sha256(path) for path in paths},
        "made": {_below(root, path): files.hash_provenance(files.read_about(path)) for path in paths}
        | {_below(root, own): files.hash_provenance(made)},
        "code": {_below(root, path): files.read_about(path)["fingerprint"] for path in paths},
    }
    return [{**about, **row} for row in metrics_by_protocol(predictions)]


def _below(root: str, path: str) -> str:
    return path.removeprefix(f"{root}/")


def _read_notes(path: str) -> dict[str, Any]:
    with files.reading_artifact(path, "safetensors"):
        return dict(files.read_about(path)["notes"])


def _add_divergence(notes: dict[str, Any], predictions: pa.Table) -> dict[str, Any]:
    """What the model's maker noted, and that it diverged where it answers nothing."""
    silent = not (arrow.to_numpy(predictions["prediction"]) >= 0).any()
    return {"diverged": "its answers to all images are ties or not finite", **notes} if silent else notes
