"""Optuna's samplers behind our contract; the only module that speaks to Optuna's samplers.

Optuna keeps the random state of a sampler in the sampler. Here every suggestion is made by a
sampler seeded from (seed, trial number), with an in-memory study that is rebuilt from the visible
history, so that a resumed run continues exactly as an undisturbed one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from policysearch.seeding import derive_seed
from policysearch.space import Choice, Parameter, SearchSpace
from policysearch.trial import Suggestion, Trial

Algorithm = Literal["tpe", "random", "nsga2"]
ALGORITHMS: tuple[Algorithm, ...] = ("tpe", "random", "nsga2")


class OptunaSampler:
    """Multivariate TPE, random or NSGA-II search over the parameters of a space.

    Args:
      space: Must have parameters.
      seed: Root seed.
      algorithm: Arguments are pinned, because Optuna's defaults change between versions.
    """

    def __init__(self, space: SearchSpace, seed: int, algorithm: Algorithm = "tpe") -> None:
        self._space = space
        self._seed = seed
        self._algorithm = algorithm
        self._distributions = {
            name: _distribution(parameter) for name, parameter in space.parameters().items()
        }
        self._study: optuna.Study | None = None
        self._told: list[Trial] = []

    def suggest(self, number: int, history: Sequence[Trial]) -> Suggestion:
        """Suggests the parameters of trial `number` (see `Sampler`)."""
        study = self._study_with(history)
        study.sampler = self._sampler(derive_seed(self._seed, "sampler", number) % 2**32)
        trial = study.ask(self._distributions)
        params = {name: trial.params[name] for name in self._distributions}
        state = dict(study.get_trials(deepcopy=False)[trial.number].system_attrs)
        # The asked trial must not stay behind as a running one.
        study.tell(trial, state=TrialState.FAIL)
        return Suggestion(self._space.decode(params), self._algorithm, params, state)

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        if self._algorithm == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self._algorithm == "nsga2":
            return optuna.samplers.NSGAIISampler(
                seed=seed, population_size=20, mutation_prob=None, crossover_prob=0.9
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "multivariate is experimental", by its name
            return _StaticTPESampler(
                self._distributions,
                seed=seed,
                multivariate=True,
                constant_liar=False,
                n_startup_trials=10,
                n_ei_candidates=24,
            )

    def _study_with(self, history: Sequence[Trial]) -> optuna.Study:
        """The study that holds exactly this history; grown when it can be, else made anew."""
        usable = [t for t in history if t.suggestion.params is not None]
        # NSGA-II caches parents in the study: only a new study depends on the history alone.
        is_stale = self._algorithm == "nsga2" or usable[: len(self._told)] != self._told
        if self._study is None or is_stale:
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self._study = optuna.create_study(direction="minimize")
            self._told = []
        for trial in usable[len(self._told) :]:
            self._study.add_trial(self._frozen(trial))
            self._told.append(trial)
        return self._study

    def _frozen(self, trial: Trial) -> optuna.trial.FrozenTrial:
        steps: dict[int, float] = dict(enumerate(trial.running_means()))
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
        state = states.get(trial.outcome.state, TrialState.FAIL)
        attributes: dict[str, Any] = dict(trial.suggestion.state)
        return create_trial(
            state=state,
            value=trial.outcome.score if state == TrialState.COMPLETE else None,
            params=dict(trial.suggestion.params or {}),
            distributions=self._distributions,
            intermediate_values=steps,
            system_attrs=attributes,
        )


class _StaticTPESampler(optuna.samplers.TPESampler):
    """TPE over a fixed space: spares Optuna's scan of all trials at every suggestion."""

    def __init__(self, space: dict[str, BaseDistribution], **arguments: Any) -> None:
        super().__init__(**arguments)
        # A parameter of one value cannot be modelled; Optuna fills it in by itself.
        self._static_space = {n: d for n, d in sorted(space.items()) if not d.single()}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del study, trial
        return self._static_space


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.options)
    if parameter.is_integer:
        return IntDistribution(int(parameter.low), int(parameter.high))
    return FloatDistribution(parameter.low, parameter.high)
