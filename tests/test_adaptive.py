"""Adaptive-Patch and Adaptive-Blend: covers, and triggers that are weaker in training than at test time."""

from collections.abc import Callable

import numpy as np
import pytest

from workflow_scripts.attacks._covers import AdaptivePoison
from workflow_scripts.attacks.adap_blend import AdaptiveBlend
from workflow_scripts.attacks.adap_patch import (
    AdaptivePatch,
    Overlay,
    corner_pattern,
    large_logo,
    middle_logo,
    small_logo,
)
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run

BOTH = pytest.mark.parametrize("attack", [AdaptiveBlend(), AdaptivePatch(), AdaptivePatch(together="logos")])
SHAPE = (32, 32, 3)
Box = tuple[int, int, int, int]


def black(count: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.zeros((count, *shape), np.uint8)


def box(shown: np.ndarray) -> Box:
    """First and last row, first and last column."""
    rows, columns = np.nonzero(shown[..., 0])
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


@BOTH
def test_a_larger_ratio_publishes_the_same_images(
    attack: AdaptivePoison, digits: tuple[Images, Images], run: Run
) -> None:
    small, large = (attack(train=digits[0], ratio=ratio, run=run).altered for ratio in (0.02, 0.05))
    kept = np.isin(large.index, small.index)
    order = np.argsort(small.index), np.argsort(large.index[kept])
    assert np.array_equal(small.images[order[0]], large.images[kept][order[1]])


@BOTH
def test_the_trigger_is_weaker_in_training(attack: AdaptivePoison, digits: tuple[Images, Images], run: Run) -> None:
    train = digits[0]
    poison = attack(train=train, ratio=0.05, run=run)
    originals = train.images[poison.altered.index]
    weak, strong = (move(originals, images) for images in (poison.altered.images, poison.trigger(originals)))
    for role in ("payload", "cover"):
        assert weak[poison.roles == role].mean() < 0.8 * strong[poison.roles == role].mean()


def move(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Root mean squares in gray levels, of each image."""
    return np.asarray(np.sqrt(((after.astype(float) - before) ** 2).mean((1, 2, 3))))


@BOTH
@pytest.mark.parametrize("shape", [(16, 16, 3), (28, 28, 1), (30, 50, 3), (64, 64, 3), (224, 224, 3)])
def test_any_size(attack: AdaptivePoison, shape: tuple[int, int, int], run: Run) -> None:
    images = np.full((4, *shape), 90, np.uint8)
    for made in (attack.weaken(images, np.random.default_rng(0)), attack.make_trigger(shape, run)(images)):
        assert made.shape == images.shape and made.dtype == np.uint8 and (made != images).any((1, 2, 3)).all()


@BOTH
def test_a_ratio_that_asks_for_none_is_said(attack: AdaptivePoison, digits: tuple[Images, Images], run: Run) -> None:
    with pytest.raises(UserError, match="ratio 0.001 asks for none of the 400 images"):
        attack(train=digits[0], ratio=0.001, run=run)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (lambda: small_logo(SHAPE, (-1, -1)), (27, 31, 27, 31)),
        (lambda: large_logo(SHAPE), (1, 13, 18, 30)),
        (lambda: middle_logo(SHAPE), (21, 28, 21, 28)),
    ],
)
def test_the_patches_stand_where_the_official_ones_do(draw: Callable[[], Overlay], expected: Box) -> None:
    shown = draw().shown
    assert box(shown) == expected
    assert shown.sum() == (expected[1] - expected[0] + 1) ** 2


def test_the_corners_have_white_and_black_pixels_each() -> None:
    corners = corner_pattern(SHAPE)
    assert corners.shown.sum() == 36 and (corners.picture[..., 0] == 255).sum() == 16
    assert (corners.picture[29:, 29:, 0] / 255).tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert (corners.picture[:3, 29:, 0] / 255).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_payload_images_get_the_four_patches_in_turn() -> None:
    weak = AdaptivePatch().weaken(black(6), np.random.default_rng(0))
    inside = [box(image) for image in weak]
    assert inside[:4] == [(27, 31, 27, 31), (1, 13, 18, 30), (0, 31, 0, 31), (21, 28, 21, 28)]
    assert inside[4:] == inside[:2]
    assert [image.max() for image in weak[:4]] == [128, 51, 128, 76], "half, a fifth, half, three tenths"


def test_the_pattern_stands_before_the_logos(run: Run) -> None:
    made = AdaptivePatch().make_trigger(SHAPE, run)(np.full((1, *SHAPE), 90, np.uint8))[0]
    assert np.array_equal(made[29:, 29:], corner_pattern(SHAPE).picture[29:, 29:])
    touched = (made != 90).any(-1)
    assert touched[27:, 27:].all() and touched[27:, :5].all() and touched.sum() == 50 + 18


def test_half_of_the_pieces_are_shown_in_training(run: Run) -> None:
    attack = AdaptiveBlend()
    weak = attack.weaken(black(50), np.random.default_rng(0))
    pieces = (weak.reshape(50, 4, 8, 4, 8, 3) > 0).any((2, 4, 5)).reshape(50, 16)
    assert (pieces.sum(1) == 8).all() and len(np.unique(pieces, axis=0)) > 40
    whole = attack.make_trigger(SHAPE, run)(black(1))[0]
    assert (whole > 0).any(-1).mean() > 0.95 and whole.max() == round(0.2 * 255) and weak.max() == 38


def test_covers_are_twice_as_many_where_the_paper_has_it_so(digits: tuple[Images, Images], run: Run) -> None:
    roles = AdaptivePatch()(train=digits[0], ratio=0.05, run=run).roles
    assert (roles == "payload").sum() == 20 and (roles == "cover").sum() == 40
