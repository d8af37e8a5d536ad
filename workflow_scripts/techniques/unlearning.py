"""Clean unlearning: gradient ascent on the loss of images that a model knows."""

import copy
import math
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.training.augmentation import crop_and_flip
from workflow_scripts.training.inference import extract_features, logits, predicted_class
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import Loss, Step, make_step, train


def unlearn(
    model: Model,
    data: Images,
    run: Run,
    *,
    epochs: int = 1000,
    lr: float = 1e-4,
    batch_size: int = 256,
    stop_accuracy: float = 0.1,
    weight_decay: float = 0.0,
    max_norm: float = math.inf,
    shuffled: bool = False,
    online: bool = False,
    tenth_after: int | None = None,
) -> Model:
    """A copy of the model after gradient ascent on the cross-entropy of `data`, until the accuracy there, asked in
    evaluation mode after each epoch, is at most `stop_accuracy` (TSBD, stage 1; the defaults are its official code's).

    Batches come in the order of the data, with the recipe's augmentation; so do the images that are asked about. Each
    accuracy is logged. In float32: the steps are small. Of an ascent that ends in answers that are not finite, the
    weights of the last epoch before are returned, and the run notes it.

    max_norm: longer gradients, of all parameters together, are shortened to it. online: the accuracy is that of the
    epoch's batches, each answered before its step, in place of another question. tenth_after: the epochs after which
    the learning rate is a tenth.
    """
    recipe = replace(model.recipe, epochs=epochs, lr=lr, batch_size=batch_size, schedule="constant")
    recipe = replace(recipe, momentum=0.9, nesterov=False, weight_decay=weight_decay)
    ascending, data = in_float32(model), extract_features(model, data, recipe)
    augment, shifts = crop_and_flip(recipe), run.torch_rng("unlearning/asked")
    aside = replace(run, notes={})  # `diverged` would be said of the defended model, which is another one
    finite, done = copy.deepcopy(ascending.network.state_dict()), 0

    def stop() -> bool:
        nonlocal done
        outputs = logits(ascending, augment(torch.from_numpy(data.images), shifts).numpy())
        if not torch.isfinite(outputs).all():
            aside.note(diverged="its outputs are not finite")
            return True
        finite.update(copy.deepcopy(ascending.network.state_dict()))
        done += 1
        kept = float((predicted_class(outputs) == data.labels).mean())
        kept = aside.rows[-1]["accuracy"] if online else kept
        run.log("choice", name="unlearning epochs", value=done, holdout_accuracy=kept)
        return kept <= stop_accuracy

    step = make_ascent(ascending, max_norm)
    if tenth_after is not None:
        recipe = FallingRecipe(**asdict(recipe), tenth_after=tenth_after)
    train(ascending, data, recipe, aside, phase="unlearning", step=step, until=stop, shuffled=shuffled)
    if "diverged" in aside.notes:
        run.note(unlearning=f"not finite after epoch {done}, whose weights are compared")
    ascending.network.load_state_dict(finite)
    return ascending


@dataclass(frozen=True)
class FallingRecipe(Recipe):
    """The learning rate is a tenth after so many epochs."""

    tenth_after: int = 0

    def lr_at(self, epoch: int, fraction: float) -> float:
        return super().lr_at(epoch, fraction) / (10 if epoch >= self.tenth_after else 1)


def make_ascent(model: Model, max_norm: float) -> Step:
    """The step of gradient ascent on the cross-entropy, its gradient shortened to `max_norm` where it is longer."""
    ascent: Loss = lambda outputs, labels: -F.cross_entropy(outputs, labels)  # noqa: E731
    ordinary = make_step(model, ascent)

    def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        made = ordinary(batch)
        if max_norm < math.inf:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        return made

    return step
