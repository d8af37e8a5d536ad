"""TSBD beside its official code: the same victim, the same holdout, the same batches, float32 without augmentation.

    python -m benchmarks.compare_tsbd TSBD BACKDOORBENCH PARQUET FOLDER > benchmarks/compare_tsbd.md

TSBD: a checkout of linweiii/TSBD; BACKDOORBENCH: one of SCLBD/BackdoorBench, inside which it runs. PARQUET: CIFAR-10.
FOLDER keeps the victim, trained if it is not there, and what the official code writes. The images are halved to 16x16:
a quarter of the work. Both programs run as they stand; of the official one only what reads the data is replaced, and
what it makes is copied on its way.
"""

import argparse
import contextlib
import copy
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from workflow_scripts.attacks import to_uint8
from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.images import Images, stratified_order
from workflow_scripts.common.run import Run
from workflow_scripts.datasets import renumber
from workflow_scripts.datasets.parquet import ParquetFile
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import accuracy, predict
from workflow_scripts.training.loop import train as fit

TRAIN, HOLDOUT, TEST, WATCHED = 2000, 256, 500, 16
UNLEARN_EPOCHS, FINETUNE_EPOCHS, BATCH, N, M = 8, 3, 32, 0.15, 0.7
STEPS = (1, 2, 4, 8)
RECIPE = {"epochs": 5, "lr": 0.05, "batch_size": 32, "schedule": "one_cycle", "precision": "fp32"}
State = dict[str, torch.Tensor]
Scores = dict[str, np.ndarray]
Made = dict[str, Any]
"""What a program made: its scores by layer, its weights by stage."""


def main(tsbd: Path, backdoorbench: Path, parquet: Path, folder: Path) -> None:
    """Print the comparison as Markdown."""
    train, holdout, test = map(halved, drawn(parquet))
    attack = catalog.make("attacks", "badnets", {})
    poison = attack(train=train, ratio=0.1, run=Run("cifar10_jpeg", 0))
    rows, wanted = attack.asr_subset(test.labels, 10)
    triggered = poison.trigger(test.images[rows])
    victim = kept_victim(folder / "victim.safetensors", train.replace_rows(poison.altered))
    original = copy.deepcopy(victim.network.state_dict())

    def measured(state: State) -> str:
        victim.network.load_state_dict(state)
        return f"{100 * accuracy(victim, test):.1f} | {100 * (predict(victim, triggered) == wanted).mean():.1f}"

    theirs = official(tsbd, backdoorbench, folder, victim, holdout, Given(victim, test[:WATCHED]))
    victim.network.load_state_dict(original)
    ours = own(victim, holdout)
    print_scores(ours["scores"], theirs["stored"], theirs["scores"])
    print_stages(original, ours, theirs, measured)
    print_drift(theirs["module"], theirs["reinitialized"], victim, holdout)


def print_stages(original: State, ours: Made, theirs: Made, measured: Callable[[State], str]) -> None:
    """What was zeroed, and the weights after each stage."""
    masks = [zeroed(original, made["reinitialized"]) for made in (ours, theirs)]
    jaccard = int((masks[0] & masks[1]).sum()) / int((masks[0] | masks[1]).sum())
    counts = f"{int(masks[0].sum())} here, {int(masks[1].sum())} there"
    print(f"\nZeroed weights: {counts}; Jaccard index {jaccard:.5f}.\n")
    print("Differences of single weights: all, and of those that both zeroed or both kept;", end=" ")
    print("of running statistics, relative.")
    print("\n| state | ACC here | ASR here | ACC official | ASR official | weights | of those alike | statistics |")
    print("|---|---|---|---|---|---|---|---|")
    print(f"| victim | {measured(original)} | {measured(original)} | 0 | 0 | 0 |")
    for stage in ("reinitialized", "fine-tuned"):
        here, there = ours[stage], theirs[stage]
        apart = torch.cat([(here[key] - there[key]).abs().flatten() for key in weights_of(original)])
        moved = max(relative(here[key], there[key]) for key in original if "running" in key)
        parts = f"{apart.max():.1e} | {apart[masks[0] == masks[1]].max():.1e} | {moved:.1e}"
        print(f"| {stage} | {measured(here)} | {measured(there)} | {parts} |")


