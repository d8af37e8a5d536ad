"""TrojanNN's search beside BackdoorBench's: one clean model, the same neurons and mask.

    python -m benchmarks.attacks.trojannn CHECKOUT PARQUET FOLDER

CHECKOUT is one of github.com/SCLBD/BackdoorBench, PARQUET a file of CIFAR-10's images; FOLDER keeps the clean model,
that of `benchmarks.attacks.lf`.
"""

import copy
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from PIL import Image

from benchmarks.compare_tsbd import drawn, executed, kept_victim
from workflow_scripts.attacks.trojannn import START, TrojanNN, connected_neurons, draw_mask
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model, penultimate
from workflow_scripts.training.inference import predict

ATTACK = TrojanNN()
PARTS = (
    *("aggregate_block.bd_attack_generate", "aggregate_block.model_trainer_generate", "backdoor_generate_poison_index"),
    *("aggregate_block.train_settings_generate", "save_load_attack", "trainer_cls", "bd_dataset_v2"),
    "bd_label_transform.backdoor_label_transform",
)
"""The modules of its package `utils` that the official file imports."""


def main(checkout: str, parquet: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    train, _, test = drawn(Path(parquet))
    model = kept_victim(Path(folder) / "clean16.safetensors", train, 16).requires_grad_(False).eval()
    module = load(Path(checkout))
    key = f"network.{model.classifier_name}"
    theirs = module.get_most_connected_neuron_idxes(model, f"{key}.weight", ATTACK.neurons).tolist()
    print(f"Neurons here: {connected_neurons(model, ATTACK.neurons).tolist()}; there, of the same head: {theirs}.\n")
    mask = draw_mask(train.format.shape)
    print("| steps | loss here | loss there | largest difference of the patches, gray levels |\n|---|---|---|---|")
    for steps in (1, 3, 5, 20, ATTACK.steps):
        run = Run("cifar10_jpeg", 0)
        here = replace(ATTACK, steps=steps + 1).search(model, mask, run)
        there = search_there(module, model, mask, theirs, steps)
        gap = np.abs(here.astype(float) - 255 * there)[mask].max()
        losses = f"{run.notes['loss_after']:.2f} | {loss(model, there * mask[..., None], theirs):.2f}"
        print(f"| {steps} | {losses} | {gap:.2f} |")
    compare_masks(Path(checkout), mask)
    print("\n| on test images of other classes | taken for the target |\n|---|---|")
    for name, patch_ in (("clean", None), ("gray mask", np.uint8(round(255 * START))), ("patch", here)):
        print(f"| {name} | {judge(model, test, mask, patch_)} |")


def load(checkout: Path) -> ModuleType:
    """The official file as a module; of the packages that it imports nothing is asked."""
    names = ["utils", "utils.aggregate_block", "utils.bd_label_transform", "attack", "attack.badnet"]
    sys.modules.update({name: MagicMock() for name in [*names, *(f"utils.{part}" for part in PARTS)]})
    return executed(checkout / "attack" / "trojannn.py")


def search_there(module: ModuleType, model: Model, mask: np.ndarray, neurons: list[int], steps: int) -> np.ndarray:
    """float32 (H, W, C) of [0, 1]: the patch of the official search, which keeps the last step."""
    start = torch.from_numpy(np.where(mask, np.float32(START), np.float32(0))).expand(1, 3, *mask.shape).clone()
    with patch.object(module, "tqdm", lambda given, desc: given):
        found = module.pgd_with_mask_to_selected_neuron(
            copy.deepcopy(model), start, f"network.{model.classifier_name}", neurons, [ATTACK.level] * 2, iters=steps
        )
    patch_: np.ndarray = found[0].permute(1, 2, 0).numpy()
    return patch_


@torch.no_grad()
def loss(model: Model, image: np.ndarray, neurons: list[int]) -> float:
    """How far the neurons are from their level, squared and summed."""
    excited = penultimate(model, torch.from_numpy(image).permute(2, 0, 1)[None])[0, neurons]
    return float((excited - ATTACK.level).square().sum())


def compare_masks(checkout: Path, mask: np.ndarray) -> None:
    """How the drawn mask lies on the official picture, scaled to 32x32."""
    with Image.open(checkout / "resource" / "trojannn" / "apple4.png") as picture:
        official = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BILINEAR)) > 0
    both, either = (official & mask).sum(), (official | mask).sum()
    print(f"\nPixels of the mask: {mask.sum()} here, {official.sum()} there, {both} in both, {either} in either.")


def judge(model: Model, test: Images, mask: np.ndarray, patch_: np.ndarray | np.uint8 | None) -> str:
    """The share of test images of other classes that the model takes for the target."""
    rest = test.images[test.labels != ATTACK.target]
    shown = rest if patch_ is None else np.where(mask[..., None], patch_, rest)
    return f"{100 * (predict(model, shown) == ATTACK.target).mean():.1f} %"


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
