"""Clean unlearning: gradient ascent on the loss of images that a model knows."""

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.augmentation import crop_and_flip
from workflow_scripts.training.inference import extract_features, logits, predicted_class
from workflow_scripts.training.loop import Loss, train


def unlearn(
    model: Model,
    data: Images,
    run: Run,
    *,
    epochs: int = 1000,
    lr: float = 1e-4,
    batch_size: int = 256,
    stop_accuracy: float = 0.1,
) -> Model:
    """A copy of the model after gradient ascent on the cross-entropy of `data`, until the accuracy there, asked in
    evaluation mode after each epoch, is at most `stop_accuracy` (stage 1; the defaults are the official code's).

    Batches come in the order of the data, with the recipe's augmentation; so do the images that are asked about. Each
    accuracy is logged. In float32: the steps are small. Of an ascent that ends in answers that are not finite, the
    weights of the last epoch before are returned, and the run notes it.
    """
    recipe = replace(model.recipe, epochs=epochs, lr=lr, batch_size=batch_size, schedule="constant")
    recipe = replace(recipe, momentum=0.9, nesterov=False, weight_decay=0.0)
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
        run.log("choice", name="unlearning epochs", value=done, holdout_accuracy=kept)
        return kept <= stop_accuracy

    ascent: Loss = lambda outputs, labels: -F.cross_entropy(outputs, labels)  # noqa: E731
    train(ascending, data, recipe, aside, phase="unlearning", loss=ascent, until=stop, shuffled=False)
    if "diverged" in aside.notes:
        run.note(unlearning=f"not finite after epoch {done}, whose weights are compared")
    ascending.network.load_state_dict(finite)
    return ascending
