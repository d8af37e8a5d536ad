"""CTRL: two coefficients of the chroma."""

import numpy as np
import pytest
from scipy.fft import dctn

from workflow_scripts.attacks.ctrl import CHROMA, Ctrl, draw_waves
from workflow_scripts.common.run import Run

GRAY = (0.299, 0.587, 0.114)


def test_the_waves_are_two_coefficients() -> None:
    expected = np.zeros((32, 32))
    expected[15, 15] = expected[31, 31] = 1
    assert np.allclose(dctn(draw_waves(32, 32), norm="ortho"), expected)
    assert np.allclose(dctn(draw_waves(64, 96)[32:, 64:], norm="ortho"), expected), "in each window"


@pytest.mark.parametrize("size", [16, 28, 32, 64, 224])
def test_they_are_as_strong_at_every_size(size: int) -> None:
    assert np.isclose((draw_waves(size, size) ** 2).mean(), 2 / 32**2)


def test_what_is_added_is_chroma(run: Run) -> None:
    gray = np.full((1, 32, 32, 3), 128, np.uint8)
    made = Ctrl().make_trigger((32, 32, 3), run)(gray).astype(float)
    assert np.abs((made - 128) @ GRAY).max() < 1, "no luminance but by rounding"
    assert np.abs(np.dot(CHROMA, GRAY)) < 0.01


def test_it_does_not_wrap_around(run: Run) -> None:
    for level in (0, 255):
        flat = np.full((1, 32, 32, 3), level, np.uint8)
        made = Ctrl().make_trigger((32, 32, 3), run)(flat).astype(int)
        assert np.abs(made - level).max() < 64 and (made != level).any()
        wrapped = Ctrl(overflow="wrap").make_trigger((32, 32, 3), run)(flat).astype(int)
        assert np.abs(wrapped - level).max() > 192, "but where it shall"


def test_one_channel(run: Run) -> None:
    gray = np.full((1, 28, 28, 1), 128, np.uint8)
    assert Ctrl().make_trigger((28, 28, 1), run)(gray).std() > 2
