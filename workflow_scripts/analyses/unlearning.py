"""What unlearning clean images moves in a victim, beside what unlearning its backdoor does."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from scipy.stats import rankdata

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.common import arrow
from workflow_scripts.common.fields import Count, Positive, Share, Size, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.networks.hooks import watch
from workflow_scripts.networks.inside import move_units_second
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.unlearning import unlearn
from workflow_scripts.training.inference import accuracy, logits
from workflow_scripts.units.weight_change import PerLayer, neuron_layers, neuron_weight_changes, weight_changes

WHEN = ("before", "after_clean", "after_poison")
"""The three models whose activations are compared: the victim, and after unlearning the one and the other."""
SCHEMA = pa.schema(
    [
        ("layer", pa.string()),
        ("unit", pa.int64()),
        *((key, pa.float64()) for key in ("clean", "poison", "control")),
        *((f"{images}_{when}", pa.float64()) for when in WHEN for images in ("clean", "triggered")),
    ]
)


@dataclass(frozen=True)
class Unlearning(Analysis):
    """A row for each neuron: its weight change in unlearning the clean holdout (`clean`) and the triggered test images
    with the attacker's labels (`poison`); of the last layer also its mean activations on the images that ASR counts,
    with and without the trigger, before and after both (Lin et al., TSBD; NeurIPS 2024, arXiv 2405.20291, observation 1
    and figure 3). The activation is the layer's output after a ReLU, as the paper has it, whatever follows there.

    Beyond the paper, `control`: the change in unlearning those test images without the trigger, with their own labels,
    for as many epochs. Where it agrees with `clean` as `poison` does, the agreement says nothing of backdoors.

    unlearn_epochs at most, at unlearn_lr; clean unlearning ends at stop_accuracy on the holdout, poison unlearning at
    stop_asr. Test images are not augmented: a crop would cut the trigger.

    `correlation`: Spearman's and Pearson's of `clean` with `poison` and with `control`, by layer and of `all` neurons;
    None where one is constant. `unlearning`: how the first two went; `acc`, `asr`: of the three models. No rows where
    no image is triggered.
    """

    holdout_size: Size = 0.05
    unlearn_epochs: Whole = 1000
    unlearn_lr: Positive = 1e-4
    batch_size: Count = 256
    stop_accuracy: Share = 0.1
    stop_asr: Share = 0.05

    def __call__(self, victim: Model, holdout: Images, test: Images, truth: Truth, run: Run) -> Measured:
        triggered = truth.triggered
        if not len(triggered):
            return arrow.to_table([], SCHEMA), {"skipped": "no image is triggered"}
        untriggered = truth.originals(test)
        plain = copy.deepcopy(victim)
        plain.recipe = replace(victim.recipe, crop=0, flip=False)
        forgetful, clean = self._unlearn(victim, holdout, self.unlearn_epochs, self.stop_accuracy, run)
        cured, poison = self._unlearn(plain, triggered, self.unlearn_epochs, self.stop_asr, run)
        other, _ = self._unlearn(plain, untriggered, poison["epochs"], -1.0, run)
        changes = {
            name: neuron_weight_changes(weight_changes(victim, model))
            for name, model in (("clean", forgetful), ("poison", cured), ("control", other))
        }
        models = dict(zip(WHEN, (victim, forgetful, cured), strict=True))
        last = list(neuron_layers(victim))[-1]
        seen = {
            f"{name}_{when}": mean_activations(model, images.images, last)
            for when, model in models.items()
            for name, images in (("clean", untriggered), ("triggered", triggered))
        }
        about = {
            "correlation": {name: correlations(changes["clean"], changes[name]) for name in ("poison", "control")},
            "unlearning": {"clean": clean, "poison": poison},
            "acc": {when: accuracy(model, test) for when, model in models.items()},
            "asr": {when: accuracy(model, triggered) for when, model in models.items()},
        }
        return _table(changes, {last: seen}), about

    def _unlearn(self, model: Model, data: Images, epochs: int, stop: float, run: Run) -> tuple[Model, dict[str, Any]]:
        """The model that is left, and how it went: the epochs that it took, the share of `data` that still gets its
        label, the share to end at, and what was noted."""
        aside = replace(run, rows=[], notes={})
        left = unlearn(
            model,
            data,
            aside,
            epochs=epochs,
            lr=self.unlearn_lr,
            batch_size=self.batch_size,
            stop_accuracy=stop,
        )
        taken = sum(row["kind"] == "choice" for row in aside.rows)
        return left, {"epochs": taken, "kept": accuracy(left, data), "stop": stop, "notes": aside.notes}


def _table(changes: Mapping[str, PerLayer], seen: Mapping[str, Mapping[str, np.ndarray]]) -> pa.Table:
    """The rows of all layers, null what was not `seen` of a layer."""
    rows = []
    for layer, values in changes["clean"].items():
        columns = {name: own[layer].tolist() for name, own in changes.items()} | dict(seen.get(layer, {}))
        for unit in range(len(values)):
            rows.append({"layer": layer, "unit": unit} | {key: column[unit] for key, column in columns.items()})
    return arrow.to_table(rows, SCHEMA)


@torch.no_grad()
def mean_activations(model: Model, images: np.ndarray, layer: str) -> np.ndarray:
    """float64 (units,): the mean over images and space of a layer's output after a ReLU, in evaluation mode."""
    sums: list[torch.Tensor] = []
    module = model.network.get_submodule(layer)

    def add(name: str, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        active = F.relu(move_units_second(model, module, outputs).float()).movedim(1, -1).flatten(0, -2)
        sums.append(len(outputs) * active.mean(0, dtype=torch.float64).cpu())

    with watch({layer: module}, add):
        logits(model, images)
    return (torch.stack(sums).sum(0) / len(images)).numpy()


def correlations(first: PerLayer, second: PerLayer) -> dict[str, dict[str, float | None]]:
    """Spearman's and Pearson's correlation of two values of each neuron, by layer and of `all`; None where one of them
    is constant."""
    pairs = {name: torch.stack([values, second[name]]).double().cpu().numpy() for name, values in first.items()}
    pairs["all"] = np.concatenate(list(pairs.values()), axis=1)
    return {
        name: {"spearman": _correlation(np.stack([rankdata(row) for row in rows])), "pearson": _correlation(rows)}
        for name, rows in pairs.items()
    }


def _correlation(rows: np.ndarray) -> float | None:
    return float(np.corrcoef(rows)[0, 1]) if (np.ptp(rows, axis=1) > 0).all() else None
