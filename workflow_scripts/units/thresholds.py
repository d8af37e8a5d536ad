"""Where the suspected end of a layer's scores begins."""

import math
from typing import Literal

import torch

Rule = Literal["top", "valley", "sigma"]
ROUNDING = 1e-9
GRID = 512
"""Places at which a density is asked."""
APART = 0.5
"""A valley shallower than this part of its lower summit is a ripple: it divides nothing."""


def list_steps(step: float) -> list[float]:
    """0, step, 2 · step, … below 1."""
    return [number * step for number in range(math.ceil(1 / step - ROUNDING))]


def loses_more(before: float, after: float, max_drop: float) -> bool:
    """Whether an accuracy has fallen by more than that, the rounding of floating point aside."""
    return before - after > max_drop + ROUNDING


def choose_threshold(scores: torch.Tensor, rule: Rule, share: float, u: float) -> float:
    """The least of the scores (N,), none negative, that is too high; inf where none is.

    `top`: the highest `share` of them. `sigma`: those above mean + u · standard deviation of the logarithms. `valley`:
    those beyond the deepest valley in the density of the logarithms, and `top` where no valley divides it.
    Scores of 0 have no logarithm and do not count.
    """
    logarithms = scores[scores > 0].double().log()
    if rule == "sigma" and len(logarithms) > 1:
        return math.exp(float(logarithms.mean() + u * logarithms.std()))
    if rule == "valley" and (bottom := find_valley(logarithms)) is not None:
        return math.exp(bottom)
    count = round(share * len(scores))
    return float(scores.sort(descending=True).values[count - 1]) if count else math.inf


def find_valley(values: torch.Tensor) -> float | None:
    """Of the minima of the density of float64 values (N,) above their median, the one furthest below the lower of the
    two summits beside it, of those that are less than half as high as that; None if there is none."""
    if len(values) < 3 or float(values.std()) == 0:
        return None
    grid = torch.linspace(float(values.min()), float(values.max()), GRID, dtype=torch.float64)
    height = density(values, grid)
    summit = torch.minimum(height.cummax(0).values, height.flip(0).cummax(0).values.flip(0))
    depth = torch.where((grid > values.median()) & (height < APART * summit), summit - height, 0)
    return float(grid[depth.argmax()]) if depth.any() else None


def density(values: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """float64 (M,): the Gaussian kernel density of values (N,) at M places, its bandwidth by Silverman's rule of thumb,
    0.9 · min(standard deviation, interquartile range / 1.34) / N^0.2 (Silverman 1986, equation 3.31)."""
    quartiles = torch.quantile(values, torch.tensor([0.25, 0.75], dtype=values.dtype))
    spread = min(float(values.std()), float(quartiles.diff()) / 1.34) or float(values.std())
    bandwidth = 0.9 * spread / len(values) ** 0.2
    distances = (at[:, None] - values) / bandwidth
    return torch.exp(-distances.square() / 2).mean(1) / (bandwidth * math.sqrt(2 * math.pi))
