"""SAU beside BackdoorBench's: shared adversarial examples, the gradients of the first steps, and whole runs.

    python -m benchmarks.defenses.sau BACKDOORBENCH FOLDER > benchmarks/defenses/sau.md

BACKDOORBENCH: a checkout of SCLBD/BackdoorBench; FOLDER: where the victims are kept.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import torch

from benchmarks.defenses._official import load
from benchmarks.defenses._scene import Scene, set_scene
from benchmarks.defenses._steps import SEEDS, Batches, Watched, defend, nudge, settle
from workflow_scripts.common.images import Images
from workflow_scripts.defenses import sau
from workflow_scripts.defenses.sau import SharedAdversarialUnlearning, SharedAdversary
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.inference import predict
from workflow_scripts.training.loader import to_network

FIXED = (
    {"device": "cpu", "dataset": "digits", "num_classes": 10, "input_height": 16, "input_width": 16}
    | {"model": "", "save_path": "", "log": "", "random_seed": 0, "num_workers": 0, "pin_memory": False}
    | {"outer_steps": 1, "train_mode": False, "norm_type": "L_inf", "pgd_init": "max"}
)
"""Arguments of the official code that say nothing of the method, and the published ones that we have no fields for."""
INTRODUCTION = """\
# SAU beside BackdoorBench's

`python -m benchmarks.defenses.sau BACKDOORBENCH FOLDER`, one thread of a CPU, float32; the class `Shared_PGD` and the
method `mitigation` of `defense/sau.py`, run from the file. BadNets on digits, 256 clean images, settings as config.yaml
has them, the same batches.

On images pressed into [0.2, 0.8], which no step takes out of [0, 1], so that it makes no difference that we cut there
and the official code does not; their labels are what the victim takes them for. Examples are shared by the victim and
by itself after our defense: of the pixels, how many are moved alike; of the images, how many both networks take for one
wrong class. Then the gradients that the first official steps are taken by, and ours at the same weights: their distance
as a share of the official one's length; and the same with the official clamps in our L_sar.

| seed | pixels alike | shared here | shared there | step 1 | step 2 | step 3 | clamped, step 1 | step 2 | step 3 |
|---|---|---|---|---|---|---|---|---|---|"""
RUNS = """
Whole runs on the images as they are: ACC, ASR and RA in percent. `nudged`: here, from weights that differ by a
millionth. `official`: images are not cut; `cut`: with the line on cutting, which is a comment there.

| seed | | ACC | ASR | RA |
|---|---|---|---|---|"""

NOTES = """
- The same examples are found. Gradients part where the official L_sar clamps a logarithm: with its clamps four of nine
  are within 1e-5 of ours, all within 1e-2; what is left of the difference was not traced.
