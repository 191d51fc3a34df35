"""Which policy is exported: decided on validation data with fresh seeds, before the test is read.

The found candidates and the search-free baselines stand side by side. The best candidate is
exported only if it beats the best baseline there; ties go to the baseline, and among candidates
that score alike to the one with fewer parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policysearch.errors import RunError
from policysearch.policy import Policy
from policysearch.trial import Trial


@dataclass(frozen=True)
class Selection:
    """The outcome of the confirmation.

    Attributes:
      found: The best searched policy.
      chosen: The policy to export.
      chosen_arm: `found`, or the name of the baseline that was not beaten.
      origin: Name of the candidate that `found` is, such as `trial-57`.
      scores: Mean validation score of every arm, lower is better.
      margin: Score of the best baseline minus that of the found policy.
    """

    found: Policy
    chosen: Policy
    chosen_arm: str
    origin: str
    scores: Mapping[str, float]
    margin: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the verdict and the progress."""
        finite = {k: round(v, 6) for k, v in self.scores.items() if np.isfinite(v)}
        return {
            "chosen": self.chosen_arm,
            "origin": self.origin,
            "metric": "log_loss",
            "scores": finite,
            "margin": round(self.margin, 6) if np.isfinite(self.margin) else None,
        }


def select(
    arms: Mapping[str, Policy],
    scores: Mapping[str, Sequence[float]],
    baselines: Sequence[str],
) -> Selection:
    """Chooses among confirmed arms.

    Args:
      arms: Policies by name; every name that is not a baseline is a candidate.
      scores: Paired validation scores of every arm, lower is better, infinite for a failure.
      baselines: Names of the search-free arms, simplest first.

    Raises:
      RunError: When there is no candidate or no baseline that could be trained.
    """
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    candidates = [name for name in arms if name not in baselines and np.isfinite(means[name])]
    free = [name for name in baselines if np.isfinite(means.get(name, np.inf))]
    if not free:
        raise RunError("No search-free policy could be trained, so nothing can be compared.")
    if not candidates:
        raise RunError("The search found no policy that could be trained.")
    best = min(candidates, key=lambda name: (means[name], arms[name].n_choices))
    best_free = min(free, key=lambda name: means[name])
    margin = means[best_free] - means[best]
    chosen = best if margin > 0 else best_free
    return Selection(
        found=arms[best],
        chosen=arms[chosen],
        chosen_arm="found" if chosen == best else best_free,
        origin=best,
        scores=means,
        margin=margin,
    )


def halving(n: int, n_rounds: int, n_least: int = 3) -> list[int]:
    """How many of `n` candidates take part in each round of the confirmation.

    Examples:
      >>> halving(12, 4)
      [12, 6, 3, 3]
    """
    return [max(min(n, n_least), n >> i) for i in range(n_rounds)]


def pick_candidates(trials: Sequence[Trial], n: int, taken: Iterable[Policy]) -> dict[str, Policy]:
    """The `n` trials to be confirmed, by trial name: no baselines, no twins.

    Combinations and the rest take turns, best first: the lowest of many noisy scores belongs to a
    lucky policy more often than to a good one, so designed policies keep their half of the places.
    """
    ranked = sorted(
        (t for t in trials if t.score is not None), key=lambda t: (t.score or 0.0, t.number)
    )
    is_designed = [t.suggestion.origin.startswith(("combine:", "ramp:")) for t in ranked]
    designed = [t for t, yes in zip(ranked, is_designed, strict=True) if yes]
    others = [t for t, yes in zip(ranked, is_designed, strict=True) if not yes]
    turns = itertools.chain.from_iterable(itertools.zip_longest(designed, others))
    digests = {policy.digest() for policy in taken}
    chosen: dict[str, Policy] = {}
    for trial in filter(None, turns):
        digest = trial.suggestion.policy.digest()
        if len(chosen) < n and digest not in digests:
            digests.add(digest)
            chosen[f"trial-{trial.number}"] = trial.suggestion.policy
    return chosen
