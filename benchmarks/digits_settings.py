"""Chooses the defenses' settings for digits by one rule that looks at no trigger, on seeds that no study reports.

The rule: of at most six candidates for one field, from mild to aggressive, the last before the first whose loss of
accuracy is, in the mean over attacks and seeds, more than 2 points; the method's own value where the mildest loses
more already. Accuracy is asked of images that neither the victim nor the defense was given: like the defender's, they
are taken out of the training set before anybody is handed it. The learning rate of fine-tuning is chosen first, by
`ft`, and is that of all defenses that fine-tune; that of clean unlearning is the smallest at which it ends in time.
What is set for digits by neither has its reason in REASONS.

    python -m benchmarks.digits_settings > benchmarks/digits_settings.md
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

from workflow_scripts.common import catalog, config
from workflow_scripts.common.fields import format_value
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
    "abl": ("unlearn_lr", [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3]),
    "tsbd": ("n", [0.0, 0.05, 0.15, 0.3, 0.5, 0.7]),
    "fmp": ("p", [1000, 64, 32, 16, 8, 4]),
    "eigenguard": ("k", [50, 20, 10, 5, 2, 1]),
    "hid": ("fraction", [0.9, 0.7, 0.5, 0.3, 0.2, 0.1]),
}
FINE_TUNED = ("fp", "tsbd", "fmp", "random_pruning", "tac_pruning")
"""They have the learning rate that `ft` has chosen."""
UNLEARN_LRS = [1e-4 * 2**power for power in range(6)]
UNLEARN_EPOCHS = 50
UNLEARNING = ("tsbd", "unlearning")
"""They have the `unlearn_lr` of clean unlearning."""

REASONS = {
    "holdout_size": "five percent, as the papers have it, would be seven images of a class",
    "batch_size": "269 images make one batch of 256",
    "epochs": "of fine-tuning: 80 steps, a quarter of a victim's training; time",
    "anp steps": "a third of a victim's training, each step three passes; time",
    "abl isolation_epochs": "the method's 20, 60 and 20 epochs, scaled to the budget of a victim",
    "abl finetune_epochs": "the same",
    "abl unlearn_epochs": "the same",
    "abl lr": "the victim's",
    "abl batch_size": "the victim's",
    "eigenguard batch_size": "the victim's",
    "fmp samples": "each image is moved anew for every unit; time",
    "hid ssl_epochs": "what fits into 40 seconds of a cell",
    "hid semi_epochs": "what fits into 40 seconds of a cell",
    "hid ssl_lr": "0.4 is for batches of 512; by a probe's accuracy on held-back training images",
    "hid ssl_batch_size": "1,347 images make two batches of 512",
    "hid ssl_flip": "a mirrored digit is another sign",
    "hid ssl_crop_scale": "a fifth of 16x16 pixels shows no digit",
    "hid ssl_blur": "16x16 pixels are blurred already",
    "hid head_lr": "by a probe's accuracy on held-back training images",
    "hid lr": "by a probe's accuracy on held-back training images",
}
"""By field, or by defense and field: why what no rule has chosen differs on digits from the method's own value."""
OTHERS = {
    "models": "a victim in seconds on one core; preact_small's by trials that showed ASR too (above 0.02 SIG is not "
    "learned), the other networks' by the clean model's accuracy on seed 10; moved or mirrored digits are other images",
    "attacks": "the attacker's choice, who may look at ASR: what 16x16 pixels take; wanet trains by the model's recipe",
    "auxiliaries": "25 epochs are what fits into 20 seconds; `lr` by a probe's accuracy on held-back training images",
    "analyses": "those of the defenses that they speak of",
}
"""The same of the other kinds of methods."""
SINGLE = {
    "ctrl": "clipped, of 200, 400, 600 and 800 the least that implants at each seed asked (benchmarks/attacks/ctrl.md)",
    "lc": "with corners of three pixels ASR at seed 10 is 1, 11 and 34 at eps 8, 32 and 64; with four, at 64, it is 98",
    "universal": "as strong as it takes to change the clean model's answers",
    "eigenguard_adaptive": "at eps 8 the filtered network gets 62 to 95 % of the noisy class right at seeds 10 to 12, "
    "at 16 it gets 0 to 12",
    "robust": "`eps` half of lc's; eight epochs of three steps take a quarter of a minute",
    "eigenguard": "those of the defense",
    "stego": "of 100 bits in 16x16 pixels 74 % are read after as many steps, and hiding begins at 90 %; half the width "
    "is for time",
    "stego_encoder": "half a minute of one core; `lr`, `wait`, `ramp` for so few steps; the ramp ends at step 571",
}
"""The same of single methods of these kinds."""

