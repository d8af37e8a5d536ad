"""How each argument of a method is read from its files; common/arguments.py says which function reads which."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from workflow_scripts.common import arrow, catalog, files, image_files, spellings
from workflow_scripts.common import scores as detection
from workflow_scripts.common import truth as secret
from workflow_scripts.common.arguments import architecture_axis
from workflow_scripts.common.images import ImageFormat, Images, check_holdout, count_holdout
from workflow_scripts.common.run import Run
from workflow_scripts.jobs.job import Job

if TYPE_CHECKING:
    from workflow_scripts.networks.model import Extractor, Model


def run(job: Job, name: str) -> Run:
    return job.run


def ratio(job: Job, name: str) -> float:
    return float(job.wildcards["ratio"])


def images(job: Job, name: str) -> Images:
    return image_files.read_images(job.inputs[name])[0]


def published(job: Job, name: str) -> Images:
    """All training images, the altered ones as the attacker publishes them."""
    train, poison = (image_files.read_images(path)[0] for path in job.inputs[name])
    return train.replace_rows(poison)


def holdout(job: Job, name: str) -> Images:
    """The prefix of the holdout that the method's `holdout_size` names."""
    drawn, about = image_files.read_images(job.inputs[name])
    size = job.params["holdout_size"]
    with files.reading_artifact(job.inputs[name], "Parquet"):
        if type(train_images := about["train_images"]) is not int:
            raise ValueError(f"its metadata has {train_images!r:.60} train_images; it must be a whole number")
        count = count_holdout(size, train_images)
    check_holdout(size, count, len(drawn), f"{job.name}:", job.run.dataset)
    return drawn[:count]


def network(job: Job, name: str) -> "Model":
    """A trained network, in evaluation mode on the job's device."""
    from workflow_scripts.networks import weights

    axis, architecture, params = _architecture(job, name)
    model = weights.load(job.inputs[name], architecture, params, job.run.device, _extractor(job, name, axis))
    return _counted(model, job)


def untrained(job: Job, name: str) -> "Model":
    """An untrained network for the images of the dataset."""
    from workflow_scripts.networks import weights

    axis, architecture, params = _architecture(job, name)
    with files.reading_artifact(job.inputs[name], "Parquet"):
        form = ImageFormat.from_json(files.read_about(job.inputs[name]))
    return _counted(weights.build(architecture, params, form, job.run, _extractor(job, name, axis)), job)


def auxiliary(job: Job, name: str) -> "Model":
    """The auxiliary that a field names, frozen."""
    from workflow_scripts.networks import weights

    return weights.load_frozen(job.inputs[name], job.run.device)


def scores(job: Job, name: str) -> "detection.Scores":
    return detection.read(job.inputs[name])


def truth(job: Job, name: str) -> secret.Truth:
    return secret.read(job.inputs[name])


def table(job: Job, name: str) -> pa.Table:
    return arrow.read_table(job.inputs[name], arrow.require(pa.schema({"kind": pa.string()})))[0]


def defense(job: Job, name: str) -> Any:
    """The cell's defense, with its hyper-parameters."""
    spelling = spellings.method_name(job.wildcards["defense"])
    return catalog.make("defenses", spelling, job.made["params"]["defense"])


def _counted(model: "Model", job: Job) -> "Model":
    """The model, whose passes its job counts."""
    from workflow_scripts.networks.hooks import count_passes

    count_passes(model.network, job.run.passes)
    return model


def _architecture(job: Job, name: str) -> tuple[str, str, Mapping[str, Any]]:
    """The axis that names it, the name and the hyper-parameters of a network's architecture."""
    axis = architecture_axis(job.axis, name, job.params)
    spelling = job.wildcards["model"] if axis == "model" else job.params[axis]
    return axis, spellings.method_name(spelling), job.made["params"][axis]


def _extractor(job: Job, name: str, axis: str) -> "Extractor | None":
    """The frozen network that the architecture of an argument stands on, where it has one: of the clean model, the one
    that was trained on clean images."""
    clean = spellings.is_clean_model(name, job.wildcards.get("defense", ""))
    key = f"{'clean_' * clean}{axis}_extractor"
    if key not in job.inputs:
        return None
    from workflow_scripts.networks.model import Extractor

    return Extractor(auxiliary(job, key))
