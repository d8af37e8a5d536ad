"""NAD beside BackdoorBench's: the gradients of the first steps, and whole runs from the same teacher.

    python -m benchmarks.defenses.nad BACKDOORBENCH FOLDER > benchmarks/defenses/nad.md

BACKDOORBENCH: a checkout of SCLBD/BackdoorBench; FOLDER: where the victims are kept.
"""

import copy
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock, patch

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.defenses import _official
from benchmarks.defenses._official import load
from benchmarks.defenses._scene import Scene, set_scene
from benchmarks.defenses._steps import RUN, SEEDS, Batches, Watched, defend, nudge, settle, sgd_of
from workflow_scripts.defenses.nad import NeuralAttentionDistillation
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model

INTRODUCTION = """\
# NAD beside BackdoorBench's

`python -m benchmarks.defenses.nad BACKDOORBENCH FOLDER`, one thread of a CPU, float32; the class `AT` and the method
`train_epoch` of `defense/nad.py`, run from the file, on a network whose children are the parts that it takes off one by
one. BadNets on digits, 256 clean images, settings as config.yaml has them, the same teacher and batches, the learning
rate of both falling along the same cosine. The official maps are those of the last but one stage, of the last, and one
behind the global pooling.

Gradients that the first official steps are taken by, and at the same weights those of our step with maps of the same
two stages: their distance as a share of the official one's length. Then the third official map: its loss and its
gradient, as shares of cross-entropy's.

| seed | step 1 | step 2 | step 3 | third map's loss | its gradient |
|---|---|---|---|---|---|"""
RUNS = """
Whole runs: ACC, ASR and RA in percent. `nudged`: here, from weights that differ by a millionth. `two stages`: here,
with the official maps.

| seed | | ACC | ASR | RA |
|---|---|---|---|---|"""

NOTES = """
- The third official map is the constant 1: its loss and its gradient are rounding.
- With the official maps whole runs are within a point of the official ones, whose running statistics follow four passes
  a step.
- With three maps of several places ACC is within a point of the official one, and so is ASR but for seed 1, where the
  teacher keeps the backdoor: there two of our runs, from weights that differ by a millionth, are 48 points apart."""


class Stub(MagicMock):
    """What the file imports; its trainer derives from nothing."""

    PureCleanModelTrainer = object


@dataclass(frozen=True)
class TheirStages(NeuralAttentionDistillation):
    """With the two of the three official maps that are not constant, at their weights."""

    def weigh_stages(self, model: Model) -> dict[str, float]:
        return {"layer2": self.beta / 2, "layer3": self.beta}


class Parts(nn.Module):
    """A network of ours in the parts that the official loop takes off its end: the classifier, the pooling, a stage."""

    def __init__(self, network: nn.Module):
        super().__init__()
        parts = dict(network.named_children())
        self.body = nn.Sequential(*(parts[name] for name in ("conv1", "pool", "layer1", "layer2")))
        self.stage = parts["layer3"]
        self.pooling = nn.Sequential(parts["bn"], nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.linear = parts["linear"]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.pooling(self.stage(self.body(images))).flatten(1)
        logits: torch.Tensor = self.linear(features)
        return logits


def main(checkout: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    with patch.object(_official, "MagicMock", Stub):
        official = load(Path(checkout), "nad")
    rows = []
    print(INTRODUCTION)
    for seed in SEEDS:
        scene, method = set_scene(Path(folder), seed), settle("nad")
        teacher = method.train_teacher(scene.fresh(), scene.holdout, RUN)
        there, watched = run_there(official, method, scene, teacher)
        third = measure_third_map(official, method, scene, teacher)
        print(f"| {seed} | {watched.describe()} | {third} |", flush=True)
        named = {"victim": scene.victim, "teacher": teacher, "here": defend(method, scene.fresh(), scene)}
        named |= {"nudged": defend(method, nudge(scene.fresh()), scene)}
        named |= {"two stages": defend(TheirStages(**vars(method)), scene.fresh(), scene), "official": there}
        rows += [f"| {seed} | {name} | {scene.describe(model)} |" for name, model in named.items()]
    print("\n".join([RUNS, *rows, NOTES]))


def run_there(
    official: ModuleType, method: NeuralAttentionDistillation, scene: Scene, teacher: Model
) -> tuple[Model, Watched]:
    """What the official loop makes of the victim."""
    student, batches = scene.fresh(), Batches(scene, scene.holdout, method.batch_size)
    nets = {"student": Parts(student.network), "teacher": Parts(copy.deepcopy(teacher.network)).eval()}
    args = SimpleNamespace(device="cpu", model="preactresnet18", lr=method.lr)
    vars(args).update(beta1=method.beta / 2, beta2=method.beta, beta3=method.beta)
    criterions = {"criterionCls": nn.CrossEntropyLoss(), "criterionAT": official.AT(float(method.p))}
    holder, alike = SimpleNamespace(non_blocking=False), TheirStages(**vars(method))
    watched = Watched(sgd_of(student, method.lr), student, batches, lambda twin: alike.make_step(twin, teacher))

    def fall(optimizer: torch.optim.Optimizer, epoch: int, lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * epoch / method.epochs)) / 2

    with patch.object(official, "adjust_learning_rate", fall):
        for epoch in range(method.epochs):
            official.NADModelTrainer.train_epoch(
                holder, args, batches, nets, watched.optimizer, None, criterions, epoch
            )
    return student.eval(), watched


def measure_third_map(official: ModuleType, method: NeuralAttentionDistillation, scene: Scene, teacher: Model) -> str:
    """Of the first batch: the loss of the official map behind the pooling and the length of its gradient, each as a
    share of cross-entropy's, as cells."""
    images, labels, *_ = next(iter(Batches(scene, scene.holdout, method.batch_size)))
    student, followed = Parts(scene.fresh().network).train(), Parts(copy.deepcopy(teacher.network)).eval()
    maps = [net.pooling(net.stage(net.body(images))) for net in (student, followed)]
    third = method.beta * official.AT(float(method.p))(maps[0], maps[1].detach())
    whole = F.cross_entropy(student(images), labels)
    lengths = []
    for loss in (third, whole):
        found = torch.autograd.grad(loss, list(student.parameters()), retain_graph=True, allow_unused=True)
        lengths.append(torch.stack([gradient.norm() for gradient in found if gradient is not None]).norm())
    return f"{float((third / whole).detach()):.1e} | {float(lengths[0] / lengths[1]):.1e}"


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
