"""Chooses the defenses' settings for several architectures on digits, by the rule of `digits_settings`.

One value for all of them, so that a table can hold them beside each other: the last candidate before the first that
costs any of the architectures more than the rule allows. Two attacks and what `studies/architectures.yaml` has.

    python -m benchmarks.architecture_settings > benchmarks/architecture_settings.md
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.digits_settings import (
    CANDIDATES,
    SEEDS,
    TOLERANCE,
    UNLEARN_EPOCHS,
    UNLEARN_LRS,
    Chosen,
    find_unlearned,
    measure_losses,
    set_scene,
)
from workflow_scripts.common import catalog
from workflow_scripts.jobs.step import step

ARCHITECTURES = ("vgg16_bn", "mobilenet_v2", "vit_b_16")
ATTACKS = ("none", "badnets")
DEFENSES = ("clp", "anp", "tsbd", "fmp")
STOP_ACCURACY = 0.11
"""Of clean unlearning. At the method's own 0.1 that of VGG and ViT does not end: 27 of the 269 images are of one class,
so that a network that answers nothing else keeps 10.04 %, and goes on until it overflows."""

INTRODUCTION = f"""\
# The defenses' settings for three architectures on digits

What `python -m benchmarks.architecture_settings` prints: the rule of [`digits_settings.md`](digits_settings.md), asked
of {", ".join(ARCHITECTURES)} in their tiny forms; seeds {", ".join(map(str, SEEDS))}, attacks {" and ".join(ATTACKS)}.
Loss of accuracy in points, mean over attacks and seeds. The last candidate before the first that costs any of them more
than {100 * TOLERANCE:g} points is chosen for all, the method's own value where the mildest does already.

| defense | field | value | {" | ".join(ARCHITECTURES)} | chosen |
|---|---|---|{"---|" * len(ARCHITECTURES)}---|"""
UNLEARN_INTRODUCTION = f"""
Clean unlearning: the smallest learning rate at which it ends within {UNLEARN_EPOCHS} epochs on every victim. It ends at
an accuracy of {STOP_ACCURACY}: at the method's own 0.1 that of VGG and ViT does not, for 27 of the 269 images are of
one class, so that a network that answers nothing else keeps 10.04 %, and goes on until it overflows.

| unlearn_lr | victims where it ends | chosen |
|---|---|---|"""


class Loss(NamedTuple):
    """What one candidate costs of one victim's accuracy."""

    architecture: str
    defense: str
    value: float
    loss: float


def main() -> None:
    """Print the tables as Markdown."""
    with get_context("spawn").Pool(2) as pool:
        first = _over_victims(pool, measure_shared)
        losses = [loss for found, _ in first for loss in found]
        ended = [ended for _, found in first for ended in found]
        unlearn_lr = next(lr for lr in UNLEARN_LRS if all(done for rate, done in ended if rate == lr))
        chosen = Chosen(choose("ft", losses), unlearn_lr)
        losses += [loss for found in _over_victims(pool, measure, chosen) for loss in found]
    print("\n".join([INTRODUCTION, *_rows(losses), UNLEARN_INTRODUCTION]))
    for lr in UNLEARN_LRS:
        done = [end for rate, end in ended if rate == lr]
        print(f"| {lr:g} | {sum(done)} of {len(done)} | {'**yes**' if lr == unlearn_lr else ''} |")


def _over_victims(pool: Any, function: Callable[..., Any], *given: Any) -> list[Any]:
    victims = itertools.product(ARCHITECTURES, ATTACKS, SEEDS)
    jobs = [pool.apply_async(function, (*victim, *given)) for victim in victims]
    found = []
    for number, job in enumerate(jobs, 1):
        found.append(job.get())
        print(f"{function.__name__}: {number} of {len(jobs)} victims", file=sys.stderr)
    return found


def measure_shared(architecture: str, attack: str, seed: int) -> tuple[list[Loss], list[tuple[float, bool]]]:
    """The losses of `ft`'s candidates on one victim, and at which learning rates clean unlearning ends in time."""
    with step(threads=1):
        scene = set_scene(attack, seed, architecture)
        losses = [Loss(architecture, *loss) for loss in measure_losses(scene, "ft", {})]
        return losses, list(find_unlearned(scene, STOP_ACCURACY))


def measure(architecture: str, attack: str, seed: int, chosen: Chosen) -> list[Loss]:
    """The losses of every other defense's candidates on one victim."""
    with step(threads=1):
        scene, found = set_scene(attack, seed, architecture), []
        for defense in DEFENSES:
            shared = chosen.given_to(defense) | ({"stop_accuracy": STOP_ACCURACY} if defense == "tsbd" else {})
            found += [Loss(architecture, *loss) for loss in measure_losses(scene, defense, shared)]
        return found


def choose(defense: str, losses: Sequence[Loss]) -> float:
    """The last candidate before the first that costs any architecture too much; the method's own where there is
    none."""
    field, values = CANDIDATES[defense]
    allowed = list(itertools.takewhile(lambda value: max(_means(defense, value, losses)) <= TOLERANCE, values))
    return allowed[-1] if allowed else float(catalog.resolve("defenses", defense)[field])


def _means(defense: str, value: float, losses: Sequence[Loss]) -> list[float]:
    """The mean loss of each architecture."""
    return [fmean(loss.loss for loss in losses if loss[:3] == (name, defense, value)) for name in ARCHITECTURES]


def _rows(losses: Sequence[Loss]) -> Iterator[str]:
    """One for each candidate."""
    for defense in ("ft", *DEFENSES):
        field, values = CANDIDATES[defense]
        for value in values:
            costs = " | ".join(f"{100 * mean:.2f}" for mean in _means(defense, value, losses))
            mark = "**yes**" if value == choose(defense, losses) else ""
            yield f"| {defense} | {field} | {value:g} | {costs} | {mark} |"


if __name__ == "__main__":
    main()
