"""How strongly unlearning pulls at each neuron of a victim, beside the clean model."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.common import arrow
from workflow_scripts.common.fields import Count, Positive, Size
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loop import Loss, train
from workflow_scripts.units.weight_change import PerLayer, neuron_layers

SCHEMA = pa.schema([("layer", pa.string()), ("unit", pa.int64()), ("victim", pa.float64()), ("clean", pa.float64())])


@dataclass(frozen=True)
class GradientNorms(Analysis):
    """The activeness of each neuron of the victim and of the clean model (Lin et al., TSBD; NeurIPS 2024, arXiv
    2405.20291, observation 2): the sum of |gradient| over its weights, mean over the batches of one epoch of clean
    unlearning.

    For the `last` layer and for `all`: `larger`, the share of neurons whose norm is larger in the victim than that of
    the same place in the clean model, which began with the same weights, and the medians of both models. `loss`: their
    mean cross-entropy in that epoch. Gradients grow with it: neurons are more active than the model's fit to the
    holdout explains only as far as the ratio of the norms exceeds that of the losses.
    """

    holdout_size: Size = 0.05
    unlearn_lr: Positive = 1e-4
    batch_size: Count = 256

    def __call__(self, victim: Model, clean_victim: Model, holdout: Images, run: Run) -> Measured:
        found, losses = {}, {}
        for name, model in (("victim", victim), ("clean", clean_victim)):
            found[name], losses[name] = self._norms(model, holdout, run)
        units = {layer: len(norms) for layer, norms in found["victim"].items()}
        columns = {name: torch.cat(list(norms.values())).double().cpu().numpy() for name, norms in found.items()}
        place = {
            "layer": np.repeat(list(units), list(units.values())),
            "unit": np.concatenate([np.arange(count) for count in units.values()]),
        }
        last = {name: norms[-list(units.values())[-1] :] for name, norms in columns.items()}
        about = {"last": _summary(**last), "all": _summary(**columns), "loss": losses}
        return pa.table({key: arrow.to_column(values) for key, values in (place | columns).items()}, SCHEMA), about

    def _norms(self, model: Model, holdout: Images, run: Run) -> tuple[PerLayer, float]:
        """Means over one epoch of ascent, which a copy of the model takes: norms (units,) by layer, and the loss."""
        recipe = replace(model.recipe, epochs=1, lr=self.unlearn_lr, batch_size=self.batch_size, schedule="constant")
        recipe = replace(recipe, momentum=0.9, nesterov=False, weight_decay=0.0)
        ascending, aside = copy.deepcopy(model), replace(run, rows=[], notes={})
        ascent: Loss = lambda logits, labels: -F.cross_entropy(logits, labels)  # noqa: E731
        norms: list[PerLayer] = []

        def record() -> None:
            gradients = {name: layer.weight.grad for name, layer in neuron_layers(ascending).items()}
            norms.append({name: gradient.abs().flatten(1).sum(1) for name, gradient in gradients.items()})  # type: ignore[union-attr, operator]

        train(ascending, holdout, recipe, aside, phase="unlearning", loss=ascent, after_step=record, shuffled=False)
        means = {name: torch.stack([batch[name] for batch in norms]).mean(0) for name in norms[0]}
        return means, -aside.rows[0]["loss"]


def _summary(victim: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    medians = {"victim": float(np.median(victim)), "clean": float(np.median(clean))}
    return {"larger": float((victim > clean).mean()), **medians}
