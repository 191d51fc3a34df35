"""Our trials as Optuna's: parameters as distributions, outcomes as frozen trials."""

from __future__ import annotations

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from policysearch.space import Choice, Parameter, SearchSpace
from policysearch.trial import Trial


def distributions_of(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The parameters of a space by name, in their order; all trials may share the result."""
    return _Shared({name: _distribution(p) for name, p in space.parameters().items()})


def only_value(distribution: BaseDistribution) -> float | int | str:
    """The value of a distribution that has no other."""
    if isinstance(distribution, CategoricalDistribution):
        return str(distribution.choices[0])
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    return distribution.low


def frozen_trial(trial: Trial, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    """A trial with its state, value, running mean after each replicate, and sampler state.

    A training that reports on its way has its reports in place of the means.

    Args:
      trial: Has parameters of the space.
      distributions: Of all parameters; shared, not copied.
    """
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    state = states.get(trial.outcome.state, TrialState.FAIL)
    attributes: dict[str, Any] = dict(trial.suggestion.state)
    means = trial.running_means()
    frozen = create_trial(
        state=state,
        values=_values(trial) if state == TrialState.COMPLETE else None,
        params=dict(trial.suggestion.params or {}),
        distributions=distributions,
        intermediate_values=dict(trial.outcome.reports or enumerate(means)),
        system_attrs=attributes,
    )
    frozen.number = trial.number
    return frozen


def _values(trial: Trial) -> list[float]:
    score = trial.outcome.score or 0.0
    return [score] if trial.cost is None else [score, trial.cost]


class _Shared(dict[str, BaseDistribution]):
    """Distributions that Optuna does not copy for every trial: 40 objects each."""

    def __deepcopy__(self, memo: object) -> _Shared:
        return self


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.options)
    if parameter.is_integer:
        return IntDistribution(int(parameter.low), int(parameter.high))
    return FloatDistribution(parameter.low, parameter.high)