def print_drift(module: Any, start: State, victim: Model, holdout: Images) -> None:
    """Fine-tuning from the same weights, step by step, beside the official code in its layout of memory and in ours."""
    print("\n| fine-tuning steps from equal weights | weights | statistics | channels_last: weights | statistics |")
    print("|---|---|---|---|---|")
    for steps in STEPS:
        data = holdout[: steps * BATCH]
        model = copy.deepcopy(victim)
        model.network.load_state_dict(start)
        defense = catalog.make("defenses", "tsbd", {"finetune_epochs": 1, "batch_size": BATCH})
        defense._fine_tune(model, data, Run("cifar10_jpeg", 0))
        parts = []
        for layout in (torch.contiguous_format, torch.channels_last):
            there, here = official_epoch(module, start, Given(victim, data), layout), model.network.state_dict()
            for names in (weights_of(start), [key for key in start if "running" in key]):
                parts.append(f"{max(relative(here[key], there[key]) for key in names):.1e}")
        print(f"| {steps} | {' | '.join(parts)} |")


def official_epoch(module: Any, start: State, data: "Given", layout: torch.memory_format) -> State:
    """An epoch of the official fine-tuning from these weights."""
    args = module.args
    network = module.generate_cls_model(args.model, 10).to(memory_format=layout)
    network.load_state_dict(start)
    sgd = torch.optim.SGD(network.parameters(), lr=args.lr_ft, momentum=0.9)
    loader = torch.utils.data.DataLoader(data, batch_size=args.batch_size)
    loss = torch.nn.CrossEntropyLoss()
    module.tsbd.train_finetuning_reg(None, args, network, loss, sgd, loader, args.r, args.alpha)
    state: State = network.state_dict()
    return state


def weights_of(state: State) -> list[str]:
    """The names of what is trained."""
    return [key for key in state if key.endswith((".weight", ".bias"))]


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def print_scores(ours: Scores, stored: Scores, exact: Scores) -> None:
    """A row for each layer. The largest difference is relative to the layer's mean score."""
    print("| layer | neurons | Spearman, with NWC as stored there | before it is rounded | largest difference |")
    print("|---|---|---|---|---|")
    for layer, scores in ours.items():
        ranks = " | ".join(f"{spearmanr(scores, other[layer]).statistic:.5f}" for other in (stored, exact))
        apart = np.abs(scores - exact[layer]).max() / exact[layer].mean()
        print(f"| `{layer}` | {len(scores)} | {ranks} | {apart:.1e} |")


def zeroed(before: State, after: State) -> torch.Tensor:
    """Of all weights of a network, which are 0 after and were not before."""
    return torch.cat([((after[key] == 0) & (before[key] != 0)).flatten() for key in weights_of(before)])


def drawn(parquet: Path) -> tuple[Images, Images, Images]:
    """Training images, a clean holdout outside of them, and test images: stratified, of seed 0."""
    run = Run("cifar10_jpeg", 0)
    train, test = ParquetFile(file=str(parquet)).load()
    order = stratified_order(train.labels, run.numpy_rng("subset"))
    holdout = train[order[TRAIN : TRAIN + HOLDOUT]]
    return renumber(train[order[:TRAIN]]), holdout, test[stratified_order(test.labels, run.numpy_rng("test"))[:TEST]]


