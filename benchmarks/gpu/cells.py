"""A victim by the fast recipe, and defenses of it."""

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.setting import ARCHITECTURE, Row, Setting, wait
from workflow_scripts.common import catalog
from workflow_scripts.common.truth import Truth
from workflow_scripts.evaluation.predictions import metrics_by_protocol, prediction_table
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loop import train

FIELDS: dict[str, dict[str, Any]] = {
    "tsbd": {"unlearn_epochs": 150},
    "fmp": {"samples": 32},
    "anp": {"steps": 500},
    "eigenguard": {},
}
"""What is other about the defenses, so that each ends within its time."""
TINY: dict[str, dict[str, Any]] = {
    "tsbd": {"holdout_size": 0.2, "unlearn_epochs": 2, "finetune_epochs": 1, "batch_size": 64},
    "fmp": {"holdout_size": 0.2, "samples": 8, "epochs": 1, "batch_size": 64},
    "anp": {"holdout_size": 0.2, "steps": 4},
    "eigenguard": {"batch_size": 64, "k": 5},
}
EPOCHS = 6
"""Of EigenGuard, which trains."""


def measure_victim(setting: Setting) -> Iterator[Row]:
    """The victim, which is kept for the defenses."""
    published, truth = setting.poison()
    model, run = setting.build(), setting.run
    wait()
    started = time.perf_counter()
    train(model, published, model.recipe, run)
    wait()
    seconds = time.perf_counter() - started
    weights.save(setting.folder / "victim.safetensors", model, {})
    about = {"epochs": model.recipe.epochs, "seconds": seconds, "notes": run.notes}
    yield from evaluate(setting, model, truth, about)


def measure_defense(name: str, setting: Setting) -> Iterator[Row]:
    """One defense of the victim, or in its stead."""
    defense, run = catalog.make("defenses", name, (TINY if setting.tiny else FIELDS)[name]), setting.run
    published, truth = setting.poison()
    given = {"poisoned_train": published, "run": run}
    asks = catalog.describe("defenses", name).asks
    if "holdout" in asks:
        given["holdout"] = setting.holdout(defense.holdout_size)
    if "victim" in asks:
        path = setting.folder / "victim.safetensors"
        given["victim"] = weights.load(path, ARCHITECTURE, setting.params(), run.device)
    if "model" in asks:
        given["model"] = setting.build(epochs=1 if setting.tiny else EPOCHS)
    wait()
    started = time.perf_counter()
    model = defense(**{key: given[key] for key in asks})
    wait()
    yield from evaluate(setting, model, truth, {"seconds": time.perf_counter() - started, "notes": run.notes})


def evaluate(setting: Setting, model: Model, truth: Truth, about: Row) -> Iterator[Row]:
    """A row for each way in which the model may be asked."""
    started = time.perf_counter()
    rows = metrics_by_protocol(prediction_table(model, setting.test, truth, setting.run))
    seconds = time.perf_counter() - started
    for row in rows:
        found = {key: row[key] for key in ("protocol", "acc", "asr", "ra")}
        yield {**found, **about, "seconds of evaluation": seconds}
