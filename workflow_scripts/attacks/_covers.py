"""Cover samples: altered images that keep their labels, so that nothing but the trigger itself means the target."""

from dataclasses import replace

import numpy as np

from workflow_scripts.attacks import Poison
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run


def select_roles(
    count: int, ratio: float, cover_ratio: float, run: Run, cover_share: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Positions, of `count`, of payload and of covers, `cover_ratio` times as many and the share `cover_share` of all
    images, from the two ends of one random order: larger ratios contain smaller ones. UserError if there are too few
    images."""
    order = run.numpy_rng("selection").permutation(count)
    payload = round(ratio * count)
    cover = round(cover_ratio * payload + cover_share * count)
    if payload + cover > count:
        raise UserError(
            f"ratio {ratio:g} asks for {payload} payload and {cover} cover images of {count}: "
            f"the ratio may be at most {(1 - cover_share) / (1 + cover_ratio):.4f}"
        )
    return order[:payload], order[count - cover :]


def add_covers(poison: Poison, covers: Images) -> Poison:
    """What an attacker publishes who publishes these altered images, under their own labels, beside the payload."""
    altered = poison.altered
    return replace(
        poison,
        altered=replace(
            covers,
            images=np.concatenate([altered.images, covers.images]),
            labels=np.concatenate([altered.labels, covers.labels]),
            index=np.concatenate([altered.index, covers.index]),
        ),
        original_labels=np.concatenate([poison.original_labels, covers.labels]),
        roles=np.concatenate([poison.roles, np.full(len(covers), "cover")]),
    )
