"""The one training loop: victims, fine-tuning and unlearning differ in their data, recipe and loss."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.models import Model
from workflow_scripts.training.inference import cached
from workflow_scripts.training.loader import Augment, Resident, crop_and_flip, to_network
from workflow_scripts.training.recipe import Recipe
from workflow_scripts.training.sgd import SGD

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits (B, K) and labels (B,) to a scalar."""
Alter = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""uint8 images (B, H, W, C) and their positions in the dataset to uint8 images, before augmentation."""
Gradients = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""A batch (B, C, H, W) and labels (B,) to logits and loss; it leaves the gradients in the model's parameters."""


def train(
    model: Model,
    data: Images,
    recipe: Recipe,
    run: Run,
    *,
    phase: str = "training",
    loss: Loss = F.cross_entropy,
    alter: Alter | None = None,
    augment: Augment | None = None,
    gradients: Gradients | None = None,
    after_step: Callable[[], None] | None = None,
    until: Callable[[], bool] | None = None,
    shuffled: bool = True,
) -> None:
    """Train `model` in place and log every epoch under the name of the phase.

    gradients: in place of those of `loss`. until: asked after each epoch, the model in evaluation mode, whether that
    was the last. Where the loss stops being finite, training ends there and the run notes why: that is a result, not
    a crash.
    """
    resident = Resident(data if alter or augment else cached(model, data, recipe), run.device)
    order = run.torch(f"{phase}/order") if shuffled else None
    shifts = run.torch(f"{phase}/augmentation")
    augment = augment or crop_and_flip(recipe)
    sgd = SGD(model.parameters(), recipe)
    gradients = gradients or _gradients(model, loss)
    steps = resident.batch_count(recipe.batch_size)
    for epoch in range(recipe.epochs):
        model.train()
        total = torch.zeros(3, device=run.device)  # summed there: asking for a number each step would stall a GPU
        for step, positions in enumerate(resident.batches(recipe.batch_size, order)):
            images, labels = resident.images[positions], resident.labels[positions]
            if alter is not None:
                images = alter(images, positions)
            sgd.zero_grad()
            logits, value = gradients(to_network(augment(images, shifts)), labels)
            lr = recipe.lr_at(epoch, (epoch + step / steps) / recipe.epochs)
            sgd.step(lr)
            if after_step is not None:
                after_step()
            hits = (logits.detach().argmax(1) == labels).sum()
            total += torch.stack([value.detach() * len(labels), hits, hits.new_tensor(len(labels))])
        mean, accuracy = (total[:2] / total[2]).tolist()
        run.log("epoch", phase=phase, epoch=epoch, loss=mean, accuracy=accuracy, lr=lr)
        model.eval()
        if not torch.isfinite(total[0]):
            run.note(diverged=f"the loss of {phase} is not finite in epoch {epoch}")
            break
        if until is not None and until():
            break
    model.eval()


def _gradients(model: Model, loss: Loss) -> Gradients:
    def of(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(images)
        value = loss(logits, labels)
        value.backward()  # type: ignore[no-untyped-call]
        return logits, value

    return of
