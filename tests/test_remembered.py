"""Trials that a long search keeps: the same in every respect, and small."""

import dataclasses
import json
import tracemalloc

import pytest
from contracts.sampler_contract import SPACES, outcome_of, play

from policysearch.policy import Schedule
from policysearch.remembered import Packing
from policysearch.samplers.optuna_backed import OptunaSampler
from policysearch.trial import Suggestion, Trial


def trials_of(name, n):
    space = SPACES[name]()
    return space, play(OptunaSampler(space, 0, "random"), n)


@pytest.mark.parametrize("name", SPACES)
def test_what_is_remembered_is_what_was_suggested(name):
    space, trials = trials_of(name, 40)
    packing = Packing(space)
    for trial in trials:
        kept = packing.packed(trial)
        assert kept == trial
        assert trial == kept
        assert kept.suggestion.policy == trial.suggestion.policy
        assert json.dumps(kept.suggestion.params) == json.dumps(trial.suggestion.params)
    assert kept != packing.packed(trials[0])


def test_a_policy_without_parameters_is_remembered_too():
    space = SPACES["opwise"]()
    policy = dataclasses.replace(space.uniform_policy(), schedule=Schedule(((0, 1), (1, 0.5))))
    suggestion = Suggestion(policy, "warm:x", None, {"a": 1}, (2,))
    kept = Packing(space).packed(Trial(3, suggestion, outcome_of(3, 0.5))).suggestion
    for field in dataclasses.fields(Suggestion):
        assert getattr(kept, field.name) == getattr(suggestion, field.name)
    other = Suggestion(policy.at_full_strength(), "warm:x", None, {"a": 1})
    assert kept != other
    assert other != kept


def test_what_is_remembered_takes_less_than_a_kibibyte():
    """As it was suggested it takes some 5."""
    space, trials = trials_of("opwise", 200)
    packing, kept = Packing(space), []
    tracemalloc.start()
    try:
        kept += [packing.packed(trial).suggestion for trial in trials]
        n_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(kept) == 200
    assert n_bytes < 200 * 1024
