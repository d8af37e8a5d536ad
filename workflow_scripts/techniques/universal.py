"""Universal adversarial perturbations: one change, of any image, that moves what a model answers to wanted classes."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from workflow_scripts.common.images import Images
from workflow_scripts.common.progress import report
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.inference import predict
from workflow_scripts.training.loader import to_network

OVERSHOOT = 0.02
DEEPFOOL_STEPS = 200
SETTLED = 0.01
"""The search ends when the last five fooling rates lie nearer together than this."""
Update = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The next perturbation, of the last one and of a step that would move one image: all float32 (1, C, H, W)."""


def search_perturbation(
    model: Model,
    data: Images,
    wanted: np.ndarray,
    judged: Images,
    update: Update,
    run: Run,
    *,
    epochs: int = 50,
    fooling: float = 0.2,
) -> torch.Tensor:
    """float32 (1, C, H, W) on the CPU, of images in [0, 1]: what moves the model's answers to the wanted classes, one
    for each image of `data` (Moosavi-Dezfooli et al., CVPR 2017, arXiv 1610.08401, algorithm 1, with a target).

    In each pass over `data`, in random order, an image whose answer the perturbation leaves as it was, and not as it is
    wanted, gives its shortest step to `update`. The search ends after the pass in which the answers to `fooling` of the
    `judged` images are changed, or in which that rate has settled, at the latest after `epochs` passes.
    """
    model = in_float32(model).requires_grad_(False).eval()
    device, order, rates = model.mean.device, run.torch_rng("universal/order"), list[float]()
    images, looked_at = (to_network(torch.from_numpy(part.images)).to(device) / 255 for part in (data, judged))
    before, asked = predict(model, data.images).tolist(), predict(model, judged.images)
    found = torch.zeros_like(images[:1])
    for _ in report(range(epochs), "searching a perturbation: pass", epochs):
        for row in torch.randperm(len(images), generator=order).tolist():
            moved = images[row : row + 1] + found
            if find_class(model, moved) == before[row] != wanted[row]:
                step = shortest_step(model, moved, int(wanted[row]))
                found = found if step is None else update(found, step)
        rates.append(fooling_rate(model, looked_at + found, asked))
        if rates[-1] >= fooling or has_settled(rates):
            break
    run.note(fooling_rate=rates[-1], passes=len(rates))
    return found.cpu()


def shortest_step(model: Model, image: torch.Tensor, wanted: int) -> torch.Tensor | None:
    """float32 (1, C, H, W): the step by which the model answers `wanted` to an image (1, C, H, W), as far each time as
    that class would be from the first answer if the model were linear (DeepFool with a target: Moosavi-Dezfooli, Fawzi,
    Frossard; CVPR 2016, arXiv 1511.04599); None where that does not come about."""
    step, first = torch.zeros_like(image), find_class(model, image)
    for _ in range(DEEPFOOL_STEPS):
        moved = (image + (1 + OVERSHOOT) * step).requires_grad_()
        logits = model(moved.clamp(0, 1))[0]
        if int(logits.argmax()) == wanted:
            return (1 + OVERSHOOT) * step
        distance = logits[wanted] - logits[first]
        (slope,) = torch.autograd.grad(distance, moved)
        step = step + distance.detach().abs() / slope.square().sum() * slope
        if not torch.isfinite(step).all():  # no slope leads there
            return None
    return None


@torch.no_grad()
def find_class(model: Model, image: torch.Tensor) -> int:
    """The model's answer to one image (1, C, H, W), clipped to [0, 1] as published images are."""
    return int(model(image.clamp(0, 1)).argmax())


@torch.no_grad()
def fooling_rate(model: Model, images: torch.Tensor, before: np.ndarray) -> float:
    """The share of images (N, C, H, W), clipped to [0, 1], to which the model does not answer as before."""
    return float((model(images.clamp(0, 1)).argmax(1).cpu().numpy() != before).mean())


def has_settled(rates: Sequence[float]) -> bool:
    """Whether the last five passes have found nothing better or worse."""
    return len(rates) >= 5 and max(rates[-5:]) - min(rates[-5:]) < SETTLED
