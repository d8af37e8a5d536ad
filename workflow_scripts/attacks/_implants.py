"""Attacks that control training: they say for each batch which images are payload and which are covers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.attacks import DataPoison, Poison, Trigger, check_target
from workflow_scripts.attacks._covers import add_covers, select_roles
from workflow_scripts.common.fields import NonNegative, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.training.augmentation import augment_whole_batch
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import Step, make_step
from workflow_scripts.training.loop import train as fit
from workflow_scripts.training.transfer import send, send_all

Choose = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Positions (B,) of a batch in the training set to the rows of it that are payload, and those that are covers; all on
the CPU, where it is known without asking a GPU how many there are."""
Change = Callable[[torch.Tensor], torch.Tensor]
"""uint8 images (N, H, W, C), on any device, to uint8 images of the same shape."""
Cover = Callable[[torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]
"""uint8 images (N, H, W, C), their positions (N,) in the training set, on the CPU, and a random stream to covers."""


@dataclass(frozen=True)
class Implant(DataPoison):
    """An attack that controls training and whose payload and covers are made anew every time that they are seen. One
    whose trigger is known before training defines `make_payload` and `make_cover`, any other `implant`.

    cover_ratio, cover_share: how many covers there are, for each payload image and as a share of all images.
    training: `paper` for a constant learning rate and one crop, rotation and flip for the whole batch, as BackdoorBench
    has it; `recipe` for the model's own schedule and augmentation.
    choice: `fixed` for index sets drawn once, which are the published ones; `batch` for the first images of each
    batch, payload before covers, as official code has it. Then the first ones of each batch of the training set in its
    own order are published, and where a batch's share is no whole number, it has one image more now and then (official
    code leaves the fraction out: 12 of 128 are 9.4 %).
    """

    placement: Literal["replace"] = "replace"
    cover_ratio: NonNegative = 0.0
    cover_share: Share = 0.0
    training: Literal["paper", "recipe"] = "paper"
    choice: Literal["fixed", "batch"] = "fixed"

    def __call__(self, train: Images, model: Model, ratio: float, run: Run) -> Poison:  # type: ignore[override]
        check_target(self, train)
        roles = select_roles(len(train), ratio, self.cover_ratio, run, self.cover_share)
        choose = choose_fixed(*roles, len(train))
        if self.choice == "batch":
            choose = self._choose_first(len(train), ratio, run)
            roles = find_roles(choose, len(train), model.recipe.batch_size)
        change, cover = self.implant(model, train, choose, run)
        payload, covers = (train[rows] for rows in roles)
        published = cover(
            torch.from_numpy(covers.images), torch.from_numpy(roles[1]), run.torch_rng("published covers")
        )
        poison = add_covers(self.poison(payload, as_trigger(change)), replace(covers, images=published.numpy()))
        return replace(poison, victim=model)

    def implant(self, model: Model, train: Images, choose: Choose, run: Run) -> tuple[Change, Cover]:
        """Train the model in place; returns what makes payload, and what makes covers."""
        change, cover = self.make_payload(train.format.shape, run), self.make_cover(train, run)
        stream, recipe = run.torch_rng("covers"), self.choose_recipe(model)

        def transform(images: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
            payload, covers = choose(positions)
            first, then = send_all((payload, covers), images.device)
            images = images.index_copy(0, first, change(images[first]))
            return images.index_copy(0, then, cover(images[then], positions[covers], stream))

        step = self.relabel(make_step(model, F.cross_entropy), train, choose)
        whole = augment_whole_batch(255 * torch.tensor(train.format.mean), recipe.flip)
        augment = whole if self.training == "paper" else None
        fit(model, train, recipe, run, step=step, transform=transform, augment=augment)
        return change, cover

    def make_payload(self, shape: tuple[int, int, int], run: Run) -> Change:
        """What makes payload of images of this shape (H, W, C)."""
        raise NotImplementedError

    def make_cover(self, train: Images, run: Run) -> Cover:
        """What makes covers of these training images."""
        raise NotImplementedError

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        return as_trigger(self.make_payload(shape, run))

    def choose_recipe(self, model: Model) -> Recipe:
        """How the victim is trained."""
        return model.recipe if self.training == "recipe" else replace(model.recipe, schedule="constant")

    def relabel(self, step: Step, train: Images, choose: Choose) -> Step:
        """The step with payload under the attacker's labels, by which the log counts hits, too: a batch has labels of
        its own, which change in place."""
        wanted = torch.from_numpy(self.target_labels(train.labels, len(train.format.classes)))

        def relabeled(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            payload = choose(batch.positions)[0]
            aims = send(wanted[batch.positions[payload]], batch.labels.device)
            batch.labels[send(payload, batch.labels.device)] = aims
            return step(batch)

        return relabeled

    def _choose_first(self, count: int, ratio: float, run: Run) -> Choose:
        """For `choice: batch`. A batch's last image decides whether what its share leaves over is rounded up."""
        luck = torch.rand(count, generator=run.torch_rng("left over"))

        def choose(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            size, left = len(positions), float(luck[int(positions[-1])])
            payload = int(ratio * size + left)
            cover = int(self.cover_ratio * payload + self.cover_share * size + left)
            rows = torch.arange(size)
            return rows[:payload], rows[payload : payload + cover]

        return choose


def choose_fixed(payload: np.ndarray, cover: np.ndarray, count: int) -> Choose:
    """For `choice: fixed`, of these positions among `count`."""
    role = torch.zeros(count, dtype=torch.uint8)
    role[torch.from_numpy(payload)], role[torch.from_numpy(cover)] = 1, 2

    def choose(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = role[positions]
        return torch.nonzero(found == 1).flatten(), torch.nonzero(found == 2).flatten()

    return choose


def find_roles(choose: Choose, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The positions, of `count`, that are payload and covers where batches come in the training set's order."""
    batches = torch.arange(count).split(size)
    chosen = [[positions[rows] for rows in choose(positions)] for positions in batches]
    payload, cover = (torch.cat(parts).numpy() for parts in zip(*chosen, strict=True))
    return payload, cover


def draw_others(positions: torch.Tensor, count: int, stream: torch.Generator) -> torch.Tensor:
    """A random position, of `count`, for each of these (N,): never itself."""
    return (positions + torch.randint(1, count, positions.shape, generator=stream)) % count


def as_trigger(change: Change) -> Trigger:
    """The same of arrays."""
    return lambda images: change(torch.from_numpy(images)).contiguous().numpy()
