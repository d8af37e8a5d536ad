"""Adversarial Unlearning of Backdoors via Implicit Hypergradient."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from workflow_scripts.common.fields import Count, NonNegative, Positive, PositiveShare
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import HoldoutDefense
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.techniques.hypergradient import implicit_gradients
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import Step, train
from workflow_scripts.training.optimizers import SGD, TorchOptimizer
from workflow_scripts.training.transfer import send


@dataclass(frozen=True)
class ImplicitUnlearning(HoldoutDefense):
    """Unlearn the one change of all images that misleads the network most, as the network changes (Zeng, Chen, Park,
    Mao, Jin, Jia; ICLR 2022, arXiv 2110.03735).

    In each of the `rounds` a change of at most `radius` (ℓ2, of images in [0, 1]) is searched from 0 in one pass over
    the holdout, by steps of search_lr up the cross-entropy with the network's own answers, less `decay` times its
    squared norm; then one pass of Adam at lr on images of which the share `share`, at least one in a batch, carries the
    change. The gradient is implicit, in `iterations` of a fixed point whose map is one step of inner_lr down the
    search's loss, but with the true labels. All of it in float32, the normalizations in evaluation mode, without
    augmentation.

    Defaults as the authors' code has them; BackdoorBench has AMSGrad at 1e-4 and batches of 256. Differences from both:
    the ball and the clipping of images to [0, 1], of which they have the lines but commented out; the loss of the fixed
    point is that of the same batch (there always of the first); in a small batch one image carries the change (there
    none below 100 images). BackdoorBench's change is one of normalized images, augmented once.
    """

    rounds: Count = 5
    lr: Positive = 1e-3
    batch_size: Count = 100
    radius: Positive = 10.0
    search_lr: Positive = 10.0
    decay: NonNegative = 1e-3
    share: PositiveShare = 0.01
    iterations: Count = 5
    inner_lr: Positive = 0.1

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        exact = in_float32(victim)
        adam = TorchOptimizer(torch.optim.Adam(exact.network.parameters()))
        stream, recipe = run.torch_rng("i-bau/changed"), self.make_recipe(victim, self.lr)
        with sdpa_kernel(SDPBackend.MATH):  # the other kernels of attention cannot be differentiated twice
            for number in range(1, self.rounds + 1):
                change = self.search(exact, holdout, run, f"search {number}")
                step = self.make_step(exact, change, stream)
                train(exact, holdout, recipe, run, phase=f"round {number}", step=step, optimizer=adam)
        victim.network.load_state_dict(exact.network.state_dict())
        return victim

    def make_recipe(self, model: Model, lr: float) -> Recipe:
        """One plain epoch."""
        recipe = replace(model.recipe, epochs=1, lr=lr, batch_size=self.batch_size, schedule="constant")
        return replace(recipe, momentum=0.0, nesterov=False, weight_decay=0.0, crop=0, flip=False)

    def search(self, model: Model, data: Images, run: Run, phase: str) -> torch.Tensor:
        """float32 (1, C, H, W): the change."""
        height, width, channels = model.format.shape
        change = nn.Parameter(torch.zeros(1, channels, height, width, device=run.device))

        def ascend(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            images = batch.images.float() / 255
            with torch.no_grad():
                answers = model.eval()(images).argmax(1)
            logits = model((images + change).clamp(0, 1))
            loss = self.search_loss(logits, answers, change)
            (change.grad,) = torch.autograd.grad(loss, change)
            return logits, loss

        def project() -> None:
            change.data *= (self.radius / change.data.norm()).clamp(max=1)

        recipe = self.make_recipe(model, self.search_lr)
        sgd = SGD([change], recipe)
        train(model, data, recipe, run, phase=phase, step=ascend, optimizer=sgd, after_step=project)
        return change.detach()

    def search_loss(self, logits: torch.Tensor, labels: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """What the search lowers."""
        return self.decay * change.square().sum() - F.cross_entropy(logits, labels)

    def make_step(self, model: Model, change: torch.Tensor, stream: torch.Generator) -> Step:
        """A step of unlearning this change."""
        parameters = [parameter for parameter in model.network.parameters() if parameter.requires_grad]

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            images, count = batch.images.float() / 255, len(batch.labels)
            inner = change.clone().requires_grad_()
            carries = torch.zeros(count, 1, 1, 1, device=images.device)
            drawn = torch.randperm(count, generator=stream)[: max(1, int(self.share * count))]
            carries[send(drawn, images.device)] = 1
            logits = model.eval()((images + carries * inner).clamp(0, 1))
            outer = F.cross_entropy(logits, batch.labels)
            loss = self.search_loss(model((images + inner).clamp(0, 1)), batch.labels, inner)
            (slope,) = torch.autograd.grad(loss, inner, create_graph=True)
            found = implicit_gradients(outer, inner - self.inner_lr * slope, inner, parameters, self.iterations)
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.grad = gradient
            return logits, outer

        return step
