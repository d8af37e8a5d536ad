"""Runs FMP's official FGSM script beside `fmp+faithful~true`: one victim, the same images, random signs and batches.

    python -m benchmarks.compare_fmp CHECKOUT PARQUET FOLDER

CHECKOUT is one of github.com/retsuh-bqw/FMP, PARQUET a file of CIFAR-10's images. FOLDER holds the victim and its
images, which are made where there are none: a PreAct-ResNet18 with half of its width, for images of half the side:
the official script asks the whole network three times for each map, which for all 4,800 takes a core an hour.
"""

import copy
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from benchmarks.compare_tsbd import drawn, executed, halved, kept_victim
from workflow_scripts.common import catalog
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.fmp import FeatureMapPruning
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.hooks import count_passes
from workflow_scripts.networks.model import Model
from workflow_scripts.training.augmentation import crop_and_flip
from workflow_scripts.training.inference import accuracy
from workflow_scripts.training.loader import Resident, to_network

METHOD = FeatureMapPruning(faithful=True, epsilon=15.3, start=5.1)
"""With the lengths of FMT's published configuration for CIFAR-10, 0.06 and 0.02: FMP's has none."""
RUN = Run("cifar10_jpeg", 0)
Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]
WIDTH = 32
TIMED = 8
"""The official script is timed as it stands on one map in so many."""


