"""One rule for the defenses' settings on digits, which looks at no trigger, on seeds that no study reports.

The rule: of at most six candidates for one field, from mild to aggressive, the last before the first whose loss of
accuracy is, in the mean over attacks and seeds, more than 2 points for any of the architectures that are asked; the
method's own value where the mildest loses more already. Accuracy is asked of images that neither the victim nor the
defense was given: like the defender's, they are taken out of the training set before anybody is handed it. The
learning rate of fine-tuning is chosen first, by `ft`, and is that of all defenses that fine-tune; that of clean
unlearning is the smallest at which it ends in time.
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import yaml

from workflow_scripts.common import catalog, config, spellings
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.datasets.digits import Digits
from workflow_scripts.jobs.step import step
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.unlearning import unlearn
from workflow_scripts.training.inference import logits, predicted_class
from workflow_scripts.training.loop import train as fit

SEEDS = (10, 11, 12)
RATIOS = {"none": 0.0, "badnets": 0.1, "blended": 0.1, "wanet": 0.1, "sig": 0.08}
RESERVE = 0.3
"""Of the training images: 404, which nobody trains on."""
GIVEN = 269
"""Of the reserved images those that a defender is given, as many as in the studies; the other 135 judge."""
BATCH = 64
TOLERANCE = 0.02
CANDIDATES: dict[str, tuple[str, list[float]]] = {
    "ft": ("lr", [0.01, 0.02, 0.05, 0.1, 0.2, 0.4]),
    "fp": ("max_drop", [0.02, 0.05, 0.1, 0.2, 0.4, 0.8]),
    "clp": ("u", [5.0, 4.0, 3.5, 3.0, 2.5, 2.0]),
    "anp": ("max_drop", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4]),
    "rnp": ("max_drop", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4]),
    "ep": ("u", [5.0, 4.0, 3.5, 3.0, 2.5, 2.0]),
    "bnp": ("u", [5.0, 4.0, 3.5, 3.0, 2.5, 2.0]),
    "mcr": ("curve_lr", [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]),
    "abl": ("unlearn_lr", [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3]),
    "tsbd": ("n", [0.0, 0.05, 0.15, 0.3, 0.5, 0.7]),
    "fmp": ("p", [1000, 64, 32, 16, 8, 4]),
    "eigenguard": ("k", [50, 20, 10, 5, 2, 1]),
    "hid": ("fraction", [0.9, 0.7, 0.5, 0.3, 0.2, 0.1]),
    "nc": ("stamped", [0.05, 0.1, 0.2, 0.4, 0.7, 1.0]),
    "i_bau": ("lr", [2e-4, 5e-4, 1e-3]),
    "npd": ("radius", [0.5, 1.0, 2.0, 3.0, 5.0]),
    "nad": ("beta", [10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]),
    "ft_sam": ("rho", [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]),
    "sau": ("lr", [1e-4, 3e-4, 1e-3, 3e-3]),
}
FINE_TUNED = ("fp", "tsbd", "fmp", "random_pruning", "tac_pruning", "mcr", "nc", "nad", "ft_sam")
"""They have the learning rate that `ft` has chosen."""
UNLEARN_LRS = [1e-4 * 2**power for power in range(6)]
UNLEARN_EPOCHS = 50
UNLEARNING = ("tsbd", "unlearning")
"""They have the `unlearn_lr` of clean unlearning."""


class Loss(NamedTuple):
    """What one candidate costs of one victim's accuracy."""

    architecture: str
    defense: str
    value: float
    loss: float


Ended = tuple[float, bool]
"""A learning rate of clean unlearning, and whether it ended in time on one victim."""


@dataclass(frozen=True)
class Chosen:
    """What `ft` and clean unlearning have chosen before the others are asked."""

    lr: float
    unlearn_lr: float

    def given_to(self, method: str) -> dict[str, float]:
        """The fields of a method that are chosen by others."""
        shared = {"lr": self.lr} if method in FINE_TUNED else {}
        return shared | ({"unlearn_lr": self.unlearn_lr} if method in UNLEARNING else {})


@dataclass(frozen=True)
class Scene:
    """One victim, what a defender is given, and the images that judge."""

    victim: Model
    published: Images
    given: Images
    judge: Images
    settings: dict[str, Any]
    seed: int
    architecture: str

    def accuracy(self, model: Model) -> float:
        """On the images that judge, asked in batches of the size that EigenGuard filters."""
        return float((predicted_class(logits(model, self.judge.images, BATCH)) == self.judge.labels).mean())


@dataclass(frozen=True)
class Survey:
    """Whose candidates are tried on which victims; stop_accuracy: at which clean unlearning ends."""

    architectures: tuple[str, ...]
    attacks: tuple[str, ...]
    defenses: tuple[str, ...]
    stop_accuracy: float

    def conduct(self) -> tuple[list[Loss], list[Ended], Chosen]:
        """All losses, all ends of clean unlearning, and what these two have chosen before the others are asked."""
        with get_context("spawn").Pool(2) as pool:
            first = self._over_victims(pool, measure_shared)
            losses = [loss for found, _ in first for loss in found]
            ended = [end for _, found in first for end in found]
            rates = [lr for lr in UNLEARN_LRS if all(done for rate, done in ended if rate == lr)]
            chosen = Chosen(choose("ft", losses), rates[0])
            losses += [loss for found in self._over_victims(pool, measure, chosen) for loss in found]
        return losses, ended, chosen

    def _over_victims(self, pool: Any, function: Callable[..., Any], *given: Any) -> list[Any]:
        victims = itertools.product(self.architectures, SEEDS, self.attacks)
        jobs = [pool.apply_async(function, (self, *victim, *given)) for victim in victims]
        found = []
        for number, job in enumerate(jobs, 1):
            found.append(job.get())
            print(f"{function.__name__}: {number} of {len(jobs)} victims", file=sys.stderr)
        return found


