"""Adversarial perturbation: images moved a little, to where a network is wrong about them."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F

from workflow_scripts.common.fields import Count, Positive
from workflow_scripts.common.images import Images
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.inference import iterate_batches
from workflow_scripts.training.loop import Loss
from workflow_scripts.training.transfer import send

AT_ONCE = 128


@dataclass(frozen=True)
class Adversary:
    """Projected gradient ascent on a loss, in pixels, before a model's normalization (Madry, Makelov, Schmidt, Tsipras,
    Vladu; ICLR 2018, arXiv 1706.06083).

    norm: that of the ball, and of a step: `linf` goes along the signs of the gradient, `l2` along the gradient.
    eps: the radius of the ball; step: the length of each of the `steps`; both in gray levels of 255, those of `l2` over
    all pixels of an image. random_start: from a place in the ball drawn uniformly, not from the image.
    """

    norm: Literal["linf", "l2"] = "linf"
    eps: Positive = 8.0
    step: Positive = 2.0
    steps: Count = 10
    random_start: bool = True

    def perturb(
        self,
        model: Model,
        images: torch.Tensor,
        labels: torch.Tensor,
        stream: torch.Generator,
        loss: Loss = F.cross_entropy,
    ) -> torch.Tensor:
        """float32 (B, C, H, W) in [0, 1]: images (B, C, H, W), uint8 or float in [0, 1], moved so as to raise the loss
        of these labels (B,); the model stays in its mode, and no gradient is left on its parameters.

        Of a loss that sums or averages over the images, each goes its own way: neither kind of step has a scale.
        """
        clean = images.float() / 255 if images.dtype == torch.uint8 else images
        moved = self._start(clean, stream) if self.random_start else clean
        for _ in range(self.steps):
            moved = moved.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(model(moved), labels), moved)
            moved = self._project(clean, moved + self.step / 255 * self._direction(gradient))
        return moved.detach()

    def perturb_all(self, model: Model, data: Images, stream: torch.Generator) -> Images:
        """The data with images that the model, in evaluation mode and in float32, is led to take for another class;
        rounded. A model whose answers hang on the batch is asked as one that sees each image by itself, if it can be.
        """
        exact = in_float32(model).requires_grad_(False).eval()
        alone = [protocol for protocol in exact.protocols if not protocol.batch]
        if exact.wrapper and alone:
            exact.wrapper.ask(exact, alone[0])
        images = data.images.copy()
        for number, batch in enumerate(iterate_batches(exact, data.images, AT_ONCE)):
            rows = slice(number * AT_ONCE, (number + 1) * AT_ONCE)
            labels = torch.from_numpy(data.labels[rows]).to(batch.device)
            moved = self.perturb(exact, batch, labels, stream)
            images[rows] = (255 * moved).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return replace(data, images=images)

    def _start(self, clean: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
        """A place in the ball around each image, cut to [0, 1]."""
        shape = tuple(clean.shape)
        if self.norm == "linf":
            noise = 2 * torch.rand(shape, generator=stream) - 1
        else:
            noise = _normalize(torch.randn(shape, generator=stream))
            noise *= torch.rand(len(clean), 1, 1, 1, generator=stream) ** (1 / noise[0].numel())
        return (clean + self.eps / 255 * send(noise, clean.device)).clamp(0, 1)

    def _direction(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.sign() if self.norm == "linf" else _normalize(gradient)

    def _project(self, clean: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        """The nearest place that is in the ball, and then in [0, 1], which takes nothing out of the ball."""
        change, radius = moved - clean, self.eps / 255
        if self.norm == "linf":
            change = change.clamp(-radius, radius)
        else:
            change = change * (radius / _length(change)).clamp(max=1)
        return (clean + change).clamp(0, 1)


def _length(change: torch.Tensor) -> torch.Tensor:
    """(B, 1, 1, 1): the Euclidean length of each image's change, never 0."""
    return change.flatten(1).norm(dim=1).clamp(min=torch.finfo(change.dtype).tiny)[:, None, None, None]


def _normalize(change: torch.Tensor) -> torch.Tensor:
    """Each image's change at length 1; none where there is none."""
    return change / _length(change)
