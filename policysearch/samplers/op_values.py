"""What the trials of a search say about single ops: which harm, and what each is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policysearch.space import MIN_WEIGHT, Params, SearchSpace
from policysearch.trial import Trial

#: Ridge penalty of the linear model: a single observation of an op counts two thirds.
RIDGE = 0.5
#: A gain is the relative fall of the loss against no augmentation; below this it counts as this.
WORST_GAIN = -0.5
#: An op harms at a level where it alone gains less than this: about two standard errors of a
#: cross-validation on 100 samples.
HARMFUL_GAIN = -0.25


class OpValues:
    """Learns from a history; one that has only grown is not looked at again.

    A trial is described by the expected number of applications of each op per sample; the value
    of an op, by a ridge regression over all op-wise trials, is the relative fall of the loss that
    one application per sample is worth.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._begin(None)

    def _begin(self, none: Trial | None) -> None:
        self._none = none
        self._seen: list[Trial] = []
        self._harmless: dict[str, float] = {}
        self._rows = np.empty((256, len(self._space.ops)))
        self._gains = np.empty(256)
        self._n_rows = 0

    def take_in(self, history: Sequence[Trial]) -> None:
        """Learns from all of a history, and from nothing else."""
        none = _without_augmentation(history)
        if none is not self._none or history[: len(self._seen)] != self._seen:
            self._begin(none)
        if none is None:
            return
        for trial in history[len(self._seen) :]:
            self._seen.append(trial)
            self._add(trial, gain_of(trial, none))

    def harmless_levels(self) -> dict[str, float]:
        """Largest screened level at which an op alone does no harm; without those that always do.

        Empty until the trial without augmentation is there.
        """
        return self._harmless

    def values(self) -> dict[str, float]:
        """The value of every op that was tried; empty until there is something to compare with."""
        if not self._n_rows:
            return {}
        x, y = self._rows[: self._n_rows], self._gains[: self._n_rows]
        values = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
        ops = enumerate(self._space.ops)
        return {entry.op: float(values[i]) for i, entry in ops if x[:, i].any()}

    def _add(self, trial: Trial, gain: float | None) -> None:
        kind, _, rest = trial.suggestion.origin.partition(":")
        if gain is not None and kind == "screen" and gain > HARMFUL_GAIN:
            op, _, level = rest.partition("@")
            self._harmless[op] = max(self._harmless.get(op, 0.0), float(level))
        params = trial.suggestion.params
        if gain is not None and params is not None:
            self._add_row(_applications(self._space, params), gain)

    def _add_row(self, row: Sequence[float], gain: float) -> None:
        if self._n_rows == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._gains = np.concatenate([self._gains, np.empty_like(self._gains)])
        self._rows[self._n_rows] = row
        self._gains[self._n_rows] = gain
        self._n_rows += 1


def gain_of(trial: Trial, none: Trial) -> float | None:
    """Relative fall of the score against the trial without augmentation; 0.1 is 10 % less loss.

    Over the replicates that both finished, or at the last step that both reported, so that a
    pruned trial is compared fairly. `None` where there is neither.
    """
    means, base = trial.running_means(), none.running_means()
    n = min(len(means), len(base))
    if n == 0:
        mine, theirs = dict(trial.outcome.reports), dict(none.outcome.reports)
        step = max(mine.keys() & theirs.keys(), default=None)
        return None if step is None else _fall(theirs[step], mine[step])
    return _fall(base[n - 1], means[n - 1])


def _fall(base: float, score: float) -> float:
    size = abs(base) or 1.0  # a score need not be a loss above zero
    return max(WORST_GAIN, (base - score) / size)


def _without_augmentation(history: Sequence[Trial]) -> Trial | None:
    found = (t for t in history if t.suggestion.origin == "warm:none")
    return next((t for t in found if t.score is not None), None)


def _applications(space: SearchSpace, params: Params) -> list[float]:
    """Expected applications of each op of the space per sample."""
    weights = [float(params[f"{entry.op}.weight"]) for entry in space.ops]
    kept = [w if w >= MIN_WEIGHT else 0.0 for w in weights]
    n = float(params["n_ops"]) * float(params["probability"]) / (sum(kept) or 1.0)
    return [w * n for w in kept]
