"""The input-aware attack beside BackdoorBench's: networks and single steps from equal weights, and short trainings.

    python -m benchmarks.attacks.input_aware BACKDOORBENCH > benchmarks/attacks/input_aware.md

BACKDOORBENCH: a checkout of SCLBD/BackdoorBench.
"""

import copy
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.attacks._official import Batches, Setting, describe, load, official_arguments, optimizer_of, other_rows
from workflow_scripts.attacks._generators import EncoderDecoder, InputAwareTrigger
from workflow_scripts.attacks.input_aware import BETAS, MILESTONES, InputAware, put_on_batch
from workflow_scripts.common.images import Images
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model

SEEDS = (0, 1)
COUNT = 60
"""Images of the step that is compared: a tenth of them is a whole number."""
ATTACK = InputAware(choice="batch", mask_epochs=5, training="recipe", gradients="accumulated")
"""With networks of the official width."""
INTRODUCTION = """\
# The input-aware attack beside BackdoorBench's

`python -m benchmarks.attacks.input_aware BACKDOORBENCH`, one thread of a CPU; the networks and loops of
`attack/inputaware.py`, run from the file. One batch of 60 digits, networks of the official width, equal weights,
float64 but for the victim's classifier. Gradients of biases before batch normalization are 0 but for rounding, and left
out.

BackdoorBench's networks end in a hyperbolic tangent too many: its generator keeps one as a part of itself and passes
images through all of its parts, then takes the tangent. So its patterns have values from 0.12 to 0.88. The authors'
code (`VinAIResearch/input-aware-backdoor-attack-release`) has one, and so it is here; the table is with that part
removed, but for its first row.

| | here | official, or its largest value | largest difference |
|---|---|---|---|"""
TRAININGS = """
Short trainings: the same untrained networks, five epochs of the mask, then 16 with the victim, whose learning rate
falls along a cosine; batches in the same order, no augmentation. ACC, ASR, and test images under another one's trigger
that get their own label, in percent. The official loop triggers 6 images of 64, here 6.4 in the mean; it never zeroes
the generator's gradients, which `zeroed` does.

| seed | what | ACC | ASR | covers |
|---|---|---|---|---|"""


def main(checkout: str) -> None:
    """Print the comparison as Markdown."""
    module = load(Path(checkout), "inputaware")
    print(INTRODUCTION)
    for row in compare_steps(module, Setting(0)):
        print(row)
    print(TRAININGS, flush=True)
    for setting in map(Setting, SEEDS):
        made = {"official": train_there(module, setting, repaired=False)}
        made["official, one tangent"] = train_there(module, setting)
        for gradients in ("accumulated", "zeroed"):
            made[f"here, {gradients}"] = train_here(replace(ATTACK, gradients=gradients), setting)
        for name, (model, trigger) in made.items():
            print(f"| {setting.seed} | {name} | {judge(model, trigger, setting)} |", flush=True)


@dataclass
class Official:
    """The class of BackdoorBench with a trigger's networks, as its loops are given them."""

    module: ModuleType
    trigger: InputAwareTrigger
    args: SimpleNamespace
    repaired: bool = True

    def __post_init__(self) -> None:
        self.attack = self.module.InputAware()
        self.attack.device, self.attack.threshold = "cpu", self.module.Threshold()
        self.attack.normalizer = lambda images: (images - self.trigger.mean) / self.trigger.std
        with patch.multiple(self.module.InputAwareGenerator, _get_normalize=MagicMock(), _get_denormalize=MagicMock()):
            self.masker = self.module.InputAwareGenerator(self.args, out_channels=1)
            self.generator = self.module.InputAwareGenerator(self.args)
        for ours, theirs in ((self.trigger.mask, self.masker), (self.trigger.pattern, self.generator)):
            copy_weights(ours, theirs.to(self.trigger.mean.dtype))
            if self.repaired:
                del theirs.tanh

    def train_mask(self, optimizer: torch.optim.Optimizer, first: Batches, second: Batches) -> None:
        """An epoch of the mask."""
        with patch.object(self.module, "progress_bar"):
            self.attack.train_mask_step(self.masker, optimizer, MagicMock(), first, second, self.args)

    def train(self, model: Model, optimizers: list[Any], first: Batches, second: Batches) -> float:
        """An epoch of the victim and the generator, by the optimizer and the rates of either; its mean loss."""
        networks = model.network, self.generator, self.masker
        return float(self.attack.train_step(*networks, *optimizers, first, second, self.args)[0])


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """From one network to another whose layers are the same in order."""
    for here, there in zip(layers_of(source), layers_of(target), strict=True):
        there.load_state_dict(here.state_dict())


def layers_of(network: nn.Module) -> list[nn.Module]:
    """Its layers that have weights, in the order in which an image passes them."""
    parts = [network.down, network.middle, network.up] if isinstance(network, EncoderDecoder) else [network]
    layers = (module for part in parts for module in part.modules())  # type: ignore[union-attr]
    return [module for module in layers if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]


def untrained_trigger(setting: Setting) -> InputAwareTrigger:
    """As our attack begins."""
    with setting.run.seeded("generators"):
        return InputAwareTrigger(setting.read()[0].format, ATTACK.width)


def arguments() -> SimpleNamespace:
    """The official configuration, which has our defaults."""
    return official_arguments(
        dataset="digits",
        input_channel=3,
        C_lr_scheduler="",
        lambda_div=ATTACK.diversity_weight,
        lambda_norm=ATTACK.density_weight,
        mask_density=ATTACK.density,
        EPSILON=1e-7,
    )


