"""Fair timing of contestants: they take turns, so that a slow minute of the machine hits all."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds gave: the median, and the smallest and largest value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def to_dict(self, digits: int) -> dict[str, float]:
        """Rounded to so many digits behind the point."""
        return {
            "median": round(self.median, digits),
            "low": round(self.low, digits),
            "high": round(self.high, digits),
        }


def interleaved(
    calls: Mapping[str, Call],
    n_rounds: int,
    seconds: float,
    wait: Call = lambda: None,
) -> dict[str, list[float]]:
    """Seconds per call, one entry per round.

    Each round measures every contestant once, beginning with another one than the round before.
    Before the rounds each is called twice: the first call may compile, the second one says how
    many calls a measurement takes.

    Args:
      calls: What is measured, by name.
      n_rounds: Measurements of each.
      seconds: Least length of a measurement; short calls are repeated within it.
      wait: Returns when the device has finished; called before every reading of the clock.
    """
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, math.ceil(seconds / max(_timed(call, 1, wait), 1e-9)))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for i in range(n_rounds):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(_timed(calls[name], repeats[name], wait) / repeats[name])
    return taken


def _timed(call: Call, n: int, wait: Call) -> float:
    wait()
    started = time.perf_counter()
    for _ in range(n):
        call()
    wait()
    return time.perf_counter() - started
