"""What an auxiliary is: a network that somebody needs and that is no victim, a frozen feature extractor, say.

A frozen dataclass whose call is handed what its signature names and returns the network. One that asks for `train` is
trained on the clean images; one that asks for `poisoned_train` on what the attacker published, and lies beside it.
"""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.common.fields import ModelName
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run


@dataclass(frozen=True)
class Auxiliary:
    """`model.safetensors` is what the call returns.

    backbone: the architecture of `model`, the untrained network that the call may ask for.
    """

    backbone: ModelName = "preact_resnet18"

    seedless = False
    """Whether it is the same for every seed."""


def draw_share(data: Images, share: float, run: Run) -> Images:
    """This share of the images, at least one, drawn at random, in their order."""
    count = max(1, round(share * len(data)))
    return data[np.sort(run.numpy_rng("extractor").permutation(len(data))[:count])]
