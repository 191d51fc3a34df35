"""The strategies of a search by name: over which policies, in which order, scored how.

Ours are stages of one sampler. Those of others are there to be compared with: re-created from
their papers, in this space's operations, and judged by the same confirmation and verdict. What
only a sampler needs is imported when it is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policysearch.policy import Policy
from policysearch.samplers.base import Sampler
from policysearch.samplers.known import NOTHING_KNOWN, Known
from policysearch.space import SearchSpace

if TYPE_CHECKING:
    from policysearch.samplers.optuna_backed import Algorithm


@dataclass(frozen=True)
class Plan:
    """What a sampler is made for.

    Attributes:
      space: What is searched, in the shape that the strategy gave it.
      warm_start: The search-free policies.
      n_trials: Planned number of trials.
      n_folds: Folds of the search.
      algorithm: Refines what a staged strategy found.
      known: Before the first trial.
    """

    space: SearchSpace
    warm_start: Mapping[str, Policy]
    n_trials: int
    n_folds: int
    seed: int
    algorithm: Algorithm
    known: Known = NOTHING_KNOWN


def _as_it_is(space: SearchSpace) -> SearchSpace:
    return space


@dataclass(frozen=True)
class Strategy:
    """A way to search.

    Attributes:
      make: Makes its sampler.
      shaped: The space it searches, made of the operations of the one that was asked for.
      objective: What it scores policies by, where nothing else is asked for.
      n_folds: Folds that it needs, where nothing else is asked for.
      is_calibrated: Whether it wants a calibration.
      min_trials: How many it needs in a space; with fewer it leaves out what it is named for.
    """

    make: Callable[[Plan], Sampler]
    shaped: Callable[[SearchSpace], SearchSpace] = _as_it_is
    objective: str = "auto"
    n_folds: int | None = None
    is_calibrated: bool = False
    min_trials: Callable[[SearchSpace], int] = lambda _: 1


def _trials_to_screen(space: SearchSpace) -> int:
    from policysearch.samplers.staged import trials_to_screen

    return trials_to_screen(space)


def _screened(plan: Plan) -> Sampler:
    from policysearch.samplers.staged import StagedSampler

    inner = _optuna(plan, plan.algorithm)
    return StagedSampler(plan.space, plan.warm_start, plan.n_trials, inner, plan.seed)


def _calibrated(plan: Plan) -> Sampler:
    if plan.space.method != "opwise":  # nothing to lay out
        return _screened(plan)
    from policysearch.samplers.calibrated import CalibratedSampler

    inner = _optuna(plan, plan.algorithm)
    return CalibratedSampler(
        plan.space, plan.known, plan.warm_start, inner, plan.seed, plan.n_trials
    )


def _fast_autoaugment(plan: Plan) -> Sampler:
    from policysearch.samplers.per_fold import PerFoldSampler

    inner = [_optuna(plan, "tpe") for _ in range(plan.n_folds)]
    return PerFoldSampler(inner, plan.n_trials)


def _deepaugment(plan: Plan) -> Sampler:
    from policysearch.samplers.forest import ForestSampler

    return ForestSampler(plan.space, plan.seed)


def _population(plan: Plan) -> Sampler:
    from policysearch.samplers.population import PopulationSampler

    inner = _optuna(plan, "random")
    return PopulationSampler(
        plan.space, plan.known.calibration, plan.warm_start, plan.n_trials, inner, plan.seed
    )


def _optuna(plan: Plan, algorithm: Algorithm) -> Sampler:
    from policysearch.samplers.optuna_backed import OptunaSampler

    return OptunaSampler(plan.space, plan.seed, algorithm, weighs_cost=plan.known.cost is not None)


def _five_of_two(space: SearchSpace) -> SearchSpace:
    """Fast AutoAugment's policies: 5 sub-policies of 2 (operation, probability, magnitude).

    References:
      Lim et al., Fast AutoAugment, 2019 (arXiv:1905.00397), sections 3 and 4: 5 folds, 200 trials
        of TPE in each, the 10 best of each merged.
    """
    return dataclasses.replace(
        space, method="triples", n_sub_policies=5, n_ops=(2, 2), probability=(0.0, 1.0)
    )


def _four_in_sequence(space: SearchSpace) -> SearchSpace:
    """DeepAugment's policies: four (operation, magnitude) pairs, applied to every sample.

    References:
      Ozmen, DeepAugment, versions 1 and 2: 50 iterations, guided by a random forest.
    """
    return dataclasses.replace(
        space, method="triples", n_sub_policies=1, n_ops=(4, 4), probability=(1.0, 1.0)
    )


STRATEGIES: Mapping[str, Strategy] = {
    "screened": Strategy(_screened, min_trials=_trials_to_screen),
    "calibrated": Strategy(_calibrated, is_calibrated=True),
    "pbt": Strategy(_population, objective="in_segments", is_calibrated=True),
    "random": Strategy(lambda plan: _optuna(plan, "random")),
    "fast-autoaugment": Strategy(_fast_autoaugment, _five_of_two, "best_of_five", 5),
    "deepaugment": Strategy(_deepaugment, _four_in_sequence, "from_scratch"),
}
