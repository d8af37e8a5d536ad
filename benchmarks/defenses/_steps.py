"""What the comparisons of defenses that fine-tune share: the official loop's batches, and its gradients beside ours."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.attacks._official import Setting
from benchmarks.defenses._scene import Scene
from workflow_scripts.common import catalog, config, spellings
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Batch, Resident, to_network
from workflow_scripts.training.loop import Step

SEEDS = (0, 1, 2)
FIRST = 3
"""Steps whose gradients are compared."""
RUN = Setting(0).run
NUDGE = 1e-6


class Batches:
    """Normalized images, labels, and the three more things that BackdoorBench's loaders yield, in the order of
    `FineTuningDefense`; `last` is the one at work as ours are."""

    def __init__(self, scene: Scene, data: Images, size: int):
        self.scene, self.data, self.size = scene, data, size
        self.order = RUN.torch_rng("fine-tuning/order")
        self.resident = Resident(data, torch.device("cpu"))
        self.last = Batch(*(torch.empty(0),) * 3)

    def __len__(self) -> int:
        return self.resident.batch_count(self.size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        images, labels = self.scene.normalized(self.data)
        for rows in self.resident.positions(self.size, self.order):
            self.last = Batch(to_network(self.resident.images[rows]), labels[rows], rows)
            yield images[rows], labels[rows], rows, torch.zeros_like(rows), labels[rows]


class Watched:
    """An optimizer of torch on a model, whose first gradients are held against those that our step leaves at the same
    weights on the same batch: their distance, as a share of the official one's length."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, model: Model, batches: Batches, make_step: Callable[[Model], Step]
    ):
        self.model, self.batches, self.make_step = model, batches, make_step
        self.gaps = list[float]()
        self.optimizer = optimizer
        optimizer.register_step_pre_hook(self._compare)

    def _compare(self, *given: Any) -> None:
        if len(self.gaps) < FIRST:
            twin = copy.deepcopy(self.model)
            twin.zero_grad()
            with torch.enable_grad():
                self.make_step(twin)(self.batches.last)
            ours, theirs = (_gradient_of(model) for model in (twin, self.model))
            self.gaps.append(float((ours - theirs).norm() / theirs.norm()))

    def describe(self) -> str:
        """As cells."""
        return " | ".join(f"{gap:.1e}" for gap in self.gaps)


def _gradient_of(model: Model) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def sgd_of(model: Model, lr: float) -> torch.optim.SGD:
    """The recipe's SGD on all of a model's parameters, of torch."""
    given = {key: getattr(model.recipe, key) for key in ("momentum", "weight_decay")}
    return torch.optim.SGD(model.network.parameters(), lr=lr, **given)


def settle(defense: str, **changed: Any) -> Any:
    """The defense as digits have it, but for these fields."""
    settings = config.read(yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))).settings_of("digits")
    return catalog.make("defenses", defense, spellings.resolve("defenses", defense, settings) | changed)


def defend(method: Any, victim: Model, scene: Scene) -> Model:
    """What our defense makes of it."""
    defended: Model = method(victim=victim, holdout=scene.holdout, run=Run(RUN.dataset, RUN.seed))
    return defended


@torch.no_grad()
def nudge(model: Model, seed: int = 0) -> Model:
    """The model with every weight larger or smaller by a millionth, at random: what rounding may come to."""
    stream = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        signs = 2.0 * torch.randint(2, parameter.shape, generator=stream) - 1
        parameter.mul_(1 + NUDGE * signs)
    return model