def main(checkout: str, parquet: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    train, holdout, test = map(halved, drawn(Path(parquet)))
    attack = catalog.make("attacks", "badnets", {})
    poison = attack(train=train, ratio=0.1, run=RUN)
    victim = kept_victim(Path(folder) / f"victim{WIDTH}.safetensors", train.replace_rows(poison.altered), WIDTH)
    rows, wanted = attack.asr_subset(test.labels, len(test.format.classes))
    triggered = replace(test[rows], images=poison.trigger(test.images[rows]), labels=wanted)
    images, labels = METHOD.sample(victim, holdout, RUN)
    signs = torch.randint(2, images.shape, generator=RUN.torch_rng("fmp/start")) * 2.0 - 1
    jobs = [(side, Path(checkout), victim, images, labels, signs) for side in ("official", "here", "sample")]
    with get_context("spawn").Pool(2) as pool:
        (theirs, ranked, _), (judged, passes, ours), (sample, _, part) = pool.starmap(scored, jobs, chunksize=1)
    flat, sampled = np.concatenate(theirs), np.concatenate(sample)
    print(f"{len(images)} images, {len(theirs)} layers, {len(flat)} maps, one thread.\n")
    print(f"- CPU seconds to score: official {part * TIMED:.0f} (of {len(sampled)} maps, scaled up), here {ours:.0f}.")
    print(f"- Passes of an image here: {passes['forward']} forward, {passes['backward']} backward.")
    print(f"- Maps whose replayed score is not that of the script as it stands: {(sampled != flat[::TIMED]).sum()}.\n")
    official = Official(Path(checkout), victim)
    stages = [("victim", rates(victim, test, triggered), rates(official.model(), test, triggered))]
    METHOD.prune(victim, judged, RUN)
    official.fgsm.initialize(official.network, ranked)
    print_layers(dict(zip(judged.hits, theirs, strict=True)), judged.hits, official.network, victim.network)
    stages.append(("pruned", rates(victim, test, triggered), rates(official.model(), test, triggered)))
    pruned = {key: value.clone() for key, value in official.network.state_dict().items()}
    METHOD.fine_tune(victim, holdout, RUN)
    for mode in ("evaluation", "training"):
        official.network.load_state_dict(pruned)
        official.fine_tune(holdout, test, mode)
        name = f"fine-tuned; official looks at the test set in {mode} mode"
        stages.append((name, rates(victim, test, triggered), rates(official.model(), test, triggered)))
    print("\n| | ACC here | ASR here | ACC official | ASR official |\n|---|---|---|---|---|")
    for name, here, there in stages:
        print(f"| {name} | {here} | {there} |")


def scored(
    side: str, checkout: Path, victim: Model, images: torch.Tensor, labels: torch.Tensor, signs: torch.Tensor
) -> tuple[Any, Any, float]:
    """Scores, what they prune (of ours: the passes that they took) and CPU seconds: of the official script, of a
    `sample` of maps in it, or of ours."""
    with step(threads=1):
        if side == "here":
            count_passes(victim.network, passes := Counter[str]())
            started = time.process_time()
            return METHOD.score_units(victim, images, labels, signs), passes, time.process_time() - started
        official = Official(checkout, victim)
        if side == "sample":
            return official.scores(official.network, images, labels, signs, every=TIMED)
        return official.scores(Replayed(official.network), images, labels, signs)


def rates(model: Model, test: Images, triggered: Images) -> str:
    """ACC and ASR in percent, as two cells."""
    return f"{100 * accuracy(model, test):.1f} | {100 * accuracy(model, triggered):.1f}"


class Loader:
    """What it iterates over is made anew each time."""

    def __init__(self, batches: Callable[[], Batches]):
        self.batches = batches

    def __iter__(self) -> Batches:
        return self.batches()


class Replayed(nn.Module):
    """A network that replays, to the hooks of its convolutions, the passes of the first two batches that it was given.

    The script asks it about the clean and about the started images anew for each map: the same numbers each time.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.kept: list[tuple[torch.Tensor, torch.Tensor, list[tuple[nn.Module, torch.Tensor]]]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for known, answer, outputs in self.kept:
            if torch.equal(known, images):
                for module, output in outputs:
                    for hook in module._forward_hooks.values():
                        hook(module, (), output)
                return answer
        seen: list[tuple[nn.Module, torch.Tensor]] = []
        convolutions = [module for module in self.network.modules() if isinstance(module, nn.Conv2d)]
        handles = [m.register_forward_hook(lambda m, _, output: seen.append((m, output))) for m in convolutions]
        answer = self.network(images)
        for handle in handles:
            handle.remove()
        if len(self.kept) < 2:
            self.kept.append((images, answer, seen))
        return answer


class Official:
    """The functions of `defense/fgsm-feature.py`, run from its file, with its own network holding the victim's weights.

    It wants a GPU and a package `utils` that is not in its repository: `cuda` does nothing here, and of `utils` only
    the mean and std of the dataset are asked.
    """

    def __init__(self, checkout: Path, victim: Model):
        self.victim = victim
        parts = ("fix_random", "model_trainer_generate", "dataset_and_transform_generate")
        names = ["utils", "utils.aggregate_block", *(f"utils.aggregate_block.{part}" for part in parts)]
        names += [f"utils.{part}" for part in ("bd_dataset", "nCHW_nHWC", "save_load_attack", "choose_index")]
        sys.modules.update({name: MagicMock() for name in names})
        self.fgsm = executed(checkout / "defense" / "fgsm-feature.py")
        lengths = {"eps": METHOD.epsilon / 255, "alpha": METHOD.start / 255}
        statistics = victim.format.mean, victim.format.std
        vars(self.fgsm).update(
            args=SimpleNamespace(**lengths, dataset="cifar10", epochs=METHOD.epochs, device="cpu"),
            get_dataset_mean_std=lambda dataset: statistics,
            print=lambda *values: None,
            tqdm=lambda given: given,
        )
        self.network = executed(checkout / "models" / "preact_resnet.py").PreActResNet18(len(victim.format.classes))
        for name, module in victim.network.named_modules():  # of the victim's width, which the class cannot be told
            if not list(module.children()) and hasattr(module, "weight"):
                self.network.set_submodule(name, copy.deepcopy(module))
        self.network.eval()

    def scores(
        self, network: nn.Module, images: torch.Tensor, labels: torch.Tensor, signs: torch.Tensor, every: int = 1
    ) -> tuple[list[np.ndarray], list[np.ndarray], float]:
        """The accuracies of each layer, those it would prune, and CPU seconds; of one map in `every` only."""
        vars(self.fgsm)["tqdm"] = lambda given: given[::every] if isinstance(given, range) else given
        started = time.process_time()
        with (
            patch.object(torch.Tensor, "cuda", lambda tensor: tensor),
            patch.object(nn.Module, "cuda", lambda module: module),
            patch.object(torch.Tensor, "uniform_", lambda tensor, *bounds: signs.clone()),
            patch.object(torch.utils.data, "DataLoader", lambda *given, **options: [(images, labels)]),
        ):
            ranked, accuracies = self.fgsm.obtain_adv_dataset(network, None)
        return [np.array(layer)[:, 0] for layer in accuracies], ranked, time.process_time() - started

    def fine_tune(self, holdout: Images, test: Images, mode: str) -> None:
        """Its `train` on the batches that ours draws; its looks at the test set in evaluation or training mode."""

        resident, looked_at = (Resident(data, torch.device("cpu")) for data in (holdout, test))
        augment = crop_and_flip(self.victim.recipe)
        order, shifts = RUN.torch_rng("fine-tuning/order"), RUN.torch_rng("fine-tuning/augmentation")

        def tests() -> Batches:
            self.network.train(mode == "training" and self.network.training)
            for rows in looked_at.positions(METHOD.batch_size, None):
                yield self.normalized(looked_at.images[rows]), looked_at.labels[rows]

        def training() -> Batches:
            for rows in resident.positions(METHOD.batch_size, order):
                yield self.normalized(augment(resident.images[rows], shifts)), resident.labels[rows]

        nothing: list[list[int]] = [[] for _ in self.network.modules()]
        self.network.eval()
        self.fgsm.train(self.network, Loader(training), Loader(tests), nothing)
        self.network.eval()

    def normalized(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (B, H, W, C) as its loaders yield them."""
        return (to_network(images) / 255 - self.victim.mean) / self.victim.std

    def model(self) -> Model:
        """Its network as one of ours."""
        architecture, form = self.victim.architecture, self.victim.format
        model = Model(self.victim.name, architecture, form)
        model.network.load_state_dict(self.network.state_dict())
        return model


def print_layers(
    theirs: dict[str, np.ndarray], ours: dict[str, torch.Tensor], official: nn.Module, network: nn.Module
) -> None:
    """A row for each layer: its scores on both sides, and which of its maps are zero there."""
    print("| layer | maps | Spearman | scores that differ | largest difference | pruned by both | by either |")
    print("|---|---|---|---|---|---|---|")
    there, here = zeroed(official, nn.Conv2d), zeroed(network, nn.Conv2d)
    for name, scores in theirs.items():
        gap = np.abs(ours[name].numpy() - scores)
        both, either = (sum(layer == name for layer, _ in units) for units in (here & there, here | there))
        cells = f"{spearmanr(ours[name], scores)[0]:.4f} | {(gap > 0).sum()} | {gap.max():.4f} | {both} | {either}"
        print(f"| `{name}` | {len(gap)} | {cells} |")
    print(f"\nJaccard index of pruned maps: {jaccard(here, there)};", end=" ")
    print(f"of zeroed gammas: {jaccard(zeroed(network, nn.BatchNorm2d), zeroed(official, nn.BatchNorm2d))}.")


def jaccard(here: set[tuple[str, int]], there: set[tuple[str, int]]) -> str:
    """Their Jaccard index, and how many there are on either side."""
    return f"{len(here & there) / len(here | there):.3f} ({len(here)} here, {len(there)} there)"


def zeroed(network: nn.Module, kind: type[nn.Conv2d] | type[nn.BatchNorm2d]) -> set[tuple[str, int]]:
    """The units of these modules, by module and number, whose weights are all 0."""
    found = [(name, module.weight) for name, module in network.named_modules() if isinstance(module, kind)]
    empty = ((name, weight.detach().reshape(len(weight), -1).abs().amax(1) == 0) for name, weight in found)
    return {(name, unit) for name, dead in empty for unit in torch.nonzero(dead).flatten().tolist()}


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
