"""Strategies by name: ours and those of others, each over its own kind of policies."""

import warnings
from typing import get_args

import numpy as np
import pytest
from contracts.sampler_contract import SPACES, SamplerContract, play

from policysearch.baselines import baseline_policies
from policysearch.cli.search import command
from policysearch.config import SearchConfig
from policysearch.objectives.choose import OBJECTIVES, objective_for
from policysearch.samplers.forest import ForestSampler, expected_improvement
from policysearch.samplers.strategies import STRATEGIES, Plan
from policysearch.selection import pick_candidates
from policysearch.trial import FINAL

N_TRIALS, N_FOLDS = 60, 5
OPWISE = SPACES["opwise"]()


def made(name, space, seed=0, n_trials=N_TRIALS):
    warm = {"none": baseline_policies(OPWISE, 8)["none"]}
    return STRATEGIES[name].make(Plan(space, warm, n_trials, N_FOLDS, seed, "tpe"))


class TestForest(SamplerContract):
    N = 18  # the last of them are guided
    SPACES = ("triples",)  # what it is made for

    @classmethod
    def make_sampler(cls, space, seed):
        return ForestSampler(space, seed)


class TestPerFold(SamplerContract):
    N = N_TRIALS
    SPACES = ("triples",)

    @classmethod
    def make_sampler(cls, space, seed):
        return made("fast-autoaugment", space, seed)


def test_settings_and_command_line_know_every_strategy():
    known = list(STRATEGIES)
    assert list(get_args(SearchConfig.model_fields["strategy"].annotation)) == known
    option = next(p for p in command.params if p.name == "strategy")
    assert list(option.type.choices) == known


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_searches_policies_of_its_shape_in_the_same_operations(name):
    space = STRATEGIES[name].shaped(OPWISE)
    assert {r.op for r in space.ops} == {r.op for r in OPWISE.ops}
    n_trials = 24
    trials = play(made(name, space, n_trials=n_trials), n_trials)
    found = [t for t in trials if not t.suggestion.origin.startswith(("warm:", FINAL))]
    assert len(found) >= n_trials - 9  # the last generation of a population is final
    shapes = {
        (len(s.policy.sub_policies), len(s.policy.sub_policies[0].stages))
        for s in (t.suggestion for t in found)
        if s.policy.sub_policies
    }
    expected = {"fast-autoaugment": {(5, 2)}, "deepaugment": {(1, 4)}}
    assert shapes <= expected.get(name, {(1, 1), (1, 2), (1, 3)})


def test_four_operations_are_applied_to_every_sample():
    space = STRATEGIES["deepaugment"].shaped(OPWISE)
    for trial in play(made("deepaugment", space), 5):
        [sub] = trial.suggestion.policy.sub_policies
        assert [stage.probability for stage in sub.stages] == [1.0] * 4
        assert all(c.low == c.high for stage in sub.stages for c in stage.choices)


def test_every_strategy_has_an_objective_that_settings_overrule():
    assert objective_for("auto", STRATEGIES["fast-autoaugment"].objective) == "best_of_five"
    assert objective_for("density", STRATEGIES["fast-autoaugment"].objective) == "density"
    for strategy in STRATEGIES.values():
        assert objective_for("auto", strategy.objective) in OBJECTIVES


def test_folds_take_turns_and_learn_from_their_own_trials_only():
    space = STRATEGIES["fast-autoaugment"].shaped(OPWISE)
    trials = play(made("fast-autoaugment", space, n_trials=120), 120)
    searched = [t for t in trials if not t.suggestion.origin.startswith(FINAL)]
    assert all(t.suggestion.folds == (t.number % N_FOLDS,) for t in searched)
    of_another = [t for t in trials if t.number % N_FOLDS != 3]
    number = 118  # the fold has seen more than TPE draws at random
    seen = [t for t in trials if t.number < number - 4]
    mine = [t for t in seen if t not in of_another]
    sampler = made("fast-autoaugment", space, n_trials=120)
    assert sampler.suggest(number, mine) == sampler.suggest(number, seen)
    assert sampler.suggest(number, mine[:-1]) != sampler.suggest(number, mine)


def test_the_best_of_every_fold_are_merged_and_nothing_else_is_confirmed():
    space = STRATEGIES["fast-autoaugment"].shaped(OPWISE)
    n_trials = 200
    sampler = made("fast-autoaugment", space, n_trials=n_trials)
    trials = play(made("random", space), n_trials - 1)
    merged = sampler.suggest(n_trials - 1, trials)
    assert merged.origin.startswith(FINAL)
    assert merged.folds == ()
    expected = set()
    for fold in range(N_FOLDS):
        scored = [t for t in trials if t.number % N_FOLDS == fold and t.score is not None]
        best = sorted(scored, key=lambda t: t.score)[: round(len(scored) / 20)]
        expected |= {sub for t in best for sub in t.suggestion.policy.canonical().sub_policies}
    assert 5 <= len(merged.policy.sub_policies) <= len(expected)
    stages = {sub.stages for sub in expected}
    assert {sub.stages for sub in merged.policy.sub_policies} <= stages
    last = type(trials[0])(n_trials - 1, merged, trials[0].outcome)
    assert list(pick_candidates([*trials, last], 12, [])) == [f"trial-{n_trials - 1}"]
    assert len(pick_candidates(trials, 12, [])) == 12


def test_the_forest_finds_what_random_search_does_not():
    space = SPACES["randaugment"]()

    def score(suggestion):
        return (suggestion.params["level"] - 0.3) ** 2 + 0.05 * suggestion.params["n_ops"]

    trials = play(ForestSampler(space, 1), 40, score=score)
    early, late = (
        np.mean([score(t.suggestion) for t in part]) for part in (trials[:12], trials[-12:])
    )
    assert late < 0.5 * early


def test_improvement_is_expected_where_the_mean_is_low_or_little_is_known():
    mean, deviation = np.array([0.5, 0.3, 0.5, 0.5]), np.array([0.1, 0.1, 0.4, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gains = expected_improvement(mean, deviation, 0.4)
    assert gains[1] > gains[0] > gains[3]
    assert gains[2] > gains[0]
    assert gains[3] == pytest.approx(0.0)