INTRODUCTION = f"""\
# The defenses' settings for digits

What `python -m benchmarks.digits_settings` prints. Seeds {", ".join(map(str, SEEDS))}, which no study reports; attacks
{", ".join(RATIOS)}. Loss of accuracy against the victim, in points, mean over attacks and seeds, on 135 images that
neither the victim nor the defense was given: they are taken out of the training set before anybody is handed it, and
so are the defender's {GIVEN}. Of candidates from mild to aggressive the last before the first that loses more than
{100 * TOLERANCE:g} points is chosen, the method's own value where the mildest loses more already. No trigger and no
test image is looked at. The learning rate of fine-tuning is chosen first, by `ft`, and is that of
{", ".join(FINE_TUNED)} too.

| defense | field | value | mean loss | worst loss | chosen |
|---|---|---|---|---|---|"""
UNLEARN_INTRODUCTION = f"""
Clean unlearning (`tsbd`, the analysis `unlearning`): the smallest learning rate at which it ends within
{UNLEARN_EPOCHS} epochs on every victim, by the defender's images alone.

| unlearn_lr | victims where it ends | chosen |
|---|---|---|"""
REASONS_INTRODUCTION = """
What no rule has chosen. `holder` has its own defaults.

| method | fields | values | reason |
|---|---|---|---|"""
NOT_BLIND = """
Not blind: of two SimCLR recipes for `hid` the one with the better kNN accuracy was kept, from a line that also showed
an ASR (the kept one had the higher); and the rule that a valley of Hölder constants must be half as low as its lower
summit came after a version without it had cut a third of a head at ripples, from a printout that also showed ASRs."""


class Loss(NamedTuple):
    """What one candidate costs of one victim's accuracy."""

    defense: str
    value: float
    loss: float


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


def main() -> None:
    """Print the tables as Markdown."""
    with get_context("spawn").Pool(2) as pool:
        first = _over_victims(pool, measure_shared)
        losses = [loss for found, _ in first for loss in found]
        ended = [ended for _, found in first for ended in found]
        rates = [lr for lr in UNLEARN_LRS if all(done for rate, done in ended if rate == lr)]
        chosen = Chosen(choose("ft", losses), rates[0])
        losses += [loss for found in _over_victims(pool, measure, chosen) for loss in found]
    print(describe(losses, ended, chosen))


def _over_victims(pool: Any, function: Callable[..., Any], *given: Any) -> list[Any]:
    jobs = [pool.apply_async(function, (attack, seed, *given)) for seed, attack in itertools.product(SEEDS, RATIOS)]
    found = []
    for number, job in enumerate(jobs, 1):
        found.append(job.get())
        print(f"{function.__name__}: {number} of {len(jobs)} victims", file=sys.stderr)
    return found


def choose(defense: str, losses: Sequence[Loss]) -> float:
    """The last candidate before the first that loses too much; the method's own value where there is none."""
    field, values = CANDIDATES[defense]
    allowed = list(itertools.takewhile(lambda value: mean_loss(defense, value, losses) <= TOLERANCE, values))
    return allowed[-1] if allowed else float(catalog.resolve("defenses", defense)[field])


def mean_loss(defense: str, value: float, losses: Sequence[Loss]) -> float:
    """The mean over the victims of what a candidate costs."""
    return fmean(loss.loss for loss in losses if loss[:2] == (defense, value))


def measure_shared(attack: str, seed: int) -> tuple[list[Loss], list[tuple[float, bool]]]:
    """The losses of `ft`'s candidates on one victim, and at which learning rates clean unlearning ends in time."""
    with step(threads=1):
        scene, stop = set_scene(attack, seed), catalog.resolve("defenses", "tsbd")["stop_accuracy"]
        return list(measure_losses(scene, "ft", {})), list(find_unlearned(scene, stop))


def measure(attack: str, seed: int, chosen: Chosen) -> list[Loss]:
    """The losses of every other defense's candidates on one victim."""
    with step(threads=1):
        scene = set_scene(attack, seed)
        others = [defense for defense in CANDIDATES if defense != "ft"]
        return [loss for defense in others for loss in measure_losses(scene, defense, chosen.given_to(defense))]


