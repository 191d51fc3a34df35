"""Optuna's samplers behind our contract.

Optuna keeps the random state of a sampler in the sampler, and its view of the past in a study.
Here every suggestion is made by a sampler seeded from (seed, trial number) in a study that is
shown exactly the visible history, so that a resumed run continues as an undisturbed one. What is
kept between suggestions is translated history: it saves time and decides nothing.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Container, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from policysearch.samplers.optuna_trials import distributions_of, frozen_trial, only_value
from policysearch.seeding import derive_seed
from policysearch.space import SearchSpace
from policysearch.trial import Suggestion, Trial

Algorithm = Literal["tpe", "random", "nsga2"]
ALGORITHMS: tuple[Algorithm, ...] = ("tpe", "random", "nsga2")

#: TPE's cost grows with the trials that it models. Beyond this number it is shown the best ones,
#: of which it models the 25 best as good, and the newest, which weigh most among the others.
MAX_MODELLED = 1000
_N_BEST_MODELLED = 100
_POPULATION_SIZE = 20
#: Where a trial of NSGA-II keeps its generation, in the ledger too.
_GENERATION = "NSGAIISampler:generation"


class OptunaSampler:
    """Multivariate TPE, random or NSGA-II search over the parameters of a space.

    Args:
      space: Must have parameters.
      seed: Root seed.
      algorithm: Arguments are pinned, because Optuna's defaults change between versions.
      weighs_cost: Whether the cost of a policy is a second objective, for TPE and NSGA-II.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        algorithm: Algorithm = "tpe",
        *,
        weighs_cost: bool = False,
    ) -> None:
        self._space = space
        self._seed = seed
        self._algorithm = algorithm
        self._directions = [StudyDirection.MINIMIZE] * (2 if weighs_cost else 1)
        self._distributions = distributions_of(space)
        # A parameter of one value cannot be modelled; Optuna fills it in by itself.
        self._varied = {n: d for n, d in sorted(self._distributions.items()) if not d.single()}
        self._told: list[Trial] = []
        self._frozen: list[FrozenTrial] = []
        self._generations = _Generations()

    def suggest(self, number: int, history: Sequence[Trial]) -> Suggestion:
        """Suggests the parameters of trial `number` (see `Sampler`)."""
        seed = derive_seed(self._seed, "sampler", number) % 2**32
        if self._algorithm == "random":
            params = self._random(seed)
            return Suggestion(self._space.decode(params), self._algorithm, params)
        self._take_in(history)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=_History(self._shown()),
            sampler=self._sampler(seed),
            directions=self._directions,
        )
        asked = study.ask(self._distributions).params
        params = {name: asked[name] for name in self._distributions}
        return Suggestion(self._space.decode(params), self._algorithm, params, self._state())

    def _random(self, seed: int) -> dict[str, Any]:
        """What a study with a random sampler would give, at half the cost."""
        sampler: Any = optuna.samplers.RandomSampler(seed=seed)
        return {
            name: sampler.sample_independent(None, None, name, distribution)
            if name in self._varied
            else only_value(distribution)
            for name, distribution in self._distributions.items()
        }

    def _take_in(self, history: Sequence[Trial]) -> None:
        """Translates what is new; begins anew when the history is not a grown one."""
        if list(history[: len(self._told)]) != self._told:
            self._told, self._frozen, self._generations = [], [], _Generations()
        for trial in history[len(self._told) :]:
            if trial.suggestion.params is not None:
                frozen = frozen_trial(trial, self._distributions)
                self._frozen.append(frozen)
                self._generations.add(frozen)
        self._told = list(history)
        if len(self._frozen) > 2 * MAX_MODELLED and self._algorithm == "tpe":
            self._frozen = modelled(self._frozen)  # what it leaves out now it always will

    def _shown(self) -> list[FrozenTrial]:
        if self._algorithm == "tpe":
            return modelled(self._frozen)
        return []  # NSGA-II asks for its generations instead

    def _state(self) -> dict[str, Any]:
        return {_GENERATION: self._generations.newest()} if self._algorithm == "nsga2" else {}

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        if self._algorithm == "nsga2":
            return _NSGAIISampler(
                self._varied,
                self._generations,
                seed=seed,
                population_size=_POPULATION_SIZE,
                mutation_prob=None,
                crossover_prob=0.9,
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "multivariate is experimental", by its name
            return _TPESampler(
                self._varied,
                seed=seed,
                multivariate=True,
                constant_liar=False,
                n_startup_trials=10,
                n_ei_candidates=24,
            )


def modelled(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """What TPE is shown of a history: all of a short one, the best and newest of a long one."""
    told = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(told) <= MAX_MODELLED:
        return told
    if any(len(t.values or ()) > 1 for t in told):  # of several objectives there is no best
        return told[-MAX_MODELLED:]
    n_newest = MAX_MODELLED - _N_BEST_MODELLED
    older = [t for t in told[:-n_newest] if t.state == TrialState.COMPLETE]
    best = heapq.nsmallest(_N_BEST_MODELLED, older, key=lambda t: (t.value, t.number))
    return sorted(best, key=lambda t: t.number) + told[-n_newest:]


class _History(optuna.storages.InMemoryStorage):
    """Shows a history as it is; a study of Optuna's own would copy every trial into itself."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self._trials = trials

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002
        deepcopy: bool = True,  # noqa: ARG002
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return [t for t in self._trials if states is None or t.state in states]


class _TPESampler(optuna.samplers.TPESampler):
    """TPE over a fixed space: spares Optuna's scan of all trials at every suggestion."""

    def __init__(self, space: dict[str, BaseDistribution], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._fixed_space = space

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del study, trial
        return self._fixed_space


class _NSGAIISampler(optuna.samplers.NSGAIISampler):
    """NSGA-II over a fixed space and generations that are kept from one suggestion to the next.

    Optuna's own keeps the parents of a generation once it has chosen them, so that they depend on
    when that was; and chooses them from the first generation on where it has not.
    """

    def __init__(
        self, space: dict[str, BaseDistribution], generations: _Generations, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._fixed_space = space
        self._generations = generations

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del study, trial
        return self._fixed_space

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        del study, trial
        return self._generations.newest()

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        del study
        return list(self._generations.population(generation))

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        parents = self._generations.parents
        for missing in range(len(parents), generation + 1):
            parents.append(self.select_parent(study, missing))
        return list(parents[generation])


class _Generations:
    """Complete trials by generation, and the parents chosen for each.

    Attributes:
      parents: Parents of generations 0, 1, ... as far as they are known; a trial that comes in
        makes those of all later generations unknown.
    """

    def __init__(self) -> None:
        self._populations: dict[int, list[FrozenTrial]] = {}
        self.parents: list[list[FrozenTrial]] = [[]]

    def add(self, trial: FrozenTrial) -> None:
        generation = trial.system_attrs.get(_GENERATION)
        if generation is None or trial.state != TrialState.COMPLETE:
            return
        self._populations.setdefault(generation, []).append(trial)
        del self.parents[generation + 1 :]

    def population(self, generation: int) -> list[FrozenTrial]:
        return self._populations.get(generation, [])

    def newest(self) -> int:
        """The generation that the next trial belongs to."""
        newest = max(self._populations, default=0)
        return newest + (len(self.population(newest)) >= _POPULATION_SIZE)