- At its own rate, which is what the rule on clean images leaves on digits, forty steps remove this backdoor neither
  here (93 to 98 % are left) nor there (91 to 98 %, and 72 at one seed where images are not cut to what an image is)."""


def main(checkout: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    official, rows = load(Path(checkout), "sau"), []
    print(INTRODUCTION)
    for seed in SEEDS:
        scene, method = set_scene(Path(folder), seed), settle("sau")
        pressed = replace(scene.holdout, images=(51 + scene.holdout.images * 0.6).round().astype("uint8"))
        pressed = replace(pressed, labels=predict(scene.victim, pressed.images))
        here = defend(method, scene.fresh(), scene)
        examples = compare_examples(official, method, here, scene.victim, pressed)
        short = replace(method, epochs=1)
        _, watched = Official(official).run(short, scene, pressed)
        with patch.object(sau, "unlearning_risk", clamped_risk):
            _, clamped = Official(official).run(short, scene, pressed)
        print(f"| {seed} | {examples} | {watched.describe()} | {clamped.describe()} |", flush=True)
        named = {"victim": scene.victim, "here": here, "nudged": defend(method, nudge(scene.fresh()), scene)}
        for name, attacker in (("official", official.Shared_PGD), ("cut", make_cutting(official.Shared_PGD))):
            named[name] = Official(official, attacker).run(method, scene, scene.holdout)[0]
        rows += [f"| {seed} | {name} | {scene.describe(model)} |" for name, model in named.items()]
    print("\n".join([RUNS, *rows, NOTES]))


class Official:
    """`mitigation`, all of which is data and networks replaced by ours; attacker: the class of its adversary."""

    def __init__(self, module: ModuleType, attacker: type | None = None):
        self.module, self.attacker = module, attacker or module.Shared_PGD

    def run(self, method: SharedAdversarialUnlearning, scene: Scene, data: Images) -> tuple[Model, Watched]:
        """The victim after it, and its optimizer."""
        model, before, batches = scene.fresh(), scene.fresh(), Batches(scene, data, method.batch_size)
        adam = torch.optim.Adam(model.network.parameters(), method.lr, amsgrad=True)
        frozen = scene.fresh().requires_grad_(False)
        watched = Watched(adam, model, batches, lambda twin: method.make_step(twin, frozen))
        networks, held = iter((model.network, before.network)), self._hold(method)
        mean, std = scene.victim.mean, scene.victim.std
        normalize: Callable[[torch.Tensor], torch.Tensor] = lambda images: (images - mean) / std  # noqa: E731
        with (
            patch.multiple(
                self.module,
                args=held.args,
                Shared_PGD=self.attacker,
                generate_cls_model=lambda *given: next(networks),
                argparser_opt_scheduler=lambda *given: (watched.optimizer, None),
                get_dataset_normalization=lambda name: normalize,
                get_dataset_denormalization=lambda given: lambda images: images * std + mean,
                print=lambda *given: None,
                create=True,
            ),
            patch.object(torch.nn.Module, "load_state_dict", lambda network, state: None),
            patch.object(self.module.np, "savetxt"),
            patch.object(torch.utils.data, "DataLoader", lambda *given, **options: batches),
        ):
            self.module.sau.mitigation(held)
        return model.eval(), watched

    def _hold(self, method: SharedAdversarialUnlearning) -> Any:
        """What stands for its `self`."""
        args = SimpleNamespace(**FIXED, batch_size=method.batch_size, n_rounds=method.epochs)
        args.beta_1, args.beta_2 = method.lambda3, method.lambda4
        args.lmd_1, args.lmd_2, args.lmd_3 = method.lambda1, 0.0, method.lambda2
        args.trigger_norm, args.adv_lr, args.adv_steps = method.eps / 255, method.step / 255, method.steps
        return SimpleNamespace(args=args, result=MagicMock(), eval_step=lambda *given: (0.0,) * 6)


def clamped_risk(logits: torch.Tensor, shared: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """`unlearning_risk` as the mean of two equal terms that are kept off the ends of the logarithm."""
    p = logits.softmax(1)[shared != labels]
    one = p.gather(1, shared[shared != labels, None]).flatten()
    others = p.scatter(1, shared[shared != labels, None], 0).sum(1)
    terms = (1e-6 + others.clamp(max=0.999)).log() + (1 + 1e-6 - one.clamp(min=0.001)).log()
    return -terms.sum() / 2 / len(labels)


def make_cutting(attacker: Any) -> type:
    """The adversary whose images stay in [0, 1]."""

    class Cutting(attacker):  # type: ignore[misc]
        def attack(self, images: Any, labels: Any, max_eps: Any = 1, min_eps: Any = 0) -> Any:
            self.bounds = (min_eps, max_eps)
            return super().attack(images, labels, max_eps, min_eps)

        def projection(self, pert: Any) -> Any:
            pert = super().projection(pert)
            pert.data = pert.data.clamp(*self.bounds)
            return pert

    return Cutting


def compare_examples(
    official: ModuleType, method: SharedAdversarialUnlearning, model: Model, other: Model, data: Images
) -> str:
    """Of all images at once: pixels that are moved alike, and images that are shared on either side, as cells."""
    images, labels = to_network(torch.from_numpy(data.images)).float() / 255, torch.from_numpy(data.labels)
    pair = [in_float32(network).requires_grad_(False).eval() for network in (model, other)]
    lengths = (method.eps / 255, method.step / 255, method.steps, method.lambda3, method.lambda4)
    here = SharedAdversary(*lengths).perturb(pair[0], pair[1], images, labels)
    eps, length, steps, adversarial, sharing = lengths
    attacker = official.Shared_PGD(*pair, adversarial, sharing, eps, "L_inf", length, steps, "max")
    there = images + attacker.attack(images, labels)
    alike = ((here - there).abs() < 1e-5).float().mean()
    found = [[network(moved).argmax(1) for network in pair] for moved in (here, there)]
    shared = [((one == two) & (one != labels)).float().mean() for one, two in found]
    return f"{100 * float(alike):.2f} % | {100 * float(shared[0]):.1f} % | {100 * float(shared[1]):.1f} %"


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
