"""The one training loop: victims, fine-tuning, unlearning and masks differ in their data, recipe and step."""

import functools
from collections.abc import Callable, Iterable
from itertools import islice

import torch
import torch.nn.functional as F

from workflow_scripts.common.images import Images
from workflow_scripts.common.progress import Clock, report
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.training.augmentation import Augment, crop_and_flip
from workflow_scripts.training.inference import extract_features
from workflow_scripts.training.loader import Batch, Loader, Resident, Transform
from workflow_scripts.training.optimizers import SGD, Optimizer

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits (B, K) and labels (B,) to a scalar."""
Step = Callable[[Batch], tuple[torch.Tensor, torch.Tensor]]
"""A batch to its logits (B, K) and its loss; it leaves the gradients where the optimizer finds them."""


def train(
    model: Model,
    data: Images,
    recipe: Recipe,
    run: Run,
    *,
    phase: str = "training",
    loss: Loss = F.cross_entropy,
    step: Step | None = None,
    optimizer: Optimizer | None = None,
    transform: Transform | None = None,
    augment: Augment | None = None,
    after_step: Callable[[], object] | None = None,
    until: Callable[[], bool] | None = None,
    steps: int | None = None,
    shuffled: bool = True,
) -> None:
    """Train `model` in place and log every epoch under the name of the phase, which names its random streams too.
    The job's log has a line for each as it ends.

    Args:
        step: in place of a step of `loss`. It is given images, never an extractor's features, unless `data` holds them
            (`extract_features`).
        optimizer: in place of SGD on all parameters of the model, at the recipe's learning rates.
        until: asked after each epoch, the model in evaluation mode, whether that was the last.
        steps: how many, in place of the recipe's epochs; its schedule should be `constant` then.
        shuffled: whether each epoch has an order of its own, or that of the data.

    Where the loss stops being finite, training ends there and the run notes why: that is a result, not a crash.
    """
    if step is None and not (transform or augment):
        data = extract_features(model, data, recipe)
    order = run.torch_rng(f"{phase}/order") if shuffled else None
    shifts = run.torch_rng(f"{phase}/augmentation")
    resident = Resident(data, run.device)
    loader = Loader(resident, recipe.batch_size, order, augment or crop_and_flip(recipe), shifts, transform)
    optimizer = optimizer or SGD(model.parameters(), recipe)
    step = step or make_step(model, loss)
    epochs = recipe.epochs if steps is None else -(-steps // len(loader))
    clock = Clock(f"{phase}: epoch", epochs)
    with run.seeded(f"{phase}/layers"):  # dropout, say
        for epoch in range(epochs):
            model.train()
            left = len(loader) if steps is None else min(len(loader), steps - epoch * len(loader))
            rate = functools.partial(_learning_rate, recipe, epoch, len(loader))
            batches = report(islice(loader, left), f"{phase}: batch", left)
            total, lr = _run_epoch(batches, step, optimizer, rate, after_step, run.device)
            mean, accuracy = (total[:2] / total[2]).tolist()
            run.log("epoch", phase=phase, epoch=epoch, loss=mean, accuracy=accuracy, lr=lr)
            clock.tell(epoch + 1, f"loss {mean:.4f}", f"accuracy {100 * accuracy:.2f} %")
            model.eval()
            if not torch.isfinite(total[0]):
                run.note(diverged=f"the loss of {phase} is not finite in epoch {epoch}")
                break
            if until is not None and until():
                break
    model.eval()


def _learning_rate(recipe: Recipe, epoch: int, batches: int, place: int) -> float:
    return recipe.lr_at(epoch, (epoch + place / batches) / recipe.epochs)


def _run_epoch(
    batches: Iterable[Batch],
    step: Step,
    optimizer: Optimizer,
    rate: Callable[[int], float],
    after_step: Callable[[], object] | None,
    device: torch.device,
) -> tuple[torch.Tensor, float]:
    """The sums of losses, hits and images (3,) on the CPU, and the last learning rate. The sums are kept on the device
    to the end: asking for a number each step would stall a GPU."""
    total, count, lr = torch.zeros(2, device=device), 0, 0.0
    for place, batch in enumerate(batches):
        optimizer.zero_grad()
        logits, value = step(batch)
        optimizer.step(lr := rate(place))
        if after_step is not None:
            after_step()
        hits = (logits.detach().argmax(1) == batch.labels).sum()
        total = total + torch.stack([value.detach() * len(batch.labels), hits])
        count += len(batch.labels)
    return torch.cat([total.cpu(), torch.tensor([float(count)])]), lr


def make_step(model: Model, loss: Loss) -> Step:
    """The ordinary step: the gradients of the loss of the model's logits."""

    def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(batch.images)
        value = loss(logits, batch.labels)
        value.backward()  # type: ignore[no-untyped-call]
        return logits, value

    return step
