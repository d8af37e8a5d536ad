"""What the comparisons of BNP, CLP and EP share: they prune channels whose score lies far from its layer's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from scipy.stats import spearmanr
from torch import nn

from benchmarks.defenses._scene import Scene, find_pruned, replace_norms, with_weights
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model

US = (3.5, 3.0, 2.5, 2.0, 1.5)


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
    us: Sequence[float] = US,
) -> None:
    """Print rows: how alike the scores of each layer are; which channels go at some u, and what is left then.

    here: our defense of a model at u; prune_there: the official one, in place, of a network with its normalizations;
    twins: scores of ours by the official formula, by layer, where it is another one; us: the values of u.
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
    for u in us:
        model, network = here(scene.fresh(), u, Run("digits", 0)), replace_norms(scene.victim.network, kind)
        prune_there(network, u)
        official = with_weights(scene, network)
        pruned = [find_pruned(scene.victim, one) for one in (model, official)]
        counts = f"{len(pruned[0] & pruned[1])} | {len(pruned[0] | pruned[1])}"
        print(f"| {u:g} | {counts} | {scene.describe(model)} | {scene.describe(official)} |")