def adam(network: nn.Module) -> torch.optim.Optimizer:
    """For either network of a trigger."""
    return torch.optim.Adam(network.parameters(), lr=ATTACK.generator_lr, betas=BETAS)


def gather_optimizers(model: Model, official: Official) -> list[Any]:
    """The victim's, the generator's, and what changes the learning rate of either; the generator's stays."""
    sgd, rates = optimizer_of(model)
    return [sgd, adam(official.generator), rates, MagicMock()]


def compare_steps(module: ModuleType, setting: Setting) -> Iterator[str]:
    """Rows: what the networks answer, then the losses and gradients of one step of each loop."""
    train, model, trigger = setting.read()[0][:COUNT], setting.build().double(), untrained_trigger(setting).double()
    model.recipe = replace(model.recipe, batch_size=COUNT)
    model.classifier.float()  # which casts what it is given
    official, victim = Official(module, trigger, arguments()), copy.deepcopy(model)
    first, second = (Batches(train, model, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    units = [batches[0][0] * model.std + model.mean for batches in (first, second)]
    twice = Official(module, trigger, arguments(), repaired=False).generator
    pattern, mask = (network(first[0][0]) for network in (official.generator, official.masker))
    patterns = trigger.make_patterns(units[0])
    yield describe_gap("patterns, two tangents there", patterns, twice(first[0][0]))
    yield describe_gap("patterns", patterns, pattern)
    yield describe_gap("masks", trigger.make_masks(units[0]), official.attack.threshold(mask))
    copy_weights(trigger.mask, official.masker)
    copy_weights(trigger.pattern, official.generator)

    official.train_mask(adam(official.masker), first, second)
    ATTACK.mask_loss(trigger, *units).backward()
    yield describe_gap("gradients of the mask's loss", gradients_of(trigger.mask), gradients_of(official.masker))

    trigger.mask.eval().requires_grad_(False)
    copy_weights(trigger.mask, official.masker.eval().requires_grad_(False))
    there = official.train(victim, gather_optimizers(victim, official), first, second)
    count = COUNT // 10
    rows, labels = torch.arange(COUNT), first[0][1].clone()
    labels[:count] = ATTACK.target
    others = units[1][count : 2 * count]
    images, apart = put_on_batch(trigger, units[0], others, rows[:count], rows[count : 2 * count])
    logits = model.network.train()(model.embed(images))
    loss = F.cross_entropy(logits, labels) + ATTACK.diversity_weight * apart
    loss.backward()
    here = loss.item()
    yield f"| loss of one step | {here:.6f} | {there:.6f} | {abs(here - there):.1e} |"
    yield describe_gap("gradients of the generator", gradients_of(trigger.pattern), gradients_of(official.generator))
    yield describe_gap("gradients of the victim", gradients_of(model.network), gradients_of(victim.network))


def gradients_of(network: nn.Module) -> torch.Tensor:
    """All of them, but for biases of convolutions, in the order of the layers."""
    layers = layers_of(network) if not hasattr(network, "linear") else list(network.modules())
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    return torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None])


def describe_gap(name: str, ours: torch.Tensor, theirs: torch.Tensor) -> str:
    """A row: largest values, and the largest difference."""
    return f"| {name} | {ours.abs().max():.6f} | {theirs.abs().max():.6f} | {(ours - theirs).abs().max():.1e} |"


Made = tuple[Model, InputAwareTrigger]


def train_here(attack: InputAware, setting: Setting) -> Made:
    """What our attack makes of digits."""
    model, kept = setting.build(), untrained_trigger(setting)
    with patch("workflow_scripts.attacks.input_aware.InputAwareTrigger", lambda form, width: kept):
        attack(train=setting.read()[0], model=model, ratio=0.1, run=setting.run)
    return model, kept


def train_there(module: ModuleType, setting: Setting, repaired: bool = True) -> Made:
    """What the official loops make, its networks' weights put back into ours, with as many tangents."""
    train, model, trigger = setting.read()[0], setting.build(), untrained_trigger(setting)
    official, run = Official(module, trigger, arguments(), repaired), setting.run
    orders = [run.torch_rng(f"mask/order {number}") for number in (1, 2)]
    optimizer = adam(official.masker)
    for epoch in range(ATTACK.mask_epochs):
        passed = sum(epoch >= share * ATTACK.mask_epochs for share in MILESTONES)
        optimizer.param_groups[0]["lr"] = ATTACK.generator_lr / 10**passed
        official.train_mask(optimizer, *(Batches(train, model, order) for order in orders))
    official.masker.eval().requires_grad_(False)
    orders = [run.torch_rng("training/order"), run.torch_rng("second order")]
    optimizers = gather_optimizers(model, official)
    for _ in range(model.recipe.epochs):
        official.train(model, optimizers, *(Batches(train, model, order) for order in orders))
    copy_weights(official.masker, trigger.mask)
    copy_weights(official.generator, trigger.pattern)
    if not repaired:
        for network in (trigger.mask, trigger.pattern):
            network.up[-1].append(nn.Tanh())  # type: ignore[union-attr, operator]
    return model.eval(), trigger.eval()


def judge(model: Model, trigger: InputAwareTrigger, setting: Setting) -> str:
    """ACC, ASR and covers, as cells."""
    test: Images = setting.read()[1]
    others = torch.from_numpy(test.images)[other_rows(len(test), setting)]

    def put(images: np.ndarray, sources: torch.Tensor | None = None) -> np.ndarray:
        given = torch.from_numpy(images)
        return trigger.change(given, given if sources is None else sources).contiguous().numpy()

    return describe(model, setting, ATTACK, put, lambda images: put(images, others))


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
