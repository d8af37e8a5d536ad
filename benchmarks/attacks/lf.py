"""LF's search beside BackdoorBench's: one clean model, the same images in the same order.

    python -m benchmarks.attacks.lf CHECKOUT PARQUET FOLDER

CHECKOUT is one of github.com/SCLBD/BackdoorBench, PARQUET a file of CIFAR-10's images; FOLDER keeps the clean model, a
PreAct-ResNet18 with a quarter of its width.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import torch
from scipy.fft import dctn
from torch import nn

from benchmarks.compare_tsbd import drawn, executed, kept_victim
from workflow_scripts.attacks import to_uint8
from workflow_scripts.attacks.lf import LowFrequency, low_pass
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.universal import search_perturbation, shortest_step
from workflow_scripts.training.inference import predict
from workflow_scripts.training.loader import to_network

ATTACK = LowFrequency()
RUN = Run("cifar10_jpeg", 0)
SEEN, JUDGED, PASSES = 30, 100, 2
LOWEST = 4
"""Frequencies on both axes that count as low."""
SHIPPED = "cifar10_preactresnet18_0_255.npy"


class Asked(nn.Module):
    """The model as the official search asks it, or with images clipped before, as they are here."""

    def __init__(self, model: Model, clipped: bool):
        super().__init__()
        self.model, self.clipped = model, clipped

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images.clamp(0, 1) if self.clipped else images)


def main(checkout: str, parquet: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    train, _, test = drawn(Path(parquet))
    model = kept_victim(Path(folder) / "clean16.safetensors", train, 16).requires_grad_(False).eval()
    official = load(Path(checkout) / "resource" / "lowFrequency")
    before = predict(model, train.images)
    other = np.flatnonzero(before != ATTACK.target)
    seen, judged = train[other[:SEEN]], test[:JUDGED]
    print("| | gray levels here, of 255 | largest difference |\n|---|---|---|")
    print(compare_filter(official["gauss_smooth"]))
    print(*compare_steps(official["deepfool"], model, seen), sep="\n")
    mine = search(model, seen, judged)
    for clipped in (True, False):
        theirs = search_there(official["universal_pert"], Asked(model, clipped), seen, judged)
        name = f"pattern after {PASSES} passes over {SEEN} images, {'clipped there too' if clipped else 'as it is'}"
        print(describe(name, 255 * mine, 255 * theirs))
    shipped = np.load(Path(checkout) / "resource" / "lowFrequency" / SHIPPED).astype(np.float32).reshape(32, 32, 3)
    print("\n| pattern | means of its channels | energy in the lowest frequencies | answers changed | target |")
    print("|---|---|---|---|---|")
    whole = ATTACK.search(train, model, RUN)
    for name, pattern in (("here, default search", whole), ("shipped, of another network", shipped)):
        print(f"| {name} | {look_at(pattern)} | {judge(model, test, pattern)} |")
    print(
        f"\nThe default search here: {RUN.notes['passes']} passes, {100 * RUN.notes['fooling_rate']:.0f} % of answers."
    )


def load(folder: Path) -> dict[str, ModuleType]:
    """The official files as modules, which import each other by name."""
    sys.path.insert(0, str(folder))
    return {name: executed(folder / f"{name}.py") for name in ("gauss_smooth", "deepfool", "universal_pert")}


def compare_filter(module: ModuleType) -> str:
    """A row: noise through both low-pass filters."""
    noise = RUN.numpy_rng("noise").random((1, 32, 32, 3), np.float32)
    smooth, channels = low_pass(32, ATTACK.sigma), torch.from_numpy(noise[0]).permute(2, 0, 1)
    here = (smooth @ channels @ smooth.T).permute(1, 2, 0).numpy()
    return describe("low-pass filter, of noise", 255 * here, 255 * module.gauss_smooth(noise)[0])


def compare_steps(module: ModuleType, model: Model, seen: Images) -> Iterator[str]:
    """A row for images of one step and one for those of several: DeepFool's steps, far from black and white."""
    images = to_network(torch.from_numpy(seen.images)) / 255 / 2 + 0.25
    here = [shortest_step(model, image[None], ATTACK.target) for image in images]
    there = [module.tar_deepfool(image, model, ATTACK.target) for image in images]
    for name, counts in (("one", {1}), ("several", set(range(2, 100)))):
        found = [
            (mine[0].permute(1, 2, 0).numpy(), step[0])
            for mine, (step, count, _, _) in zip(here, there, strict=True)
            if mine is not None and count in counts
        ]
        mine, theirs = (np.stack(part) for part in zip(*found, strict=True))
        title = f"DeepFool's perturbation, of {len(found)} images, to which {name} of its steps lead"
        yield describe(title, 255 * mine, 255 * theirs)
    arrived = sum(mine is not None for mine in here), sum(count < 100 for _, count, _, _ in there)
    yield f"| images that it brings to the target, of {len(images)} | {arrived[0]} here | {arrived[1]} there |"


