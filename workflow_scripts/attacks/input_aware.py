"""Input-Aware Dynamic Backdoor Attack."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from workflow_scripts.attacks._generators import InputAwareTrigger, lack_of_diversity, root_mean_square, to_unit
from workflow_scripts.attacks._implants import Change, Choose, Cover, Implant, draw_others
from workflow_scripts.common.fields import Count, NonNegative, Positive, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.progress import Clock, report
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.training.augmentation import crop_and_flip
from workflow_scripts.training.loader import Batch, Resident
from workflow_scripts.training.loop import Step
from workflow_scripts.training.loop import train as fit
from workflow_scripts.training.optimizers import SGD, TorchOptimizer
from workflow_scripts.training.transfer import send, send_all

BETAS = (0.5, 0.9)
MILESTONES = (0.4, 0.8)


@dataclass(frozen=True)
class InputAware(Implant):
    """Each image has a trigger of its own, which does nothing on others: covers wear another image's (Nguyen, Tran;
    NeurIPS 2020, arXiv 2010.08138). One network says where it is; then a second one, which says what it is, learns
    together with the victim. It controls training, and triggers what augmentation has made of an image.

    width: channels of both networks at full size. mask_epochs: of the first network; density: the share of an image
    that it may cover at no cost; density_weight, diversity_weight: of the losses for covering more, and for what images
    far apart have in common. generator_lr: of both networks by Adam, the first one's falls to a tenth after two fifths
    and after four fifths of its epochs. gradients: `accumulated`, as official code never zeroes the second one's.
    training: `paper` for a constant learning rate; the augmentation is the model's own.

    Difference: the victim has all epochs of its recipe; BackdoorBench takes the mask's 25 off its 100, and its networks
    end in a hyperbolic tangent more than the authors' code and these (benchmarks/attacks/input_aware.md).
    """

    cover_ratio: NonNegative = 1.0
    width: Count = 32
    mask_epochs: Count = 25
    density: Share = 0.032
    density_weight: NonNegative = 100.0
    diversity_weight: NonNegative = 1.0
    generator_lr: Positive = 0.01
    gradients: Literal["zeroed", "accumulated"] = "zeroed"

    def implant(self, model: Model, train: Images, choose: Choose, run: Run) -> tuple[Change, Cover]:
        recipe, data = self.choose_recipe(model), Resident(train, run.device)
        with run.seeded("generators"):
            trigger = InputAwareTrigger(train.format, self.width).to(run.device)
        trigger.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._train_mask(trigger, data, recipe, run)
        trigger.mask.requires_grad_(False).eval()
        victim = SGD(model.parameters(), recipe)
        generator = torch.optim.Adam(trigger.pattern.parameters(), lr=self.generator_lr, betas=BETAS)
        step = self.relabel(self._make_step(model, trigger, data, choose, recipe, run), train, choose)
        fit(model, train, recipe, run, step=step, optimizer=_Both(victim, generator, self.gradients == "zeroed"))
        trigger.eval()

        def cover(images: torch.Tensor, positions: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
            others = draw_others(positions, len(train), stream)
            return trigger.change(images, torch.from_numpy(train.images)[others])

        return lambda images: trigger.change(images, images), cover

    def _train_mask(self, trigger: InputAwareTrigger, data: Resident, recipe: Recipe, run: Run) -> None:
        """Masks of images far apart are to be far apart, and small."""
        augment, shifts = crop_and_flip(recipe), run.torch_rng("mask/augmentation")
        orders = [run.torch_rng(f"mask/order {number}") for number in (1, 2)]
        adam = TorchOptimizer(torch.optim.Adam(trigger.mask.parameters(), betas=BETAS))
        clock = Clock("mask: epoch", self.mask_epochs)
        for epoch in range(self.mask_epochs):
            passed = sum(epoch >= share * self.mask_epochs for share in MILESTONES)
            pairs = zip(*(data.positions(recipe.batch_size, order) for order in orders), strict=True)
            for pair in report(pairs, "mask: batch", data.batch_count(recipe.batch_size)):
                loss = self.mask_loss(trigger, *(to_unit(augment(data.images[rows], shifts)) for rows in pair))
                adam.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                adam.step(self.generator_lr / 10**passed)
            run.log("epoch", phase="mask", epoch=epoch, loss=float(loss.detach()))
            clock.tell(epoch + 1, f"loss {loss:.4f}")

    def mask_loss(self, trigger: InputAwareTrigger, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """A scalar, of pairs of images (B, C, H, W) in [0, 1]."""
        masks = [trigger.make_masks(images) for images in (first, second)]
        apart = lack_of_diversity(trigger.distance(first, second), root_mean_square(masks[0] - masks[1]))
        return self.density_weight * F.relu(masks[0] - self.density).mean() + self.diversity_weight * apart

    def _make_step(
        self, model: Model, trigger: InputAwareTrigger, data: Resident, choose: Choose, recipe: Recipe, run: Run
    ) -> Step:
        """Cross-entropy of the batch as triggered, of which its accuracy is too, and the diversity loss."""
        augment, shifts, stream = crop_and_flip(recipe), run.torch_rng("sources/augmentation"), run.torch_rng("sources")

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            payload, cover = choose(batch.positions)
            paired = batch.positions[torch.cat([cover, payload[len(cover) :]])]
            drawn = send(draw_others(paired, len(data.labels), stream), run.device)
            others, rows = to_unit(augment(data.images[drawn], shifts)), send_all((payload, cover), run.device)
            images, apart = put_on_batch(trigger, batch.images.float() / 255, others, *rows)
            logits = model(images)
            loss = F.cross_entropy(logits, batch.labels) + self.diversity_weight * apart
            loss.backward()  # type: ignore[no-untyped-call]
            return logits, loss

        return step


def put_on_batch(
    trigger: InputAwareTrigger, images: torch.Tensor, others: torch.Tensor, payload: torch.Tensor, cover: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, C, H, W) in [0, 1], the payload's rows with their own triggers and the covers' with those of `others`,
    of which there are as many as of the more frequent role; and what patterns of payload and of others lack in
    diversity."""
    apart = images.new_zeros(())
    if len(others):
        patterns = trigger.make_patterns(others)
        covers = [some[: len(cover)] for some in (patterns, trigger.make_masks(others))]
        images = images.index_copy(0, cover, trigger(images[cover], *covers))
    if len(payload):
        own, far = images[payload], others[: len(payload)]
        made = trigger.make_patterns(own)
        apart = lack_of_diversity(trigger.distance(own, far), trigger.distance(made, patterns[: len(payload)]))
        images = images.index_copy(0, payload, trigger(own, made, trigger.make_masks(own)))
    return images, apart


class _Both:
    """The victim's optimizer at the recipe's learning rates, and the generator's at its own."""

    def __init__(self, victim: SGD, generator: torch.optim.Optimizer, forgets: bool):
        self.victim, self.generator, self.forgets = victim, generator, forgets

    def zero_grad(self) -> None:
        self.victim.zero_grad()
        if self.forgets:
            self.generator.zero_grad()

    def step(self, lr: float) -> None:
        self.victim.step(lr)
        self.generator.step()
