"""Objectives that take no time, in a module that workers import in no time."""

import time
from pathlib import Path

from policysearch.seeding import derive_seed
from policysearch.trial import Outcome, Task


class Formula:
    """Scores a policy by its digest; notes every evaluation in a file."""

    def __init__(self, folder: Path, seconds: float = 0.0) -> None:
        self.folder = folder
        self.seconds = seconds

    def evaluate(self, task: Task) -> Outcome:
        with (self.folder / "evaluated").open("a") as file:
            file.write(f"{task.key}\n")
        time.sleep(self.seconds)
        metrics: list[dict[str, float]] = []
        for step, replicate in enumerate(task.replicates):
            noise = derive_seed(replicate.seed, task.policy.digest(), replicate.fold) % 1000
            accuracy = 0.8 + noise / 10_000
            metrics.append({"score": 1 - accuracy, "log_loss": 1 - accuracy, "accuracy": accuracy})
            score = sum(m["score"] for m in metrics) / len(metrics)
            if step < len(task.prune_above) and score > task.prune_above[step]:
                return Outcome("pruned", score, tuple(metrics), self.seconds)
        return Outcome("complete", score, tuple(metrics), self.seconds)


class Uneven(Formula):
    """Trainings of very different length, so that they end in another order than they began."""

    def evaluate(self, task: Task) -> Outcome:
        time.sleep(int(task.policy.digest(), 16) % 7 / 50)
        return super().evaluate(task)


class Scripted:
    """Fails the trials with the given numbers."""

    def __init__(self, folder: Path, failing: set[int]) -> None:
        self.formula, self.failing = Formula(folder), failing

    def evaluate(self, task: Task) -> Outcome:
        outcome = self.formula.evaluate(task)
        if int(task.key.split("/")[1]) in self.failing:
            raise LookupError("no such column: label")
        return outcome
