"""Numbers over seeds, as a person reads them."""

from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import stdtrit

FEW = 5
"""Up to as many seeds the range is shown, above it Student's t interval."""


class Estimate(NamedTuple):
    """Mean, Student's t 95 % interval and range over n seeds; None where there is none, of one seed no interval. An
    average over attacks that are not the same at every seed has a mean alone."""

    mean: float | None
    low: float | None
    high: float | None
    minimum: float | None
    maximum: float | None
    n: int

    def interval(self, lowest: float, highest: float) -> tuple[float, float] | None:
        """What stands beside the mean: the range of a few seeds, or the t interval cut to what can be; None of one."""
        low, high = (self.minimum, self.maximum) if self.n <= FEW else (self.low, self.high)
        return None if self.n < 2 or low is None or high is None else (max(low, lowest), min(high, highest))


def estimate(values: Sequence[float]) -> Estimate:
    """Of one value for each seed. (A bootstrap of three values covers 67 %, not 95 %.)"""
    count = len(values)
    if not count:
        return Estimate(None, None, None, None, None, 0)
    mean = sum(values) / count
    if count < 2:
        return Estimate(mean, None, None, mean, mean, 1)
    deviation = (sum((v - mean) ** 2 for v in values) / (count - 1)) ** 0.5
    half = float(stdtrit(count - 1, 0.975)) * deviation / count**0.5
    return Estimate(mean, mean - half, mean + half, min(values), max(values), count)


def format_estimate(found: Estimate, lowest: float = 0.0) -> str:
    """`33.1 [0–98]`, in percent; of one seed its value, of none a dash. lowest: the least that can be, 0 or -1; a
    difference has its sign."""
    if found.mean is None:
        return "–"
    signed = lowest < 0
    text = _percent(found.mean, 1, signed)
    if ends := found.interval(lowest, 1.0):
        digits = 1 if ends[1] - ends[0] < 0.1 else 0
        between = " to " if signed else "–"
        text += f" [{between.join(_percent(end, digits, signed).removesuffix('.0') for end in ends)}]"
    return text


def _percent(value: float, digits: int, signed: bool) -> str:
    rounded = round(100 * value, digits) + 0.0  # no -0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}".replace("-", "−")


def describe_estimates(counts: Sequence[int], lowest: float = 0.0) -> str:
    """What `format_estimate` shows of estimates over so many seeds, as a sentence."""
    few, many = (sorted({n for n in counts if a <= n <= b}) for a, b in ((2, FEW), (FEW + 1, 10**9)))
    cut = "−100 to 100" if lowest < 0 else "0 to 100"
    parts = ["of one seed, from which nothing follows for others"] if 1 in counts else []
    parts += [f"the mean over {_join(few)} seeds with their range in brackets"] if few else []
    parts += (
        [f"the mean over {_join(many)} seeds with Student's t 95 % interval, cut to {cut}, in brackets"] if many else []
    )
    return f"Each number is a percentage: {'; '.join(parts) or 'there are none yet'}."


def _join(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
