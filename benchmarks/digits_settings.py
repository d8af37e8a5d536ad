"""Chooses the defenses' settings for digits by one rule that looks at no trigger, on seeds that no study reports.

The rule: of the candidates, from mild to aggressive, the last whose accuracy on held-back clean images is, in the
mean over attacks and seeds, at most 2 points below the victims'. A defender's holdout is split: four fifths are handed
to the defense, one fifth judges.

    python -m benchmarks.digits_settings > benchmarks/digits_settings.md
"""

import itertools
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.common import catalog, config
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.datasets.digits import Digits
from workflow_scripts.jobs.step import step
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import accuracy
from workflow_scripts.training.loop import train as fit

SEEDS = (10, 11, 12)
RATIOS = {"none": 0.0, "badnets": 0.1, "blended": 0.1, "wanet": 0.1, "sig": 0.08}
CANDIDATES: dict[str, dict[str, list[float]]] = {
    "ft": {"lr": [0.01, 0.02, 0.05, 0.1, 0.2, 0.4]},
    "fp": {"max_drop": [0.02, 0.05, 0.1, 0.2, 0.4]},
    "clp": {"u": [5.0, 4.0, 3.5, 3.0, 2.5, 2.0, 1.0]},
    "anp": {"eps": [0.1, 0.2, 0.4, 0.8]},
    "abl": {"unlearn_lr": [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3]},
    "tsbd": {"lr": [0.01, 0.02, 0.05, 0.1]},
    "fmp": {"p": [32, 16, 8, 4, 2]},
}
TOLERANCE = 0.02
Result = tuple[str, float, float]


def main() -> None:
    """Print the table as Markdown."""
    cells = list(itertools.product(RATIOS, SEEDS))
    with get_context("spawn").Pool(2) as pool:
        results = [row for rows in pool.starmap(measured, cells) for row in rows]
    print("# The defenses' settings for digits\n")
    print(f"`python -m benchmarks.digits_settings`, seeds {SEEDS}, attacks {', '.join(RATIOS)}: loss of accuracy on")
    print("held-back clean images against the victim, in points, mean over attacks and seeds. The last candidate, from")
    print("mild to aggressive, that loses at most 2 points is chosen; no trigger and no test image is looked at.\n")
    print("| defense | field | value | mean loss | worst loss | chosen |\n|---|---|---|---|---|---|")
    for defense, candidates in CANDIDATES.items():
        ((field, values),) = candidates.items()
        losses = {value: [loss for d, v, loss in results if (d, v) == (defense, value)] for value in values}
        means = {value: sum(found) / len(found) for value, found in losses.items()}
        chosen = [value for value in values if means[value] <= TOLERANCE][-1:]
        for value in values:
            mark = "**yes**" if value in chosen else ""
            mean, worst = 100 * means[value], 100 * max(losses[value])
            print(f"| {defense} | {field} | {value:g} | {mean:.2f} | {worst:.2f} | {mark} |")


def measured(attack: str, seed: int) -> list[Result]:
    """The loss of accuracy of every candidate on one victim."""
    with step(threads=1):
        return list(_measured(attack, seed))


def _measured(attack: str, seed: int) -> Iterator[Result]:
    settings = config.read(yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))).settings_of("digits")
    run = Run("digits", seed)
    dataset = Digits()
    train, _, reserved = dataset.prepare(Run("digits", 0))
    given, judge = dataset.draw_holdout(train, reserved, run)[: round(0.2 * len(train))].split()
    published, victim = poisoned(attack, train, settings, run)
    before = accuracy(victim, judge)
    state = {key: value.clone() for key, value in victim.network.state_dict().items()}
    for defense, candidates in CANDIDATES.items():
        ((field, values),) = candidates.items()
        for value in values:
            victim.network.load_state_dict(state)
            victim.network.requires_grad_(True)
            arguments = {"victim": victim, "holdout": given, "poisoned_train": published, "run": Run("digits", seed)}
            arguments["model"] = network(train, settings, run)
            params = catalog.resolve("defenses", defense, settings) | {field: value}
            yield defense, value, before - accuracy(called("defenses", defense, params, arguments), judge)


def poisoned(attack: str, train: Images, settings: dict[str, Any], run: Run) -> tuple[Images, Model]:
    """The published training set and the victim."""
    model = network(train, settings, run)
    given = {"train": train, "ratio": RATIOS[attack], "run": run, "model": model}
    poison = called("attacks", attack, catalog.resolve("attacks", attack, settings), given)
    published = train.replace_rows(poison.altered)
    if poison.victim is None:
        fit(model, published, model.recipe, run)
    return published, model


def called(kind: str, name: str, params: dict[str, Any], given: dict[str, Any]) -> Any:
    """Call a method with what its signature names."""
    return catalog.make(kind, name, params)(**{key: given[key] for key in catalog.describe(kind, name).asks})


def network(train: Images, settings: dict[str, Any], run: Run) -> Model:
    """The untrained network of the seed."""
    return weights.build("preact_small", catalog.resolve("models", "preact_small", settings), train.format, run)


if __name__ == "__main__":
    main()
