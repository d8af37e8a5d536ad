"""Pre-activation Distributions Expose Backdoor Neurons: entropy-based pruning."""

from dataclasses import dataclass

import torch

from workflow_scripts.common.fields import Count, NonNegative, Positive
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model
from workflow_scripts.units.activations import largest_preactivations
from workflow_scripts.units.layers import unit_layers
from workflow_scripts.units.outliers import prune_outliers
from workflow_scripts.units.selection import Selection


@dataclass(frozen=True)
class EntropyPruning(Defense):
    """Silence the neurons whose pre-activations over the published images have the least entropy: triggered images,
    whose labels nobody has to know, make a second mode (Zheng, Tang, Li, Liu; NeurIPS 2022).

    Of each neuron and image the largest pre-activation over the places, standardized over the images. u: a neuron goes
    if its entropy is below mean - u · std of its layer; width: of the histogram's bins; samples: images that are asked,
    drawn at random. selection: `random` silences as many of each layer.

    Differences: BackdoorBench asks one augmented batch of 256, and drops what lies on the bounds of its bins and in the
    last of them. A neuron that never changes says nothing and has the mean entropy of the others, there a crash. Of a
    layer that no normalization follows the outputs are judged; there, of LayerNorms, the inputs.
    """

    suspicious = "low"
    compare_by = "deviation"

    u: NonNegative = 3.0
    width: Positive = 0.1
    samples: Count = 5000
    selection: Selection = "own"

    def __call__(self, victim: Model, poisoned_train: Images, run: Run) -> Model:
        order = run.numpy_rng("ep/samples").permutation(len(poisoned_train))
        largest = largest_preactivations(victim, poisoned_train.images[order[: self.samples]])
        scores = {name: entropies(values, self.width) for name, values in largest.items()}
        prune_outliers(unit_layers(victim), scores, self.u, True, self.selection, run)
        return victim


def entropies(values: torch.Tensor, width: float) -> torch.Tensor:
    """float32 (units,), in nats: of values (units, N), each unit's standardized, in bins of this width from the least
    of all on. Units whose values are all equal, or not finite, have the mean of the others, 0 without any."""
    deviations = values.std(1)
    live = torch.isfinite(deviations) & (deviations > 0)
    found = torch.zeros(len(values))
    if live.any():
        scaled = (values[live] - values[live].mean(1, keepdim=True)) / deviations[live, None]
        places = ((scaled - scaled.min()) / width).long()
        bins = int(places.max()) + 1
        rows = places + bins * torch.arange(len(places))[:, None]
        shares = rows.flatten().bincount(minlength=len(places) * bins).view(-1, bins) / values.shape[1]
        found[live] = -torch.xlogy(shares, shares).sum(1)
        found[~live] = found[live].mean()
    return found
