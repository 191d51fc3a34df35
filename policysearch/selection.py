"""Which policy is exported: decided on validation data with fresh seeds, before the test is read.

Candidates are the best trials, and the best of them merged into one policy. A merge is preferred
to one of its parts: which of them is best cannot be told from a few trainings. On 30 draws of 100
digits the merged policy was 0.45 points above RandAugment (standard error 0.10), the single one
that the trainings favoured 0.28 (0.16).

The found candidate and the search-free policies stand side by side. The best one wins, unless a
simpler one does as well: means that lie within a standard error of their paired difference are a
tie, and a tie goes to what has at most half as many different operations. A search-free policy is
not simpler by its fame: six trainings leave most good policies within a standard error of each
other, and on 18 of these draws ties that went to any search-free policy cost 0.4 points.

Trainings on the folds of one data set are scored on the same few samples in the end, however many
there are. The standard error takes this into account (`paired`).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from policysearch.costs import PolicyCost, pareto_fronts, spread_over
from policysearch.errors import RunError
from policysearch.estimates import estimate
from policysearch.policy import Policy, merged
from policysearch.samplers.response import design_of, smoothed_scores
from policysearch.trial import FINAL, Trial

#: Name of the candidate that is made of several trials, and the most that it is made of.
MERGED, MAX_MERGED = "merged", 5
#: Ends the name of a candidate without its rare and weak parts.
PRUNED = "-pruned"


@dataclass(frozen=True)
class Pruning:
    """What became of the best candidate when its rare and weak parts were left out.

    Attributes:
      whole: Name of the candidate.
      n_before: Its op calls.
      n_after: Those of the smaller policy.
      cost: Mean score of the smaller one minus that of the whole; above 0 it got worse.
    """

    whole: str
    n_before: int
    n_after: int
    cost: float


@dataclass(frozen=True)
class Selection:
    """The outcome of the confirmation.

    Attributes:
      found: The best searched policy.
      chosen: The policy to export.
      chosen_arm: `found`, or the name of the search-free policy that was not beaten.
      origin: Name of the candidate that `found` is, such as `trial-57`.
      scores: Mean validation score of every arm, lower is better.
      margin: Score of the best search-free policy minus that of the found one.
      margin_error: Standard error of the margin over paired trainings; `None` for a single one.
      pruning: What leaving out rare parts cost; `None` where nothing was left out.
      arms: All policies that were compared, by name.
      best: Name of the arm with the best mean of those to choose from, where a simpler one that is
        within noise of it was chosen; empty: the chosen one.
    """

    found: Policy
    chosen: Policy
    chosen_arm: str
    origin: str
    scores: Mapping[str, float]
    margin: float
    margin_error: float | None = None
    pruning: Pruning | None = None
    arms: Mapping[str, Policy] = field(default_factory=dict, repr=False)
    best: str = ""

    def with_pruning(self, pruning: Pruning | None) -> Selection:
        """The same with what pruning cost."""
        return dataclasses.replace(self, pruning=pruning)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the verdict and the progress."""
        finite = {k: round(v, 6) for k, v in self.scores.items() if np.isfinite(v)}
        result: dict[str, Any] = {
            "chosen": self.chosen_arm,
            "origin": self.origin,
            "metric": "log_loss",
            "scores": finite,
            "margin": round(self.margin, 6) if np.isfinite(self.margin) else None,
        }
        if self.margin_error is not None:
            result["margin_error"] = round(self.margin_error, 6)
        if self.best:
            result["best"] = self.best
        if self.pruning is not None:
            result["pruning"] = dataclasses.asdict(self.pruning)
        return result


