"""The metrics, as pure functions on arrays. A prediction of -1 is no class: neither right nor the attacker's."""

import math
from typing import Any

import numpy as np

Z = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion (Wilson 1927): it speaks of the test images only, not of seeds."""
    if not count:
        return math.nan, math.nan
    share = hits / count
    center = share + Z**2 / (2 * count)
    spread = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    scale = 1 + Z**2 / count
    return max(0.0, (center - spread) / scale), min(1.0, (center + spread) / scale)


def rate(name: str, hits: np.ndarray) -> dict[str, Any]:
    """`name`, its count and its interval, of a boolean array; all but the count are None where the array is empty."""
    count, total = len(hits), int(hits.sum())
    if not count:
        return {name: None, f"{name}_n": 0, f"{name}_low": None, f"{name}_high": None}
    low, high = wilson(total, count)
    return {name: total / count, f"{name}_n": count, f"{name}_low": low, f"{name}_high": high}


def rates(
    triggered: np.ndarray, label: np.ndarray, target: np.ndarray, prediction: np.ndarray, rejected: np.ndarray
) -> dict[str, Any]:
    """ACC, ASR and RA of one model, and the shares of both sets that it rejects: what is rejected is neither right nor
    the attacker's.

    Args:
        triggered: bool (N,), which rows are triggered images; the others are the untouched test set.
        label: (N,) true labels; target: (N,) the attacker's labels, read for triggered rows only.
        prediction: (N,) predicted classes, -1 for none; rejected: bool (N,).
    """
    right = (prediction == label) & ~rejected
    return {
        **rate("acc", right[~triggered]),
        **rate("asr", ((prediction == target) & ~rejected)[triggered]),
        **rate("ra", right[triggered]),
        **{
            f"rejected_{name}": float(rejected[chosen].mean()) if chosen.any() else None
            for name, chosen in (("test", ~triggered), ("triggered", triggered))
        },
    }


def der(acc: float, asr: float, acc_before: float, asr_before: float) -> float:
    """Defense effectiveness rating in [0, 1] (Zhu et al., ICCV 2023, arXiv 2304.11823): (fall of ASR - fall of ACC
    + 1) / 2, neither fall counted below 0."""
    return (max(0.0, asr_before - asr) - max(0.0, acc_before - acc) + 1) / 2
