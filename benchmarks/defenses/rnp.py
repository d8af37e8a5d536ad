"""RNP beside BackdoorBench's: one victim, the same images in the same order, float32.

    python -m benchmarks.defenses.rnp CHECKOUT FOLDER

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victim.
"""

import copy
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import nn

from benchmarks.compare_tsbd import executed
from benchmarks.defenses._official import Scene, load, set_scene
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.rnp import ReconstructiveNeuronPruning
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import accuracy
from workflow_scripts.training.loader import Resident
from workflow_scripts.units.masks import MaskedNetwork, Masks, prune, prune_fallen, units_below

METHOD = ReconstructiveNeuronPruning(batch_size=64, max_drop=0.05)
UNCLIPPED = replace(METHOD, max_norm=1e9)
THRESHOLD = 0.7
"""The official default."""


def main(checkout: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    scene, official = set_scene(Path(folder)), Official(Path(checkout))
    fit, validation = scene.holdout.split()
    compare_unlearning(scene, official, fit)
    print()
    unlearned = UNCLIPPED.unlearn(scene.fresh(), fit, make_run())
    here = UNCLIPPED.recover(MaskedNetwork(copy.deepcopy(unlearned)), fit, make_run())
    there = official.recover(unlearned, scene, fit)
    compare_masks("from one unlearned network", here, there)
    alone = official.recover(with_weights(scene, official.unlearn(scene, fit)[0]), scene, fit)
    clipped = METHOD.recover(MaskedNetwork(METHOD.unlearn(scene.fresh(), fit, make_run())), fit, make_run())
    compare_masks("each from its own", here, alone)
    compare_masks("each from its own, gradients shortened to 20 here", clipped, alone)
    print("\n| | pruned | ACC | ASR | RA |\n|---|---|---|---|---|")
    print(f"| victim | 0 | {scene.describe(scene.victim)} |")
    for name, masks in (("here, gradients as they are", here), ("here", clipped), ("official", alone)):
        chosen = prune_fallen(
            scene.victim, masks, validation, make_run(), max_drop=METHOD.max_drop, grid=METHOD.grid, selection="own"
        )
        fixed = prune(scene.victim, units_below(masks, THRESHOLD))
        for rule, model in (("our threshold", chosen), (f"threshold {THRESHOLD}", fixed)):
            print(f"| {name}, {rule} | {count_pruned(scene.victim, model)} | {scene.describe(model)} |")
    best = official.select(scene, alone)
    print(f"| official, the lowest ASR on test images | {count_pruned(scene.victim, best)} | {scene.describe(best)} |")


def make_run() -> Run:
    """Random streams from their start."""
    return Run("digits", 0)


class Official:
    """The loops of `defense/rnp.py` on networks of ours."""

    def __init__(self, checkout: Path):
        load(checkout, "rnp")
        sys.modules["utils.trainer_cls"].PureCleanModelTrainer = object  # type: ignore[attr-defined]
        self.module: ModuleType = executed(checkout / "defense" / "rnp.py")
        home = checkout / "utils" / "defense_utils" / "rnp" / "rnp_model"
        self.norm = executed(home / "mask_batchnorm.py").MaskBatchNorm2d

    def unlearn(self, scene: Scene, data: Images) -> tuple[nn.Module, list[Any]]:
        """The unlearned network, and loss and accuracy of each epoch."""
        network = scene.fresh().network
        decay = scene.victim.recipe.weight_decay
        sgd = torch.optim.SGD(network.parameters(), lr=METHOD.unlearn_lr, momentum=0.9, weight_decay=decay)
        rates = torch.optim.lr_scheduler.MultiStepLR(sgd, milestones=[10, 20], gamma=0.1)
        trainer = self.trainer("UnlearnModelTrainer", network, sgd, rates)
        order, told = make_run().torch_rng("unlearning/order"), list[Any]()
        for _ in range(METHOD.unlearn_epochs):
            told.append(run_epoch(trainer, list(draw_batches(scene, data, order))))
            if told[-1][1] <= METHOD.stop_accuracy:
                break
        return network.eval(), told

    def recover(self, unlearned: Model, scene: Scene, data: Images) -> Masks:
        """The masks after its epochs."""
        network = copy.deepcopy(unlearned.network).requires_grad_(False)
        for name, module in list(network.named_modules()):
            if isinstance(module, nn.BatchNorm2d):
                masked = self.norm(module.num_features)
                masked.load_state_dict(module.state_dict(), strict=False)
                network.set_submodule(name, masked)
        masks = {name[: -len(".neuron_mask")]: p for name, p in network.named_parameters() if "neuron_mask" in name}
        sgd = torch.optim.SGD(masks.values(), lr=METHOD.lr, momentum=0.9)
        trainer = self.trainer("RecoverModelTrainer", network, sgd, None, alpha=METHOD.alpha)
        order = make_run().torch_rng("recovering/order")
        for _ in range(METHOD.recover_epochs):
            run_epoch(trainer, list(draw_batches(scene, data, order)))
        return {name: mask.detach() for name, mask in masks.items()}

    def trainer(self, name: str, network: nn.Module, sgd: Any, rates: Any, **more: Any) -> Any:
        """One of its trainers, as its loop of epochs finds it."""
        kind = getattr(self.module, name)
        trainer = kind.__new__(kind)
        vars(trainer).update(model=network, optimizer=sgd, scheduler=rates, criterion=nn.CrossEntropyLoss())
        vars(trainer).update(amp=False, non_blocking=False, **more)
        return trainer

    def select(self, scene: Scene, masks: Masks) -> Model:
        """The victim, pruned as its search over thresholds would, which looks at test images."""
        with TemporaryDirectory() as folder:
            path = f"{folder}/masks.txt"
            self.module.save_mask_scores({f"{name}.neuron_mask": mask for name, mask in masks.items()}, path)
            ranked = sorted(self.module.read_data(path), key=lambda row: float(row[2]))
        search = self.module.rnp.__new__(self.module.rnp)
        settings = dict.fromkeys(("amp", "frequency_save", "save_path", "prefetch", "non_blocking"), False)
        search.args = SimpleNamespace(device="cpu", acc_ratio=0.1, **settings)
        search.set_trainer = lambda network: setattr(search, "trainer", Judge(scene, network))
        asked: dict[str, Any] = {"bd_test_dataloader": None}
        acc, asr = accuracy(scene.victim, scene.test), accuracy(scene.victim, scene.triggered)
        network = scene.fresh().network
        _, best = search.evaluate_by_threshold(
            search.args, network, ranked, 0.9, 0.05, None, asked, best_asr=asr, acc_ori=acc, save=False
        )
        return with_weights(scene, best)


class Judge:
    """What its search asks how well a network does."""

    def __init__(self, scene: Scene, network: nn.Module):
        self.scene, self.model = scene, with_weights(scene, network)

    def set_with_dataloader(self, **given: Any) -> None:
        """Nothing: the images are those of the scene."""

    def test_current_model(self, *given: Any) -> tuple[float, ...]:
        """Two losses that nobody reads, ACC, ASR, and RA, which nobody reads."""
        return 0.0, 0.0, accuracy(self.model, self.scene.test), accuracy(self.model, self.scene.triggered), 0.0


def draw_batches(scene: Scene, data: Images, order: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The next epoch's, as ours draw them."""
    images, labels = scene.normalized(data)
    for rows in Resident(data, torch.device("cpu")).positions(METHOD.batch_size, order):
        yield images[rows], labels[rows]


def run_epoch(trainer: Any, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[float, float]:
    """Its mean loss and its accuracy."""
    given = iter(batches)
    trainer.batch_num_per_epoch = len(batches)
    trainer.get_one_batch = lambda: (*next(given), *torch.zeros(3, 1))
    loss, predicted, labels, *_ = trainer.train_one_epoch_on_mix(verbose=1)
    return loss, float((predicted == labels).float().mean())


def with_weights(scene: Scene, network: nn.Module) -> Model:
    """A network of the victim's architecture as one of our models."""
    model = scene.fresh()
    model.network.load_state_dict({key: network.state_dict()[key] for key in model.network.state_dict()})
    return model


def compare_unlearning(scene: Scene, official: Official, data: Images) -> None:
    """A row for each epoch: the losses and the accuracies; how far apart the weights are then, as a share of their
    way."""
    run, clipped = make_run(), make_run()
    mine, (theirs, told) = UNCLIPPED.unlearn(scene.fresh(), data, run), official.unlearn(scene, data)
    METHOD.unlearn(scene.fresh(), data, clipped)
    print("| epoch of unlearning | loss here | official | accuracy here | official | loss, gradients shortened |")
    print("|---|---|---|---|---|---|")
    rows, short = ([row for row in one.rows if row["kind"] == "epoch"] for one in (run, clipped))
    for row, (loss, kept), other in zip(rows, told, short, strict=True):
        cells = f"{-row['loss']:.5f} | {loss:.5f} | {row['accuracy']:.3f} | {kept:.3f} | {-other['loss']:.5f}"
        print(f"| {row['epoch'] + 1} | {cells} |")
    print(f"\nDistance of the weights, of the way that they have come: {apart(scene.victim, mine, theirs):.1e}.")


def apart(start: Model, here: Model, there: nn.Module) -> float:
    """The distance of both networks' weights over the way that ours have come."""
    triples = zip(here.network.parameters(), there.parameters(), start.network.parameters(), strict=True)
    parts = [((a - b).detach().square().sum(), (a - c).detach().square().sum()) for a, b, c in triples]
    gap, way = (math.sqrt(sum(float(part[axis]) for part in parts)) for axis in (0, 1))
    return gap / way


def compare_masks(name: str, here: Masks, there: Masks) -> None:
    """A line: how alike the masks are, and the units that fall to the official threshold."""
    mine, theirs = (torch.cat([masks[layer] for layer in here]) for masks in (here, there))
    fallen = [mask <= THRESHOLD for mask in (mine, theirs)]
    both, either = (int(part.sum()) for part in (fallen[0] & fallen[1], fallen[0] | fallen[1]))
    rank, gap = spearmanr(mine, theirs)[0], float((mine - theirs).abs().max())
    print(
        f"- Masks {name}: Spearman {rank:.4f}, largest difference {gap:.1e}; at most {THRESHOLD}: {both} on both",
        end="",
    )
    zeros = " and ".join(str(int((masks == 0).sum())) for masks in (mine, theirs))
    print(f" sides, {either} on either, of {len(mine)}; {zeros} are 0.")


def count_pruned(victim: Model, model: Model) -> int:
    """How many gammas have become 0."""
    pairs = zip(victim.network.modules(), model.network.modules(), strict=True)
    gammas = [(a.weight, b.weight) for a, b in pairs if isinstance(a, nn.BatchNorm2d)]
    return sum(int(((before != 0) & (after == 0)).sum()) for before, after in gammas)


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
