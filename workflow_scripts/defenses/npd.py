"""Neural Polarizer: A Lightweight and Effective Backdoor Defense via Purifying Poisoned Features."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Count, NonNegative, Positive, Share, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import HoldoutDefense
from workflow_scripts.networks.hooks import watch
from workflow_scripts.networks.inside import black_images
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import Step, train
from workflow_scripts.training.optimizers import SGD
from workflow_scripts.wrappers.polarizer import Polarized

ROOM = 1e-4
"""What a probability of 1 leaves to the logarithm of its complement."""


@dataclass(frozen=True)
class NeuralPolarizer(HoldoutDefense):
    """Put a small linear layer into the network, and train it alone to undo what misleads the network (Zhu, Wei, Zha,
    Wu; NeurIPS 2023, arXiv 2306.16697).

    Polarizer and normalization stand before the last convolution but one in the order of the computation, which is the
    authors' place in a PreAct-ResNet18; of a transformer before the last linear layer but one of its tokens, and of a
    head on features of its neurons. warm_epochs at warm_lr, in which the normalization learns its statistics; then
    epochs at lr, in evaluation mode. In each batch images are moved by up to `steps` steps of `step` along the signs of
    the gradient, at most `radius` (ℓ2; both of images in [0, 1]), to the wrong class that the network holds for most
    probable, until the share `fooled` gets there. The loss is the cross-entropy of the images, and of the moved ones,
    by their weights, the cross-entropy with what the network answered (`answer`), -log(1 - p) of their most probable
    wrong class (`wrong`), and of the class that they were moved to (`target`).

    Defaults and all else as the authors' code in BackdoorBench has it; but that saves the victim without the polarizer.
    The network is trained in float32.
    """

    epochs: Count = 50
    warm_epochs: Whole = 5
    lr: Positive = 0.01
    warm_lr: Positive = 1e-4
    batch_size: Count = 128
    radius: Positive = 3.0
    step: Positive = 0.1
    steps: Count = 2
    fooled: Share = 0.6
    answer: NonNegative = 0.4
    wrong: NonNegative = 0.4
    target: NonNegative = 0.4

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        model = in_float32(victim).requires_grad_(False)
        wrapper = Polarized(find_layer(model))
        model.wrap(wrapper)
        polarizer = wrapper.find_polarizer(model)
        plain = replace(model.recipe, batch_size=self.batch_size, schedule="constant", crop=0, flip=False)
        warm = replace(plain, epochs=self.warm_epochs, lr=self.warm_lr, momentum=0.0, nesterov=False, weight_decay=0.0)
        sgd = SGD(polarizer.parameters(), warm)
        train(model, holdout, warm, run, phase="warm-up", step=_warm_up(model, polarizer), optimizer=sgd)
        recipe = replace(plain, epochs=self.epochs, lr=self.lr, momentum=0.9, nesterov=False, weight_decay=5e-4)
        sgd = SGD(polarizer.parameters(), recipe)
        train(model, holdout, recipe, run, phase="npd", step=self.make_step(model), optimizer=sgd)
        return model

    def make_step(self, model: Model) -> Step:
        """A step of the polarizer."""

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            images, labels = batch.images.float() / 255, batch.labels
            with torch.no_grad():
                answers = model.eval()(images)
            aims = find_wrong(answers, labels)
            moved = self.perturb(model, images, aims)
            logits, misled = model(images), model(moved)
            away = -(1 + ROOM - misled.softmax(1)).log()
            loss = F.cross_entropy(logits, labels)
            loss = loss + self.answer * F.cross_entropy(misled, answers.argmax(1))
            for weight, classes in ((self.wrong, find_wrong(misled, labels)), (self.target, aims)):
                loss = loss + weight * away.gather(1, classes[:, None]).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            return logits, loss

        return step

    def perturb(self, model: Model, images: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
        """Float images (B, C, H, W) in [0, 1], moved towards these classes (B,)."""
        change = torch.zeros_like(images)
        for number in range(self.steps):
            change.requires_grad_()
            logits = model((images + change).clamp(0, 1))
            if number and float((logits.argmax(1) == aims).float().mean()) > self.fooled:
                break
            (slope,) = torch.autograd.grad(F.cross_entropy(logits, aims), change)
            change = change.detach() - self.step * slope.sign()
            length = change.flatten(1).norm(dim=1)[:, None, None, None]
            change = change * (self.radius / length).clamp(max=1)
        return (images + change.detach()).clamp(0, 1)


def _warm_up(model: Model, polarizer: nn.Module) -> Step:
    """A step of the cross-entropy, by the polarizer's statistics of the batch."""

    def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        model.eval()
        polarizer.train()
        logits = model(batch.images)
        loss = F.cross_entropy(logits, batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return logits, loss

    return step


def find_wrong(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """int64 (B,): the most probable class of each but its label."""
    return logits.detach().scatter(1, labels[:, None], -torch.inf).argmax(1)


@torch.no_grad()
def find_layer(model: Model) -> str:
    """The name of the last layer but one, in the order of the computation, whose inputs have places, channels (B, C, H,
    W) or tokens (B, N, D); where there is none, of all layers. UserError where there is no layer but the classifier."""
    axes: dict[str, int] = {}
    with watch(model.units(), lambda name, inputs, outputs: axes.setdefault(name, inputs.ndim)):
        model.eval()(black_images(model, 1))
    found = [name for name, count in axes.items() if count > 2] or list(axes)
    if not found:
        raise UserError(f"npd: {model.name} has no layer before its classifier, where a polarizer would stand")
    return found[-2:][0]