def choose(defense: str, losses: Sequence[Loss]) -> float:
    """The last candidate before the first that loses too much; the method's own value where there is none."""
    field, values = CANDIDATES[defense]
    allowed = list(
        itertools.takewhile(lambda value: max(mean_losses(defense, value, losses).values()) <= TOLERANCE, values)
    )
    return allowed[-1] if allowed else float(spellings.resolve("defenses", defense)[field])


def mean_losses(defense: str, value: float, losses: Sequence[Loss]) -> dict[str, float]:
    """What a candidate costs in the mean over the victims of each architecture."""
    found: dict[str, list[float]] = {}
    for loss in losses:
        if (loss.defense, loss.value) == (defense, value):
            found.setdefault(loss.architecture, []).append(loss.loss)
    return {architecture: fmean(own) for architecture, own in found.items()}


def measure_shared(survey: Survey, architecture: str, seed: int, attack: str) -> tuple[list[Loss], list[Ended]]:
    """The losses of `ft`'s candidates on one victim, and at which learning rates clean unlearning ends in time."""
    with step(threads=1):
        scene = set_scene(architecture, seed, attack)
        return list(measure_losses(scene, "ft", {})), list(find_unlearned(scene, survey.stop_accuracy))


def measure(survey: Survey, architecture: str, seed: int, attack: str, chosen: Chosen) -> list[Loss]:
    """The losses of every other defense's candidates on one victim."""
    with step(threads=1):
        scene, found = set_scene(architecture, seed, attack), list[Loss]()
        for defense in (defense for defense in survey.defenses if defense != "ft"):
            stop = {"stop_accuracy": survey.stop_accuracy} if defense == "tsbd" else {}
            found += measure_losses(scene, defense, chosen.given_to(defense) | stop)
        return found


def measure_losses(scene: Scene, defense: str, shared: dict[str, float]) -> Iterator[Loss]:
    """Of each candidate, with the dataset's settings of the other fields."""
    before = scene.accuracy(scene.victim)
    state = {key: value.clone() for key, value in scene.victim.network.state_dict().items()}
    field, values = CANDIDATES[defense]
    for value in values:
        run = Run("digits", scene.seed)
        params = spellings.resolve("defenses", defense, scene.settings) | shared | {field: value}
        arguments = {"victim": scene.victim, "holdout": scene.given, "poisoned_train": scene.published, "run": run}
        arguments["model"] = build_network(scene.architecture, scene.published, scene.settings, run)
        yield Loss(
            scene.architecture, defense, value, before - scene.accuracy(call("defenses", defense, params, arguments))
        )
        scene.victim.network.load_state_dict(state)
        scene.victim.network.requires_grad_(True)


def find_unlearned(scene: Scene, stop: float) -> Iterator[Ended]:
    """Of each learning rate, whether clean unlearning comes down to the accuracy at which it ends, `stop`."""
    for lr in UNLEARN_LRS:
        run = Run("digits", scene.seed)
        unlearn(scene.victim, scene.given, run, epochs=UNLEARN_EPOCHS, lr=lr, batch_size=BATCH, stop_accuracy=stop)
        kept = [row["holdout_accuracy"] for row in run.rows if row["kind"] == "choice"]
        yield lr, bool(kept) and kept[-1] <= stop


def set_scene(architecture: str, seed: int, attack: str) -> Scene:
    """Train the victim of an architecture, a seed and an attack on what is not reserved."""
    settings, run, dataset = read_settings(), Run("digits", seed), Digits(reserve=RESERVE)
    train, _, reserved = dataset.prepare(Run("digits", 0))
    drawn = dataset.draw_holdout(train, reserved, run)
    model = build_network(architecture, train, settings, run)
    given = {"train": train, "ratio": RATIOS[attack], "run": run, "model": model}
    poison = call("attacks", attack, spellings.resolve("attacks", attack, settings), given)
    published = train.replace_rows(poison.altered)
    if poison.victim is None:
        fit(model, published, model.recipe, run)
    return Scene(poison.victim or model, published, drawn[:GIVEN], drawn[GIVEN:], settings, seed, architecture)


def read_settings() -> dict[str, Any]:
    """The settings of digits in the project's configuration."""
    return config.read(yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))).settings_of("digits")


def call(kind: str, name: str, params: dict[str, Any], given: dict[str, Any]) -> Any:
    """Call a method with what its signature names."""
    return catalog.make(kind, name, params)(**{key: given[key] for key in catalog.describe(kind, name).asks})


def build_network(architecture: str, train: Images, settings: dict[str, Any], run: Run) -> Model:
    """The untrained network of the seed."""
    return weights.build(architecture, spellings.resolve("models", architecture, settings), train.format, run)


def describe_unlearning(ended: Sequence[Ended], chosen: Chosen) -> Iterator[str]:
    """A row of a Markdown table for each learning rate of clean unlearning."""
    for lr in UNLEARN_LRS:
        done = [end for rate, end in ended if rate == lr]
        yield f"| {lr:g} | {sum(done)} of {len(done)} | {mark(lr == chosen.unlearn_lr)} |"


def mark(chosen: bool) -> str:
    """How a row shows that it is the chosen one."""
    return "**yes**" if chosen else ""
