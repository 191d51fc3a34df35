"""The rungs on validation data that decide: the search-free policies, then the candidates.

Fresh seeds and fresh folds, the same for all. The search-free policies go first, in full: they
show whether there is head-room, and are what a candidate must beat. Of the candidates the worse
half drops out half-way, and whoever is clearly worse than the leader already before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from policysearch.config import SearchConfig
from policysearch.costs import PolicyCost
from policysearch.engines.base import Engine
from policysearch.errors import RunError
from policysearch.headroom import Headroom, headroom
from policysearch.policy import Policy
from policysearch.problems.base import Problem
from policysearch.run import Progress, Run, StopRequest
from policysearch.samplers.calibration import Calibration, calibration_of
from policysearch.seeding import rung_seed
from policysearch.selection import MERGED, PRUNED, Pruning, Selection, pick_candidates, select
from policysearch.simplify import simplified
from policysearch.trial import Outcome, Replicate, Task, Trial

#: A candidate that is worse than the leader with this p-value drops out (one-sided Wilcoxon).
CLEARLY_WORSE = 0.05
#: Networks that answer probes: those of all folds, or so many where there is one split.
MIN_PROBED = 3


class Confirmation:
    """Trains and compares policies on validation data, with seeds that no search has seen.

    Args:
      run: Holds the outcomes.
      problem: What is trained.
      baselines: The search-free policies, simplest first.

    Attributes:
      calibration: What the networks of the first rung say of single ops; `None` before it, and
        where they were not asked.
    """

    def __init__(
        self,
        run: Run,
        problem: Problem,
        baselines: Mapping[str, Policy],
        stop: StopRequest,
        progress: Progress,
    ) -> None:
        self._run = run
        self._problem = problem
        self._baselines = baselines
        self._stop = stop
        self._progress = progress
        self._n_rounds = n_rounds(run.config, problem)
        self._replicates = tuple(
            Replicate((1 + i) * problem.n_folds + fold, rung_seed(run.config.seed, "confirm", i))
            for i in range(self._n_rounds)
            for fold in range(problem.n_folds)
        )
        self._scores: dict[str, list[float]] = {}
        self._n_probed = max(problem.n_folds, min(MIN_PROBED, len(self._replicates)))
        self.calibration: Calibration | None = None

    def run_baselines(self, engine: Engine, probes: Mapping[str, Policy]) -> Headroom:
        """Trains every search-free policy with every seed and fold; says what room they leave.

        The first networks that are trained without augmentation, `MIN_PROBED` or one of each
        fold, answer `probes`.

        Raises:
          RunError: When a training failed for good: the final comparison could not do without.
        """
        n = len(self._replicates)
        self._run.begin_rung("baselines", n * len(self._baselines), self._progress)
        outcomes = self._train("baselines", self._baselines, range(n), engine, probes)
        self._run.require_all(
            {f"baselines/{k}/{i}": o for k, mine in outcomes.items() for i, o in enumerate(mine)},
            "the search-free policies",
        )
        self.calibration = calibration_of([m for o in outcomes["none"] for m in o.metrics])
        arms = {name: [o.metrics[0] for o in mine] for name, mine in outcomes.items()}
        return headroom(arms, self._problem.chance_score())

    def training_seconds(self) -> float | None:
        """Mean seconds of the trainings of the search-free policies; `None` where none ended."""
        seconds = [
            outcome.seconds
            for key, outcome in self._run.outcomes().items()
            if key.startswith("baselines/") and outcome.score is not None
        ]
        return float(np.mean(seconds)) if seconds else None

    def run_candidates(
        self, engine: Engine, trials: Sequence[Trial], cost: PolicyCost | None = None
    ) -> Selection:
        """Trains the best trials beside the search-free policies and chooses among them all.

        Raises:
          RunError: When no trial has found a policy with a score.
        """
        config = self._run.config
        arms = pick_candidates(trials, config.candidates, self._baselines.values())
        if not arms:
            reasons = [t.outcome.message.strip() for t in trials if t.outcome.state == "failed"]
            raise RunError(
                f"None of the {len(trials)} trials has a score for a policy of its own."
                + (f" {len(reasons)} failed, the last one so: {reasons[-1]}" if reasons else "")
            )
        n_folds = self._problem.n_folds
        whole = cost is not None  # a cheap policy may be worse than the others, and stays
        n_arms = [len(arms)] * self._n_rounds if whole else halving(len(arms), self._n_rounds)
        self._run.begin_rung("confirm", n_folds * sum(n_arms), self._progress)
        for index, n_left in enumerate(n_arms):
            if index and not whole:
                kept = survivors({name: self._scores[name] for name in arms}, n_left)
                arms = {name: arms[name] for name in kept}
            self._train("confirm", arms, range(index * n_folds, (index + 1) * n_folds), engine)
        smaller = self._smaller(arms)
        if smaller:
            self._train("confirm", smaller, range(len(self._replicates)), engine)
        active = dict(self._baselines) | arms | smaller
        scores = {name: self._scores[name] for name in active}
        names, share = tuple(self._baselines), self._problem.validation_share
        selection = select(active, scores, names, cost, share)
        return selection.with_pruning(_pruning(active, scores, smaller))

    def _train(
        self,
        rung: str,
        arms: Mapping[str, Policy],
        numbers: range,
        engine: Engine,
        probes: Mapping[str, Policy] | None = None,
    ) -> dict[str, list[Outcome]]:
        tasks = [
            Task(
                f"{rung}/{name}/{i}",
                policy,
                (self._replicates[i],),
                self._problem.epochs,
                probes=probes if probes and name == "none" and i < self._n_probed else {},
            )
            for i in numbers
            for name, policy in arms.items()
        ]
        outcomes = self._run.run_tasks(tasks, engine, self._stop, self._progress)
        found = {name: [outcomes[f"{rung}/{name}/{i}"] for i in numbers] for name in arms}
        for name, mine in found.items():
            scores = [math.inf if o.score is None else o.score for o in mine]
            self._scores.setdefault(name, []).extend(scores)
        return found

    def _smaller(self, arms: Mapping[str, Policy]) -> dict[str, Policy]:
        """The best candidate without its rare and weak parts, where it has any."""
        means = {name: sum(self._scores[name]) for name in arms}
        best = min(means, key=means.__getitem__, default=None)
        if best is None or not math.isfinite(means[best]):
            return {}
        smaller = simplified(arms[best])
        return {} if smaller == arms[best] else {f"{best}{PRUNED}": smaller}


def n_rounds(config: SearchConfig, problem: Problem) -> int:
    """Seeds of the confirmation: as many as make six trainings of a policy, unless told."""
    return config.confirm_seeds or math.ceil(6 / problem.n_folds)


def halving(n: int, n_rounds: int) -> list[int]:
    """How many of `n` candidates take part in each round: all, then the better half.

    Examples:
      >>> halving(6, 2), halving(5, 4)
      ([6, 3], [5, 5, 3, 3])
    """
    n_full = (n_rounds + 1) // 2
    return [n] * n_full + [(n + 1) // 2] * (n_rounds - n_full)


def survivors(scores: Mapping[str, Sequence[float]], n: int) -> list[str]:
    """The `n` best of equally many paired scores (lower is better).

    Where several go on, a merged policy is one of them. Those that are clearly worse than the
    best of them drop out as well.
    """
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    ranked = sorted(scores, key=lambda name: (name != MERGED or n == 1, means[name]))[:n]
    leader = scores[min(ranked, key=means.__getitem__)]
    return [name for name in ranked if not is_clearly_worse(scores[name], leader)]


def is_clearly_worse(scores: Sequence[float], leader: Sequence[float]) -> bool:
    """Whether paired scores are worse (higher) than the leader's, by the signed-rank test.

    Below five trainings the test cannot say so at the 5 % level.
    """
    if len(scores) < 5 or list(scores) == list(leader):
        return False
    if not np.isfinite(scores).all():
        return True
    differences = np.asarray(scores) - np.asarray(leader)
    if not differences.any():
        return False
    test: Any = stats.wilcoxon(differences, alternative="greater", method="exact")
    return float(test.pvalue) < CLEARLY_WORSE


def _pruning(
    arms: Mapping[str, Policy],
    scores: Mapping[str, Sequence[float]],
    smaller: Mapping[str, Policy],
) -> Pruning | None:
    """What leaving out rare and weak parts cost the best candidate."""
    for name in smaller:
        whole = name.removesuffix(PRUNED)
        cost = float(np.mean(np.subtract(scores[name], scores[whole])))
        return Pruning(whole, arms[whole].n_choices, smaller[name].n_choices, cost)
    return None
