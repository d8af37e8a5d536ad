"""One cell: a saved model, asked about the test set and the triggered images."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from workflow_scripts.common import catalog, files
from workflow_scripts.common.arguments import Job
from workflow_scripts.common.cells import Cell
from workflow_scripts.evaluation.collecting import made_by
from workflow_scripts.evaluation.predictions import answers, judged


def evaluate(
    cell: Cell, inputs: Mapping[str, str], made: Mapping[str, Any], own: str, root: str
) -> tuple[pa.Table, list[dict[str, Any]]]:
    """The answers of the defended model, and a row for each of its protocols.

    Args:
        inputs: paths of defended, test and truth, and of the extractor below the model, where there is one;
            own: that of the rows; all below `root`.
        made: `fingerprint` and `params` of this evaluation.
    """
    params, job = made["params"], Job.of("defense", cell, made, inputs)
    secret = job.argument("truth")
    predictions = answers(job.argument("defended"), job.argument("test"), secret, job.run)
    notes = files.read_about(inputs["defended"])["notes"]
    paths = {key: path.removeprefix(f"{root}/") for key, path in inputs.items()}
    about = {
        **cell._asdict(),
        "control": bool(catalog.describe("defenses", catalog.name(cell.defense)).traits["control"]),
        **{f"{axis}_params": json.dumps(params[axis], sort_keys=True) for axis in ("attack", "defense", "model")},
        "trigger_psnr": secret.psnr,
        "trigger_rms": secret.rms,
        **{key: notes.get(key) for key in ("pruned_share", "pruned_layers", "finetune_epochs")},
        "reason": notes.get("diverged"),
        "digests": {path: files.digest(inputs[key]) for key, path in paths.items()},
        "made": {path: made_by(files.read_about(inputs[key])) for key, path in paths.items()}
        | {own.removeprefix(f"{root}/"): made_by(made)},
    }
    return predictions, [{**about, **row} for row in judged(predictions)]