def search(model: Model, seen: Images, judged: Images) -> np.ndarray:
    """The pattern here, (H, W, C) of [0, 1]."""
    wanted, update = np.full(len(seen), ATTACK.target), ATTACK.make_update(seen.format.shape)
    found = search_perturbation(model, seen, wanted, judged, update, RUN, epochs=PASSES, fooling=1.0)
    return found[0].permute(1, 2, 0).numpy()


def search_there(module: ModuleType, network: nn.Module, seen: Images, judged: Images) -> np.ndarray:
    """The official pattern, (H, W, C) of [0, 1], its passes in the order of ours."""
    images, order = seen.images.astype(np.float32) / 255, RUN.torch_rng("universal/order")
    looked_at = [(image, 0) for image in to_network(torch.from_numpy(judged.images)) / 255]
    shuffled = images.copy()

    def shuffle(dataset: np.ndarray) -> None:
        dataset[:] = images[torch.randperm(len(images), generator=order).numpy()]

    quiet: Callable[[Iterator[int]], Iterator[int]] = lambda given: given  # noqa: E731
    saving = patch.multiple(module, tqdm=quiet, print=lambda *given: None, create=True)
    with saving, patch("numpy.random.shuffle", shuffle), patch("numpy.save"), patch("PIL.Image.Image.save"):
        found = module.universal_perturbation(
            shuffled, looked_at, network, ATTACK.target, delta=0.0, max_iter_uni=PASSES, save_path_prefix=""
        )
    pattern: np.ndarray = found.squeeze()
    return pattern


def describe(name: str, here: np.ndarray, there: np.ndarray) -> str:
    """A row: the root mean square of ours, and how far the two are from each other."""
    return f"| {name} | {np.sqrt((here**2).mean()):.2f} | {np.abs(here - there).max():.4f} |"


def look_at(pattern: np.ndarray) -> str:
    """Means of the channels, and the share of energy, without the mean, in the lowest frequencies."""
    energy = dctn(pattern - pattern.mean((0, 1)), axes=(0, 1), norm="ortho") ** 2
    low = energy[:LOWEST, :LOWEST].sum() / energy.sum()
    return f"{', '.join(f'{mean:.1f}' for mean in pattern.mean((0, 1)))} | {100 * low:.2f} %"


def judge(model: Model, test: Images, pattern: np.ndarray) -> str:
    """Of test images of other classes, the answers that the pattern changes, and those that become the target."""
    rest = test[test.labels != ATTACK.target]
    before, after = (predict(model, images) for images in (rest.images, to_uint8(rest.images + pattern)))
    to_target = [100 * float((answers == ATTACK.target).mean()) for answers in (before, after)]
    return f"{100 * (before != after).mean():.1f} % | {to_target[0]:.1f} % to {to_target[1]:.1f} %"


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
