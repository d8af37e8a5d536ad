"""What the comparisons of ANP and RNP share: both learn masks, and prune what falls to a threshold."""

from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import nn

from benchmarks.defenses._scene import Scene, with_weights
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import accuracy
from workflow_scripts.units.masks import Masks


def make_run() -> Run:
    """Random streams from their start."""
    return Run("digits", 0)


def select_there(module: ModuleType, kind: Any, scene: Scene, masks: Masks) -> Model:
    """The victim, pruned as the official search over thresholds would, which looks at test images. `kind` is the class
    of the official `module` that has it."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/masks.txt"
        module.save_mask_scores({f"{name}.neuron_mask": mask for name, mask in masks.items()}, path)
        ranked = sorted(module.read_data(path), key=lambda row: float(row[2]))
    search = kind.__new__(kind)
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


def compare_masks(threshold: float, name: str, here: Masks, there: Masks) -> None:
    """A line: how alike the masks are, and the units that fall to the threshold."""
    mine, theirs = (torch.cat([masks[layer] for layer in here]) for masks in (here, there))
    fallen = [mask <= threshold for mask in (mine, theirs)]
    both, either = (int(part.sum()) for part in (fallen[0] & fallen[1], fallen[0] | fallen[1]))
    rank, gap = spearmanr(mine, theirs)[0], float((mine - theirs).abs().max())
    print(
        f"- Masks {name}: Spearman {rank:.4f}, largest difference {gap:.1e}; at most {threshold}: {both} on both",
        end="",
    )
    zeros = " and ".join(str(int((masks == 0).sum())) for masks in (mine, theirs))
    print(f" sides, {either} on either, of {len(mine)}; {zeros} are 0.")