def halved(data: Images) -> Images:
    """The images at half the side: means of 2x2 pixels."""
    count, height, width, channels = data.images.shape
    means = data.images.reshape(count, height // 2, 2, width // 2, 2, channels).mean((2, 4), dtype=np.float32)
    return replace(data, images=to_uint8(means), format=replace(data.format, shape=(height // 2, width // 2, channels)))


def kept_victim(path: Path, published: Images, width: int = 64) -> Model:
    """PreAct-ResNet18 trained on the poisoned images, to be asked and fine-tuned without augmentation."""
    run = Run("cifar10_jpeg", 0)
    params = spellings.resolve("models", "preact_resnet18", {"models": {"preact_resnet18": RECIPE | {"width": width}}})
    if not path.exists():
        model = weights.build("preact_resnet18", params, published.format, run)
        fit(model, published, model.recipe, run)
        weights.save(path, model, {})
    return weights.load(path, "preact_resnet18", params | {"crop": 0, "flip": False}, run.device)


def own(victim: Model, holdout: Images) -> Made:
    """The scores and the weights after each stage, by two runs: without and with fine-tuning."""
    made: Made = {"scores": {}}
    fields = {"unlearn_epochs": UNLEARN_EPOCHS, "finetune_epochs": FINETUNE_EPOCHS, "batch_size": BATCH, "n": N, "m": M}
    for stage, finetune in (("reinitialized", "none"), ("fine-tuned", "aware")):
        run = Run("cifar10_jpeg", 0)
        defense = catalog.make("defenses", "tsbd", fields | {"finetune": finetune})
        made[stage] = defense(victim=copy.deepcopy(victim), holdout=holdout, run=run).network.state_dict()
    for row in run.rows:
        if row["kind"] == "unit":
            made["scores"].setdefault(row["layer"], []).append(row["score"])
    made["scores"] = {layer: np.array(scores) for layer, scores in made["scores"].items()}
    return made


class Given(torch.utils.data.Dataset[tuple[Any, ...]]):
    """Images as BackdoorBench's data sets give them, normalized as our victim has it, and nothing drawn at random."""

    def __init__(self, model: Model, data: Images):
        self.images = model.embed(torch.from_numpy(data.images).permute(0, 3, 1, 2)).contiguous()
        self.labels = data.labels.tolist()
        self.wrapped_dataset = self

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Any, ...]:
        return self.images[row], self.labels[row], row, 0, self.labels[row]

    def subset(self, _: Any) -> None:
        """The holdout is the whole of it."""


def official(tsbd: Path, backdoorbench: Path, folder: Path, victim: Model, holdout: Images, test: Given) -> Made:
    """What the official program makes: its `mitigation`, from a victim and a holdout that are handed to it."""
    made: Made = {}
    module = imported(tsbd / "tsbd.py", backdoorbench.resolve())
    given: dict[str, Any] = {"clean_train": Given(victim, holdout), "clean_test": test, "bd_test": test}
    given["model"] = copy.deepcopy(victim.network.state_dict())
    module.load_attack_result = lambda path: given
    module.prepro_cls_DatasetBD_v2 = lambda data: data
    module.choose_index = lambda args, count: range(count)
    module.reinit_ratio = [N]
    watch(module, made)
    module.args = arguments(tsbd)  # its methods read the program's global
    with contextlib.redirect_stdout(sys.stderr), contextlib.chdir(folder):
        module.tsbd(module.args).mitigation()
        written = Path(module.args.checkpoint_save)
        unlearned = torch.load(written / "unlearned_model.pt")
        lines = (written / "nwc.txt").read_text(encoding="utf-8").splitlines()[1:]
    made["module"], made["stored"], made["scores"] = module, {}, {}
    for line in lines:
        _, name, _, score = line.split()
        made["stored"].setdefault(name.removesuffix(".weight"), []).append(float(score))
    for layer in made["stored"]:
        change = unlearned[f"{layer}.weight"] - given["model"][f"{layer}.weight"]
        made["scores"][layer] = change.abs().flatten(1).sum(1).numpy()
    return made


def watch(module: Any, made: Made) -> None:
    """Keep the official program's weights as they are after re-initialization and after each epoch of fine-tuning."""
    reinitialize, finetune = module.zero_reinit_weight, module.tsbd.train_finetuning_reg

    def watched_reinitialize(network: Any, *rest: Any) -> Any:
        count = reinitialize(network, *rest)
        made["reinitialized"] = copy.deepcopy(network.state_dict())
        return count

    def watched_finetune(self: Any, args: Any, network: Any, *rest: Any) -> Any:
        result = finetune(self, args, network, *rest)
        made["fine-tuned"] = copy.deepcopy(network.state_dict())
        return result

    module.zero_reinit_weight, module.tsbd.train_finetuning_reg = watched_reinitialize, watched_finetune


def arguments(tsbd: Path) -> argparse.Namespace:
    """The official configuration but for what is compared at another size, and the device."""
    return argparse.Namespace(
        yaml_path=str((tsbd / "tsbd" / "config.yaml").resolve()),
        device="cpu",
        num_workers=0,
        pin_memory=False,
        amp=False,
        epochs=UNLEARN_EPOCHS,
        batch_size=BATCH,
        m=M,
        ft_epoch=FINETUNE_EPOCHS - 1,  # its loop runs one more
    )


def imported(path: Path, backdoorbench: Path) -> Any:
    """The official file as a module, with BackdoorBench's packages in reach."""
    sys.path.insert(0, str(backdoorbench))
    return executed(path)


def executed(path: Path) -> ModuleType:
    """The module that a file holds."""
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*(Path(argument) for argument in sys.argv[1:]))
