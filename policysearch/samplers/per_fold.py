"""One search for each fold, and what they found merged: Fast AutoAugment's search.

References:
  Lim et al., Fast AutoAugment, 2019 (arXiv:1905.00397), algorithm 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from policysearch.policy import Policy, merged
from policysearch.samplers.base import Sampler
from policysearch.trial import FINAL, Suggestion, Trial

#: Policies of a fold that are merged: at most so many, and this share of those tried there.
N_BEST, BEST_SHARE = 10, 0.05


class PerFoldSampler:
    """Trials of the folds take turns; what was found is merged half-way and at the end.

    Args:
      inner: The sampler of each fold; it is shown the trials of that fold.
      n_trials: Planned number of trials, merged ones included. Time may be over sooner, which is
        why there is a result half-way.
    """

    def __init__(self, inner: Sequence[Sampler], n_trials: int) -> None:
        self._inner = inner
        self._n_trials = n_trials

    def suggest(self, number: int, history: Sequence[Trial]) -> Suggestion:
        """Suggests the policy of trial `number` (see `Sampler`)."""
        if number + 1 in (self._n_trials // 2, self._n_trials):
            found = self._merged(history)
            if found is not None:
                return Suggestion(found, f"{FINAL}merged")
        fold = number % len(self._inner)
        suggestion = self._inner[fold].suggest(number, self._of_fold(fold, history))
        return dataclasses.replace(suggestion, folds=(fold,))

    def _of_fold(self, fold: int, history: Sequence[Trial]) -> list[Trial]:
        return [t for t in history if t.number % len(self._inner) == fold]

    def _merged(self, history: Sequence[Trial]) -> Policy | None:
        best: list[Policy] = []
        for fold in range(len(self._inner)):
            scored = [t for t in self._of_fold(fold, history) if t.score is not None]
            n = min(N_BEST, max(1, round(BEST_SHARE * len(scored))))
            scored.sort(key=lambda t: (t.score or 0.0, t.number))
            best += [trial.suggestion.policy for trial in scored[:n]]
        return merged(best) if best else None
