"""Refool: reflections that hang on the image alone."""

from typing import Any

import numpy as np
import pytest

from workflow_scripts.attacks.refool import Refool, blur, double, draw_scene, stretch
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run


class Fixed:
    """Draws the lowest of what is allowed."""

    def uniform(self, low: float, high: float) -> float:
        return low

    def integers(self, low: int, high: int = 0, size: int = 0) -> Any:
        return np.full(size, low) if size else 0


FIXED: Any = Fixed()


def test_an_image_has_its_reflection_wherever_it_stands(digits: tuple[Images, Images], run: Run) -> None:
    images = digits[1].images[:20]
    trigger = Refool().make_trigger(images.shape[1:], run)
    whole, order = trigger(images), np.random.default_rng(0).permutation(20)
    assert np.array_equal(trigger(images[order]), whole[order])
    assert np.array_equal(trigger(images[7:8])[0], whole[7])
    other = Refool().make_trigger(images.shape[1:], Run("digits", 1))(images)
    assert (other != whole).any((1, 2, 3)).all()


def test_two_images_have_two_reflections(run: Run) -> None:
    dark = np.zeros((2, 16, 16, 3), np.uint8)
    dark[1, 0, 0] = 1
    first, second = Refool().make_trigger((16, 16, 3), run)(dark)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("shape", [(16, 16, 3), (28, 28, 1), (32, 32, 3), (64, 48, 3), (224, 224, 3)])
def test_any_size(shape: tuple[int, int, int], run: Run) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), dtype=np.uint8)
    made = Refool(scenes=8).make_trigger(shape, run)(images)
    assert made.shape == images.shape and made.dtype == np.uint8 and (made != images).any((1, 2, 3)).all()


def test_a_share_of_one_leaves_no_room_for_a_doubled_reflection(digits: tuple[Images, Images], run: Run) -> None:
    images = digits[1].images[:10]
    assert np.array_equal(Refool(least=1, most=1, ghost=1).make_trigger(images.shape[1:], run)(images), images)


def test_a_doubled_reflection_is_the_scene_twice() -> None:
    scene = np.zeros((32, 32, 1))
    scene[20, 20] = 1
    seen = double(np.zeros((32, 32, 1)), scene, 0.4, FIXED)[..., 0]
    assert np.isclose(seen.sum(), 0.6 * (32 / 29) ** 2, atol=0.05), "weights of 0.15 and 0.85, stretched"
    peaks = np.argwhere(seen > 0.6 * 0.15 / 4)
    assert peaks.min() < 20 < peaks.max(), "one nearer to the upper left, one to the lower right"


def test_a_blurred_reflection_gives_way_where_the_image_is_white() -> None:
    light, scene = np.ones((16, 16, 3)), np.full((16, 16, 3), 0.3)
    assert np.allclose(blur(light, scene, 0.4, FIXED), 0.4)
    seen = blur(0 * light, scene, 0.4, FIXED)
    assert np.isclose(seen[8, 8, 0], 0.3 * 0.8, rtol=0.05) and seen[0, 0, 0] < 0.1 * seen[8, 8, 0]


def test_stretching_keeps_what_is_even_and_what_has_the_size_already() -> None:
    values = np.random.default_rng(0).random((12, 14, 3))
    assert np.allclose(stretch(values, 12, 14), values)
    assert np.allclose(stretch(np.full((5, 7, 1), 0.25), 16, 16), 0.25)
    assert np.allclose(stretch(np.arange(8.0)[:, None, None], 16, 1)[:4, 0, 0], [0, 0.25, 0.75, 1.25])


def test_scenes_differ_and_are_the_same_each_time() -> None:
    scenes = np.stack([draw_scene(number, (32, 32, 3)) for number in range(50)])
    assert len(np.unique(scenes, axis=0)) == 50
    assert np.array_equal(scenes[3], draw_scene(3, (32, 32, 3)))
    assert 30 < scenes.mean() < 90, "dark, as those that the paper selects: 53 in the mean"
