"""Cover samples: altered images that keep their labels, so that nothing but the trigger itself means the target."""

from dataclasses import dataclass, replace

import numpy as np

from workflow_scripts.attacks import DataPoison, Poison, check_target
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import NonNegative
from workflow_scripts.common.images import Images, format_bound
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
    if ratio and not payload:
        raise UserError(f"ratio {ratio:g} asks for none of the {count} images")
    if payload + cover > count:
        raise UserError(
            f"ratio {ratio:g} asks for {payload} payload and {cover} cover images of {count}: "
            f"the ratio may be at most {format_bound((1 - cover_share) / (1 + cover_ratio))}"
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


@dataclass(frozen=True)
class AdaptivePoison(DataPoison):
    """An attack whose trigger is weaker in training than at test time, on the payload and on covers alike (Qi, Xie, Li,
    Mahloujifar, Mittal; Revisiting the Assumption of Latent Separability for Backdoor Defenses, ICLR 2023).

    cover_ratio: cover samples for each payload sample. Appended are the payload's images; covers stay in their places.
    """

    cover_ratio: NonNegative = 1.0

    def __call__(self, train: Images, ratio: float, run: Run) -> Poison:
        check_target(self, train)
        payload, cover = select_roles(len(train), ratio, self.cover_ratio, run)
        poison = self.poison(self.take(train, payload), lambda images: self.weaken(images, run.numpy_rng("payload")))
        covers = train[cover[::-1]]  # from the order's end: the i-th is the same at a larger ratio
        weak = self.weaken(covers.images, run.numpy_rng("covers"))
        return add_covers(
            replace(poison, trigger=self.make_trigger(train.format.shape, run)), replace(covers, images=weak)
        )

    def weaken(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """uint8 (N, H, W, C) as they are published: the i-th image by the i-th draw."""
        raise NotImplementedError
