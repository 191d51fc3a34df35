"""What a run will take, told before it starts; and whether that suits the time that is given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policysearch.config import SearchConfig
from policysearch.confirmation import halving, n_rounds
from policysearch.errors import InvalidValueError
from policysearch.problems.base import Problem

#: Starting the worker processes, once for the search and once for the verdict.
START_SECONDS = 10.0
#: Share of the trainings of a search that pruning leaves: the median of the searches in
#: `benchmarks/results/search_*.json`.
LEFT_BY_PRUNING = 0.8
#: Fewer paired seeds than this show large differences only.
SOUND_SEEDS = 5
#: Share of a budget for the search where nobody knows how long a training takes.
SEARCH_SHARE = 0.4


@dataclass(frozen=True)
class Plan:
    """Estimated wall time of a run.

    Attributes:
      training_seconds: Of one full training; `None`: not known before the first one.
      seconds: By rung, all workers busy; empty when a training is not known.
      n_trials: Trials that the search will have time for.
      search_seconds: Time limit of the search; `None`: none.
      advice: What a user should know about it.
    """

    training_seconds: float | None
    seconds: Mapping[str, float]
    n_trials: int
    search_seconds: float | None
    advice: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For the progress."""
        return {
            "training_seconds": self.training_seconds,
            "seconds": {rung: round(s, 1) for rung, s in self.seconds.items()},
            "trials": self.n_trials,
            "advice": list(self.advice),
        }


def make_plan(
    problem: Problem, config: SearchConfig, n_baselines: int, training: float | None
) -> Plan:
    """Estimates a run.

    Args:
      problem: Gives folds and lengths.
      config: Gives counts and the budget.
      n_baselines: Search-free policies.
      training: Seconds of a full training on one worker, or `None`.

    Raises:
      InvalidValueError: For a budget that does not hold a single trial beside the comparisons.
    """
    advice = []
    if config.verdict_seeds < SOUND_SEEDS:
        advice.append(
            f"A verdict of {config.verdict_seeds} seeds can show large differences only; "
            f"give --verdict-seeds {SOUND_SEEDS} or more for one that can be relied on."
        )
    budget = config.budget_seconds
    if training is None:
        limit = None if budget is None else budget * SEARCH_SHARE
        return Plan(None, {}, config.trials, limit, tuple(advice))
    rounds = n_rounds(config, problem)
    counts = {
        "baselines": n_baselines * rounds * problem.n_folds,
        "confirm": sum(halving(config.candidates, rounds)) * problem.n_folds,
        "verdict": (n_baselines + 2) * config.verdict_seeds,
    }
    seconds = {rung: n * training / config.workers for rung, n in counts.items()}
    shorter = problem.search_epochs / problem.epochs * problem.search_cost
    trial = training * problem.n_folds * shorter
    n_trials, limit = config.trials, None
    if budget is not None:
        limit = budget - sum(seconds.values()) - START_SECONDS
        if limit < trial:
            raise _too_small(budget, trial, budget - limit)
        n_trials = min(config.trials, max(2, int(limit * config.workers / trial)))
        if n_trials < config.trials / 2:
            advice.append(
                f"The budget leaves time for {n_trials} of {config.trials} trials: the search "
                f"will be a coarse one. With {duration_for(config, trial, budget - limit)} s it "
                "could try them all."
            )
    seconds["search"] = n_trials * trial / config.workers * LEFT_BY_PRUNING
    order = ("baselines", "search", "confirm", "verdict")
    return Plan(training, {k: seconds[k] for k in order}, n_trials, limit, tuple(advice))


def duration_for(config: SearchConfig, trial: float, others: float) -> int:
    """Whole seconds that all trials and the comparisons take."""
    return math.ceil(others + config.trials * trial / config.workers)


def _too_small(budget: float, trial: float, others: float) -> InvalidValueError:
    least = 1.25 * (others + trial)  # times are estimates
    return InvalidValueError(
        f"`--budget` of {budget:.0f} s is too small to finish one trial: a trial takes about "
        f"{trial:.1f} s here and the comparisons about {others:.0f} s. Give at least "
        f"{least:.0f} s, fewer --verdict-seeds or --epochs, or a smaller --train-size."
    )
