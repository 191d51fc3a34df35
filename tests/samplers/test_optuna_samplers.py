"""Optuna's algorithms: the contract, that TPE learns, and that asking stays cheap."""

import dataclasses
import time

import numpy as np
import optuna
import pytest
from contracts.sampler_contract import SPACES, SamplerContract, outcome_of, play
from optuna.trial import TrialState, create_trial

from policysearch.samplers.optuna_backed import ALGORITHMS, MAX_MODELLED, OptunaSampler, modelled
from policysearch.samplers.optuna_trials import distributions_of, frozen_trial
from policysearch.seeding import derive_seed
from policysearch.trial import Outcome, Suggestion, Trial


class TestTPE(SamplerContract):
    @classmethod
    def make_sampler(cls, space, seed):
        return OptunaSampler(space, seed, "tpe")


class TestRandom(SamplerContract):
    @classmethod
    def make_sampler(cls, space, seed):
        return OptunaSampler(space, seed, "random")


class TestNSGA2(SamplerContract):
    N = 45  # three generations

    @classmethod
    def make_sampler(cls, space, seed):
        return OptunaSampler(space, seed, "nsga2")


def few_ops_help(suggestion: Suggestion) -> float:
    """Five ops help when they are frequent and strong, the others harm."""
    helpful = ("rotate", "translate_x", "translate_y", "shear_x", "scale")
    loss = 0.0
    for name, value in suggestion.params.items():
        op, _, kind = name.partition(".")
        if kind == "weight":
            loss += (1 - value) ** 2 if op in helpful else 0.3 * value**2
        elif kind == "level" and op in helpful:
            loss += 0.5 * (value - 0.4) ** 2
    return loss


def mean_of_last(algorithm: str, seed: int) -> float:
    trials = play(OptunaSampler(SPACES["opwise"](), seed, algorithm), 60, score=few_ops_help)
    return float(np.mean([few_ops_help(t.suggestion) for t in trials[-20:]]))


def test_tpe_learns_where_random_search_does_not():
    """Mean of the last 20 of 60 trials, 6 seeds.

    A sampler no better than random passes with probability 2**-6 = 1.6 %.
    """
    seeds = range(6)
    assert all(mean_of_last("tpe", s) < mean_of_last("random", s) for s in seeds)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_space_with_nothing_left_to_choose_in_places_is_searched(algorithm):
    """One number of ops, one probability, one op: Optuna skips such parameters."""
    space = SPACES["opwise"]()
    space = dataclasses.replace(space, n_ops=(2, 2), probability=(1.0, 1.0), ops=space.ops[:1])
    for trial in play(OptunaSampler(space, 0, algorithm), 30):
        assert trial.suggestion.params["n_ops"] == 2
        assert trial.suggestion.params["probability"] == 1.0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_space_without_any_choice_is_searched(algorithm):
    space = dataclasses.replace(SPACES["randaugment"](), n_ops=(2, 2))
    assert len(play(OptunaSampler(space, 0, algorithm), 15)) == 15


def test_trials_from_outside_the_space_are_left_out():
    space = SPACES["opwise"]()
    trials = play(OptunaSampler(space, 0, "tpe"), 20)
    outside = Trial(20, Suggestion(space.uniform_policy(), "warm:x"), outcome_of(20, 0.0))
    with_it = OptunaSampler(space, 0, "tpe").suggest(30, [*trials, outside])
    assert with_it == OptunaSampler(space, 0, "tpe").suggest(30, trials)


def test_nsga2_makes_generations():
    trials = play(OptunaSampler(SPACES["opwise"](), 0, "nsga2"), 70)
    generations = [next(iter(t.suggestion.state.values())) for t in trials]
    assert generations == sorted(generations)
    assert generations[-1] >= 2


def by_optuna(space, seed, algorithm, number, history):
    """What Optuna suggests by itself, in a study made of the history for this one question."""
    distributions = dict(distributions_of(space))
    study = optuna.create_study()
    for trial in history:
        if trial.suggestion.params is not None:
            study.add_trial(frozen_trial(trial, distributions))
    seed = derive_seed(seed, "sampler", number) % 2**32
    if algorithm == "tpe":
        arguments = {"multivariate": True, "constant_liar": False}
        study.sampler = optuna.samplers.TPESampler(seed=seed, **arguments)
    elif algorithm == "random":
        study.sampler = optuna.samplers.RandomSampler(seed=seed)
    else:
        study.sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=20)
    return study.ask(distributions).params


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(
    ("algorithm", "numbers"),
    [("tpe", (8, 30, 64)), ("nsga2", (15, 40, 64)), ("random", (8, 30, 64))],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_what_is_spared_changes_nothing_that_optuna_suggests(name, algorithm, numbers):
    space = SPACES[name]()
    trials = play(OptunaSampler(space, 3, algorithm), max(numbers) + 1)
    for number in numbers:
        history = [t for t in trials if t.number <= number - 4]
        params = by_optuna(space, 3, algorithm, number, history)
        assert trials[number].suggestion.params == params


def frozen(number, score, state=TrialState.COMPLETE):
    trial = create_trial(state=state, value=score)
    trial.number = number
    return trial


def test_of_a_long_history_tpe_models_the_best_and_the_newest():
    rng = np.random.default_rng(0)
    scores = rng.permutation(3000).astype(float)
    trials = [frozen(i, scores[i]) for i in range(3000)]
    trials[7:3000:10] = [frozen(i, None, TrialState.FAIL) for i in range(7, 3000, 10)]
    shown = modelled(trials)
    numbers = [t.number for t in shown]
    told = [t for t in trials if t.state == TrialState.COMPLETE]
    assert len(shown) == MAX_MODELLED
    assert numbers == sorted(set(numbers))
    assert {t.number for t in sorted(told, key=lambda t: t.value)[:100]} <= set(numbers)
    assert {t.number for t in told[-900:]} <= set(numbers)
    assert modelled(modelled(trials[:2100]) + trials[2100:]) == shown


def test_of_a_short_history_tpe_models_all_that_did_not_fail():
    trials = [frozen(i, 1.0) for i in range(MAX_MODELLED)]
    assert modelled([*trials, frozen(9999, None, TrialState.FAIL)]) == trials


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_asking_stays_cheap(algorithm):
    """Bound: the 100 ms of processor time that a trial may cost, doubled for a busy machine."""
    space = SPACES["opwise"]()
    rng = np.random.default_rng(0)
    sampler = OptunaSampler(space, 0, algorithm)
    history = []
    for number in range(3000):
        levels = {r.op: float(rng.uniform(0.1, 1)) for r in rng.choice(space.ops, 3)}
        params = space.encode_opwise(levels, 2)
        state = {"NSGAIISampler:generation": number // 25} if algorithm == "nsga2" else {}
        suggestion = Suggestion(space.decode(params), "x", params, state)
        score = few_ops_help(suggestion)
        history.append(Trial(number, suggestion, Outcome("complete", score, ({"score": score},))))
    sampler.suggest(3000, history)
    seconds = []
    for number in range(3001, 3009):
        started = time.process_time()
        sampler.suggest(number, history)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.2
