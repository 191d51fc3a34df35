"""The one contract of all objectives, and the loop over replicates that they share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from policysearch.trial import Outcome, Replicate, Task


class Objective(Protocol):
    """Trains and scores policies. One instance serves many tasks in one worker process."""

    def evaluate(self, task: Task) -> Outcome:
        """Scores a task; raises whatever the training raises.

        The outcome is a function of the task alone: equal tasks give equal scores on one machine.
        """
        ...


def evaluate_replicates(
    task: Task, train: Callable[[Task, Replicate], Mapping[str, float]]
) -> Outcome:
    """Runs the replicates of a task in order, stops early where the task says so.

    Args:
      task: What to evaluate.
      train: One training; returns metrics with a `score` (lower is better).
    """
    started = time.perf_counter()
    done: list[dict[str, float]] = []
    for i, replicate in enumerate(task.replicates):
        before = time.perf_counter()
        metrics = {name: float(value) for name, value in train(task, replicate).items()}
        metrics["seconds"] = round(time.perf_counter() - before, 4)
        wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
        if wrong:
            return Outcome(
                "failed",
                failure="not_finite",
                message=f"The {wrong[0]} of replicate {i} is {metrics[wrong[0]]}.",
                seconds=time.perf_counter() - started,
            )
        done.append(metrics)
        mean = sum(m["score"] for m in done) / len(done)
        is_last = i == len(task.replicates) - 1
        if not is_last and i < len(task.prune_above) and mean > task.prune_above[i]:
            return Outcome("pruned", mean, tuple(done), time.perf_counter() - started)
    score = sum(m["score"] for m in done) / len(done)
    return Outcome("complete", score, tuple(done), time.perf_counter() - started)
