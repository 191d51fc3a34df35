"""When a trial is stopped early: it is worse than half of the trials before it."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from policysearch.trial import Trial

#: Trials with a score that must be visible before any trial is pruned.
MIN_TRIALS_TO_PRUNE = 5


class MedianPruning:
    """Median running mean of earlier trials after each replicate but the last.

    Trials are compared after the same number of full-length trainings on the same folds and
    seeds, so pruning does not prefer the weak augmentation that short trainings like.
    """

    def __init__(self) -> None:
        self._n_seen = 0
        self._means: list[list[float]] = []

    def thresholds(self, history: Sequence[Trial]) -> tuple[float, ...]:
        """Thresholds for a task; empty as long as there are too few trials.

        Args:
          history: Must begin with the trials of the call before: only the rest is looked at.
        """
        for trial in history[self._n_seen :]:
            for step, mean in enumerate(trial.running_means()):
                if step == len(self._means):
                    self._means.append([])
                bisect.insort(self._means[step], mean)
        self._n_seen = len(history)
        if not self._means or len(self._means[0]) < MIN_TRIALS_TO_PRUNE:
            return ()
        return tuple(_median(means) for means in self._means[:-1])


class ReportPruning:
    """Median of what earlier trainings reported at a step, in the second half of a training.

    Early in a training strong augmentation looks worse than it is, so nothing is pruned there.
    """

    def __init__(self) -> None:
        self._n_seen = 0
        self._reports: dict[int, list[float]] = {}
        self._ends: list[int] = []

    def thresholds(self, history: Sequence[Trial]) -> dict[int, float]:
        """Thresholds by step; empty as long as there are too few trials.

        Args:
          history: Must begin with the trials of the call before: only the rest is looked at.
        """
        for trial in history[self._n_seen :]:
            for step, score in trial.outcome.reports:
                bisect.insort(self._reports.setdefault(step, []), score)
            if trial.score is not None and trial.outcome.reports:
                bisect.insort(self._ends, trial.outcome.reports[-1][0])
        self._n_seen = len(history)
        if len(self._ends) < MIN_TRIALS_TO_PRUNE:
            return {}
        end = _median(self._ends)
        return {
            step: _median(scores)
            for step, scores in sorted(self._reports.items())
            if end / 2 <= step < end and len(scores) >= MIN_TRIALS_TO_PRUNE
        }


def _median(ascending: Sequence[float]) -> float:
    middle = len(ascending) // 2
    if len(ascending) % 2:
        return ascending[middle]
    return (ascending[middle - 1] + ascending[middle]) / 2