def select(
    arms: Mapping[str, Policy],
    scores: Mapping[str, Sequence[float]],
    baselines: Sequence[str],
    cost: PolicyCost | None = None,
    overlap: float = 0.0,
) -> Selection:
    """Chooses among confirmed arms.

    Args:
      arms: Policies by name; every name that is not a baseline is a candidate.
      scores: Paired validation scores of every arm, lower is better, infinite for a failure; score
        `i` of every arm comes from the same seed and fold, and an arm that dropped out has fewer.
      baselines: Names of the search-free arms, simplest first.
      cost: Where that is an objective, the cheaper policy is the simpler one, and none is chosen
        that another one beats in both.
      overlap: Share of the data that a training is scored on, where all share one data set (see
        `paired`).

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
    ties = _Ties.of(arms, cost, overlap)
    standing = [*free, *candidates]
    if cost is not None:
        standing = _front(standing, means, ties.size)
        candidates = _front(candidates, means, ties.size)
    found = ties.winner(candidates, scores, merged_wins=True)
    best_free = min(free, key=means.__getitem__)
    margin, error = paired(scores[best_free], scores[found], overlap)
    choices = [n for n in standing if n in free or n == found]
    chosen = ties.winner(choices, scores)
    best = min(choices, key=means.__getitem__)
    return Selection(
        found=arms[found],
        chosen=arms[chosen],
        chosen_arm="found" if chosen == found else chosen,
        origin=found,
        scores=means,
        margin=margin,
        margin_error=error,
        arms=arms,
        best="" if best == chosen else best,
    )


def best_candidate(
    arms: Mapping[str, Policy], scores: Mapping[str, Sequence[float]], overlap: float = 0.0
) -> str:
    """Name of the candidate that is found: as in `select`, which compares it with the others."""
    return _Ties.of(arms, None, overlap).winner(list(arms), scores, merged_wins=True)


@dataclass(frozen=True)
class _Ties:
    """Who wins a tie: the simpler one, which is the cheaper one where cost is an objective.

    Attributes:
      size: What a reader must learn, or the cost, by name.
      ratio: What wins a tie is at most this share of the other in size.
      overlap: See `paired`.
    """

    size: Mapping[str, float]
    ratio: float
    overlap: float

    @classmethod
    def of(cls, arms: Mapping[str, Policy], cost: PolicyCost | None, overlap: float) -> _Ties:
        if cost is not None:
            return cls({name: cost(policy) for name, policy in arms.items()}, 1.0, overlap)
        sizes = {name: policy.n_different_ops for name, policy in arms.items()}
        return cls(sizes, 0.5, overlap)

    def winner(
        self,
        names: Sequence[str],
        scores: Mapping[str, Sequence[float]],
        *,
        merged_wins: bool = False,
    ) -> str:
        """The simplest of `names` that the best of them does not beat by more than noise.

        Arms are compared over the trainings that all have; those that dropped out were worse.
        With `merged_wins` a tie with a merged policy that is no simpler goes to that.
        """
        longest = max(len(scores[name]) for name in names)
        full = [name for name in names if len(scores[name]) == longest]
        full.sort(key=lambda name: (self.size[name], not name.endswith(PRUNED)))
        best = min(full, key=lambda name: float(np.mean(scores[name])))
        limit = self.ratio * self.size[best]

        def wins_tie(name: str) -> bool:
            is_simpler = self.size[name] < self.size[best] and self.size[name] <= limit
            is_preferred = name == f"{best}{PRUNED}" or (merged_wins and _is_merged(name))
            return is_simpler or is_preferred

        def is_tie(name: str) -> bool:
            difference, error = paired(scores[name], scores[best], self.overlap)
            return difference <= (error or 0.0)

        tied = [name for name in full if wins_tie(name) and is_tie(name)]
        return tied[0] if tied else best


def _is_merged(name: str) -> bool:
    return name.removesuffix(PRUNED) == MERGED


def _front(
    names: Iterable[str], means: Mapping[str, float], costs: Mapping[str, float]
) -> list[str]:
    """Those that none beats in both score and cost."""
    return pareto_fronts({name: (means[name], costs[name]) for name in names})[0]


def paired(
    a: Sequence[float], b: Sequence[float], overlap: float = 0.0
) -> tuple[float, float | None]:
    """Mean of `a - b` over the first trainings that both have, and its standard error.

    The error is `None` for a single training. It is that of the difference on new data, where
    each training is scored on a share `overlap` of one data set and trained on the rest: with
    three folds and six trainings twice what independent ones would have.

    References:
      Nadeau & Bengio, Inference for the generalization error, Machine Learning 52, 2003,
        section 4.
    """
    n = min(len(a), len(b))
    differences = np.subtract(a[:n], b[:n])
    if n < 2:
        return float(np.mean(differences)), None
    found = estimate(differences.tolist(), overlap=overlap)
    return found.mean, found.standard_error


def pick_candidates(trials: Sequence[Trial], n: int, taken: Iterable[Policy]) -> dict[str, Policy]:
    """The `n` policies to be confirmed, by name: no baselines, no twins.

    The best trials merged come first (`MERGED`), then single trials (`trial-7`). Designed ones
    and the rest take turns, best first: the lowest of many noisy scores belongs to a lucky policy
    more often than to a good one, so designed ones keep half of the places, and all are ranked
    with the noise taken out (`smoothed_scores`). Where a strategy has said what it found, there
    is nothing else to confirm. Where cost is an objective, the single trials are those that none
    beats in both.
    """
    scores = smoothed_scores(trials)
    ranked = sorted(
        (t for t in trials if t.number in scores), key=lambda t: (scores[t.number], t.number)
    )
    final = [t for t in ranked if t.suggestion.origin.startswith(FINAL)]
    merge = {} if final else _merged(ranked, trials)
    seen = {policy.digest() for policy in taken}
    if any(trial.cost is not None for trial in trials):
        return merge | _pick_of_fronts(trials, scores, n - len(merge), seen)
    named = merge | {f"trial-{t.number}": t.suggestion.policy for t in final or _in_turns(ranked)}
    chosen: dict[str, Policy] = {}
    for name, policy in named.items():
        digest = policy.digest()
        if len(chosen) < n and digest not in seen:
            seen.add(digest)
            chosen[name] = policy
    return chosen


def _in_turns(ranked: Sequence[Trial]) -> list[Trial]:
    designed = [t for t in ranked if t.suggestion.is_designed]
    others = [t for t in ranked if not t.suggestion.is_designed]
    turns = itertools.chain.from_iterable(itertools.zip_longest(designed, others))
    return [trial for trial in turns if trial is not None]


def _merged(ranked: Sequence[Trial], trials: Sequence[Trial]) -> dict[str, Policy]:
    """The best few as one policy, at most the better half of what was tried by design.

    Only with designs among them, and of those that have all but their sub-policies in common with
    the best design: a policy has one schedule.
    """
    like = next((t.suggestion.policy for t in ranked if design_of(t) is not None), None)
    if like is None:
        return {}

    def policies(some: Iterable[Trial]) -> list[Policy]:
        designed = (t.suggestion.policy for t in some if t.suggestion.is_designed)
        return [policy for policy in designed if policy.merges_with(like)]

    best = policies(ranked)[: min(MAX_MERGED, len(policies(trials)) // 2)]
    return {MERGED: merged(best)} if len(best) > 1 else {}


def _pick_of_fronts(
    trials: Sequence[Trial], scores: Mapping[int, float], n: int, seen: set[str]
) -> dict[str, Policy]:
    """Where cost is an objective: what none beats in both, then what only these beat, and so on.

    Of a front that is too large the ends are taken, and what lies between.
    """
    points: dict[int, tuple[float, float]] = {}
    for trial in trials:
        if trial.number in scores and trial.cost is not None:
            digest = trial.suggestion.policy.digest()
            if digest not in seen:
                seen.add(digest)
                points[trial.number] = (scores[trial.number], trial.cost)
    by_number = {trial.number: trial.suggestion.policy for trial in trials}
    chosen: list[int] = []
    for front in pareto_fronts(points):
        chosen += spread_over(front, points, n - len(chosen))
        if len(chosen) >= n:
            break
    return {f"trial-{number}": by_number[number] for number in chosen}
