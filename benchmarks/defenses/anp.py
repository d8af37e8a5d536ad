"""ANP beside BackdoorBench's: one victim, the same images, order and noise, float32 without augmentation.

    python -m benchmarks.defenses.anp CHECKOUT FOLDER
    python -m benchmarks.defenses.anp CHECKOUT CLONE ATTACK

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victim on digits; CLONE is where the study
`cifar10_small` ran, of which the attack's victim is taken.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.compare_tsbd import executed
from benchmarks.defenses._official import load
from benchmarks.defenses._scene import Scene, find_victim, pruned_row, read_scene, replace_norms, set_scene
from benchmarks.defenses._thresholds import compare_masks, make_run, select_there
from workflow_scripts.analyses._logged import read_scores
from workflow_scripts.common import arrow
from workflow_scripts.common.images import Images
from workflow_scripts.defenses.anp import AdversarialNeuronPruning
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Resident
from workflow_scripts.units.masks import MaskedNetwork, Masks, prune, prune_fallen, units_below

METHOD = AdversarialNeuronPruning()
OFFICIAL = AdversarialNeuronPruning(lr=0.01, batch_size=256)
"""The settings that BackdoorBench runs."""
FIRST = 20
THRESHOLD = 0.2
"""The published one."""


def main(checkout: str, folder: str, attack: str = "") -> None:
    """Print the comparison as Markdown."""
    scene = read_scene(Path(folder), attack) if attack else set_scene(Path(folder))
    scene.victim.recipe = replace(scene.victim.recipe, crop=0, flip=False, precision="fp32")
    official, (fit, validation) = Official(Path(checkout)), scene.holdout.split()
    short = replace(METHOD, steps=FIRST)
    compare_masks(THRESHOLD, f"after {FIRST} steps", learn_here(short, scene, fit), official.learn(short, scene, fit))
    rows = [pruned_row(scene, "victim", scene.victim)]
    for name, method in (("our settings", METHOD), ("BackdoorBench's settings", OFFICIAL)):
        masks = read_masks(Path(folder), attack) if attack and method == METHOD else official.learn(method, scene, fit)
        if not attack:
            compare_masks(THRESHOLD, f"after {method.steps} steps, {name}", learn_here(method, scene, fit), masks)
        rows += [
            pruned_row(scene, f"{name}, {rule}", model)
            for rule, model in prune_by_rules(official, scene, masks, validation).items()
        ]
    print("\n| | pruned | ACC | ASR | RA |\n|---|---|---|---|---|", *rows, sep="\n")


def prune_by_rules(official: "Official", scene: Scene, masks: Masks, validation: Images) -> dict[str, Model]:
    """The victim without what each way to choose a threshold lets fall."""
    own = prune_fallen(
        scene.victim, masks, validation, make_run(), max_drop=METHOD.max_drop, grid=METHOD.grid, selection="own"
    )
    return {
        "our threshold": own,
        f"threshold {THRESHOLD}": prune(scene.victim, units_below(masks, THRESHOLD)),
        "the lowest ASR on test images": select_there(official.module, official.module.anp, scene, masks),
    }


def read_masks(clone: Path, attack: str) -> Masks:
    """Those that the study's cell has learned, with augmentation."""
    units = read_scores(arrow.read_table(find_victim(clone, attack).parent / "anp" / "log.parquet")[0])
    layers = dict.fromkeys(units.layer.tolist())
    return {layer: torch.tensor(units.score[units.layer == layer], dtype=torch.float32) for layer in layers}


def learn_here(method: AdversarialNeuronPruning, scene: Scene, data: Images) -> Masks:
    """Our masks."""
    return method._learn_masks(MaskedNetwork(scene.fresh()), data, make_run())


class Official:
    """The loop `mask_train` of `defense/anp.py` on networks of ours."""

    def __init__(self, checkout: Path):
        self.module = load(checkout, "anp")
        home = checkout / "utils" / "defense_utils" / "anp" / "anp_model"
        self.kinds: dict[str, Any] = {}
        for name in ("anp_batchnorm", "anp_layernorm"):
            self.kinds |= {key: kind for key, kind in vars(executed(home / f"{name}.py")).items() if key[:2] == "No"}

    def learn(self, method: AdversarialNeuronPruning, scene: Scene, data: Images) -> Masks:
        """The masks after the steps of the method, its noise drawn in our order."""
        noise = make_run().torch_rng("anp/noise")

        class Norm(self.kinds["NoisyBatchNorm2d"]):  # type: ignore[name-defined,misc]
            def reset(self, rand_init: bool = False, eps: float = 0.0) -> None:
                weight, bias = (torch.rand(2, self.num_features, generator=noise) * 2 - 1) * eps
                self.neuron_noise.data, self.neuron_noise_bias.data = weight, bias

        self.module.anp_model = SimpleNamespace(**self.kinds | {"NoisyBatchNorm2d": Norm})  # type: ignore[attr-defined]
        args = SimpleNamespace(device="cpu", anp_eps=method.eps, anp_steps=1, anp_alpha=method.alpha)
        self.module.args = args  # type: ignore[attr-defined]
        network = replace_norms(scene.victim.network, Norm)
        named = list(network.named_parameters())
        masks, noises = ([(k, p) for k, p in named if key in k] for key in ("neuron_mask", "neuron_noise"))
        optimizers = {
            "mask_opt": torch.optim.SGD([p for _, p in masks], lr=method.lr, momentum=0.9),
            "noise_opt": torch.optim.SGD([p for _, p in noises], lr=method.eps),
        }
        batches = Batches(scene, data, method)
        self.module.mask_train(args, network, torch.nn.CrossEntropyLoss(), data_loader=batches, **optimizers)
        return {name.removesuffix(".neuron_mask"): mask.detach() for name, mask in masks}


class Batches:
    """Normalized images and labels of each step, as our method draws them."""

    def __init__(self, scene: Scene, data: Images, method: AdversarialNeuronPruning):
        self.images, self.labels = scene.normalized(data)
        self.data, self.method = Resident(data, torch.device("cpu")), method

    def __len__(self) -> int:
        return self.method.steps

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order, left = make_run().torch_rng("anp/order"), len(self)
        while left:
            for rows in list(self.data.positions(self.method.batch_size, order))[:left]:
                yield self.images[rows], self.labels[rows]
                left -= 1


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
