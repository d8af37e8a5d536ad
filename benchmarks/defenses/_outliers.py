"""What the comparisons of BNP and EP share: both prune what lies far from its layer, of a score of each channel."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from scipy.stats import spearmanr
from torch import nn

from benchmarks.defenses._official import Scene
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model

US = (3.5, 3.0, 2.5, 2.0, 1.5)
Pruned = set[tuple[str, int]]


def replace_norms(network: nn.Module, kind: Any) -> nn.Module:
    """A copy of the network with batch normalizations of the official class."""
    found = copy.deepcopy(network).eval()
    for name, module in list(found.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            norm = kind(module.num_features).eval()
            norm.load_state_dict(module.state_dict())
            found.set_submodule(name, norm)
    return found


@contextmanager
def catch_scores() -> Iterator[list[torch.Tensor]]:
    """A block in which whatever is asked for its standard deviation over all is kept: the official scores, which it
    returns nowhere, layer by layer."""
    caught: list[torch.Tensor] = []
    own = torch.Tensor.std

    def std(values: torch.Tensor, *given: Any, **options: Any) -> torch.Tensor:
        if not given and not options:
            caught.append(values.detach().clone())
        return own(values, *given, **options)

    with patch.object(torch.Tensor, "std", std):
        yield caught


def compare(
    scene: Scene,
    here: Callable[[Model, float, Run], Model],
    prune_there: Callable[[nn.Module, float], object],
    kind: Any,
    twins: dict[str, torch.Tensor] | None = None,
) -> None:
    """Print rows: how alike the scores of each layer are; which channels go at some u, and what is left then.

    here: our defense of a model at u; prune_there: the official one, in place, of a network with its normalizations;
    twins: scores of ours by the official formula, by layer, where it is another one.
    """
    run = Run("digits", 0)
    here(scene.fresh(), 3.0, run)
    mine: dict[str, list[float]] = {}
    for row in run.rows:
        mine.setdefault(row["layer"], []).append(row["score"])
    network = replace_norms(scene.victim.network, kind)
    with catch_scores() as caught:
        prune_there(network, 3.0)
    names = [name for name, module in network.named_modules() if isinstance(module, kind)]
    print("| layer | channels | Spearman | by its formula | lowest here | official | highest here | official |")
    print("|---|---|---|---|---|---|---|---|")
    for name, theirs in zip(names, caught, strict=True):
        ends = " | ".join(f"{end(mine[name]):.3f} | {end(theirs.tolist()):.3f}" for end in (min, max))
        ranks = [spearmanr(own[name], theirs)[0] for own in (mine, twins or mine)]
        print(f"| `{name}` | {len(theirs)} | {ranks[0]:.4f} | {ranks[1]:.4f} | {ends} |")
    print("\n| u | pruned on both sides | on either | ACC here | ASR | RA | ACC official | ASR | RA |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(f"| victim | | | {scene.describe(scene.victim)} | {scene.describe(scene.victim)} |")
    for u in US:
        model, network = here(scene.fresh(), u, Run("digits", 0)), replace_norms(scene.victim.network, kind)
        prune_there(network, u)
        official = scene.fresh()
        official.network.load_state_dict(network.state_dict())
        pruned = [find_pruned(scene.victim, one) for one in (model, official)]
        counts = f"{len(pruned[0] & pruned[1])} | {len(pruned[0] | pruned[1])}"
        print(f"| {u:g} | {counts} | {scene.describe(model)} | {scene.describe(official)} |")


def find_pruned(victim: Model, model: Model) -> Pruned:
    """The channels whose gamma has become 0."""
    found = set()
    for name, module in victim.network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            after = model.network.get_parameter(f"{name}.weight")
            gone = torch.nonzero((module.weight != 0) & (after == 0)).flatten().tolist()
            found |= {(name, channel) for channel in gone}
    return found
