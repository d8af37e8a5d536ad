"""What a job's log says while the job runs. Times stand there alone: no artifact that has a digest holds one."""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

LOG = logging.getLogger("backstop")
EVERY = 10.0
"""Seconds between two lines about parts that are too many for a line each."""
T = TypeVar("T")


class Clock:
    """Tells how far a phase of `total` parts has come, and how long the rest will take if it goes on like this."""

    def __init__(self, phase: str, total: int):
        self.phase, self.total = phase, total
        self.started = self.told = time.monotonic()

    def is_due(self) -> bool:
        """Whether nothing has been told for EVERY seconds."""
        return time.monotonic() - self.told >= EVERY

    def tell(self, done: int, *facts: str) -> None:
        """A line: parts done, facts about the last one, the seconds since the line before, and those that are left."""
        now = time.monotonic()
        left = (now - self.started) / done * (self.total - done)
        times = (f"{now - self.told:.1f} s", *([f"{format_duration(left)} left"] if done < self.total else []))
        LOG.info("%s %d of %d: %s", self.phase, done, self.total, ", ".join((*facts, *times)))
        self.told = now


def report(parts: Iterable[T], phase: str, total: int) -> Iterator[T]:
    """The parts; the log has a line about them every EVERY seconds."""
    clock = Clock(phase, total)
    for done, part in enumerate(parts):
        if done and clock.is_due():
            clock.tell(done)
        yield part


def format_duration(seconds: float) -> str:
    """`50 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