def measure_losses(scene: Scene, defense: str, shared: dict[str, float]) -> Iterator[Loss]:
    """Of each candidate, with the dataset's settings of the other fields."""
    before = scene.accuracy(scene.victim)
    state = {key: value.clone() for key, value in scene.victim.network.state_dict().items()}
    field, values = CANDIDATES[defense]
    for value in values:
        run = Run("digits", scene.seed)
        params = catalog.resolve("defenses", defense, scene.settings) | shared | {field: value}
        arguments = {"victim": scene.victim, "holdout": scene.given, "poisoned_train": scene.published, "run": run}
        arguments["model"] = build_network(scene.architecture, scene.published, scene.settings, run)
        yield Loss(defense, value, before - scene.accuracy(call("defenses", defense, params, arguments)))
        scene.victim.network.load_state_dict(state)
        scene.victim.network.requires_grad_(True)


def find_unlearned(scene: Scene, stop: float) -> Iterator[tuple[float, bool]]:
    """Of each learning rate, whether clean unlearning comes down to the accuracy at which it ends, `stop`."""
    for lr in UNLEARN_LRS:
        run = Run("digits", scene.seed)
        unlearn(scene.victim, scene.given, run, epochs=UNLEARN_EPOCHS, lr=lr, batch_size=BATCH, stop_accuracy=stop)
        kept = [row["holdout_accuracy"] for row in run.rows if row["kind"] == "choice"]
        yield lr, bool(kept) and kept[-1] <= stop


def set_scene(attack: str, seed: int, architecture: str = "preact_small") -> Scene:
    """Train the victim of an attack, a seed and an architecture on what is not reserved."""
    settings, run, dataset = read_settings(), Run("digits", seed), Digits(reserve=RESERVE)
    train, _, reserved = dataset.prepare(Run("digits", 0))
    drawn = dataset.draw_holdout(train, reserved, run)
    model = build_network(architecture, train, settings, run)
    given = {"train": train, "ratio": RATIOS[attack], "run": run, "model": model}
    poison = call("attacks", attack, catalog.resolve("attacks", attack, settings), given)
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
    return weights.build(architecture, catalog.resolve("models", architecture, settings), train.format, run)


def describe(losses: Sequence[Loss], ended: Sequence[tuple[float, bool]], chosen: Chosen) -> str:
    """All that was found, as Markdown."""
    parts = [INTRODUCTION, *_candidates(losses), UNLEARN_INTRODUCTION]
    for lr in UNLEARN_LRS:
        done = [end for rate, end in ended if rate == lr]
        parts.append(f"| {lr:g} | {sum(done)} of {len(done)} | {_mark(lr == chosen.unlearn_lr)} |")
    return "\n".join([*parts, REASONS_INTRODUCTION, *_reasons(), NOT_BLIND])


def _candidates(losses: Sequence[Loss]) -> Iterator[str]:
    """A row for each candidate."""
    for defense, (field, values) in CANDIDATES.items():
        own, best = float(catalog.resolve("defenses", defense)[field]), choose(defense, losses)
        for value in values:
            worst = max(loss.loss for loss in losses if loss[:2] == (defense, value))
            costs = f"{100 * mean_loss(defense, value, losses):.2f} | {100 * worst:.2f}"
            shown = f"{value:g}{' (its own)' if value == own else ''}"
            yield f"| {defense} | {field} | {shown} | {costs} | {_mark(value == best)} |"


def _mark(chosen: bool) -> str:
    return "**yes**" if chosen else ""


def _reasons() -> Iterator[str]:
    """A row for each field that no rule has chosen. KeyError of one that has no reason."""
    for defense, fields in read_settings()["defenses"].items():
        by_rule = {CANDIDATES[defense][0] if defense in CANDIDATES else None, *Chosen(0, 0).given_to(defense)}
        for field in (field for field in fields if field not in by_rule):
            reason = REASONS.get(f"{defense} {field}") or REASONS[field]
            yield f"| {defense} | {field} | {format_value(fields[field])} | {reason} |"
    for kind, reason in OTHERS.items():
        for method, fields in read_settings()[kind].items():
            values = ", ".join(format_value(value) for value in fields.values())
            yield f"| {method} | {', '.join(fields)} | {values} | {SINGLE.get(method, reason)} |"


if __name__ == "__main__":
    main()
