"""What every sampler must keep: what it suggests is a function of its arguments alone.

Inherit, name the class `Test...` and give it `make_sampler` and `name`.
"""

import dataclasses
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence

import pytest

from policysearch.samplers.base import Sampler
from policysearch.space import Choice, RareClasses, SearchSpace
from policysearch.space_yaml import load_space
from policysearch.trial import Outcome, Suggestion, Trial

Score = Callable[[Suggestion], float]

#: Space and number of channels: one and three channels, whole numbers, choices.
SPACES = {
    "opwise": lambda: load_space("image/opwise").restricted_to(1),
    "scheduled": lambda: load_space("image/scheduled").restricted_to(1),
    "rare": lambda: dataclasses.replace(
        load_space("image/opwise").restricted_to(1), rare_classes=RareClasses(counts=(90, 10))
    ),
    "triples": lambda: load_space("image/autoaugment"),
    "randaugment": lambda: load_space("image/randaugment"),
}


def smooth(suggestion: Suggestion) -> float:
    """A score without noise that any policy has: a sum over its parameters."""
    total = 3.0
    for i, (name, value) in enumerate(sorted((suggestion.params or {}).items())):
        x = value if isinstance(value, (int, float)) else len(value) / 10
        total += 0.1 * (x - (i % 3) / 2) ** 2 + 0.001 * len(name)
    return total


def outcome_of(number: int, score: float) -> Outcome:
    """Every 7th trial failed, every 5th was pruned after its first replicate."""
    steps = tuple({"score": score + d} for d in (0.1, -0.1))
    if number % 7 == 6:
        return Outcome("failed", failure="error", message="no luck")
    if number % 5 == 4:
        return Outcome("pruned", score + 0.1, steps[:1])
    return Outcome("complete", score, steps)


def visible(trials: Sequence[Trial], number: int, lookback: int) -> list[Trial]:
    return [t for t in trials if t.number <= number - lookback]


def play(sampler: Sampler, n_trials: int, lookback: int = 4, score: Score = smooth) -> list[Trial]:
    """A whole search; trials in order, each suggested from those `lookback` before it."""
    trials: list[Trial] = []
    for number in range(n_trials):
        suggestion = sampler.suggest(number, visible(trials, number, lookback))
        trials.append(Trial(number, suggestion, outcome_of(number, score(suggestion))))
    return trials


def as_json(suggestions: Sequence[Suggestion]) -> str:
    rows = [[s.origin, s.params, s.state, s.policy.digest()] for s in suggestions]
    return json.dumps(rows, allow_nan=False)


FRESH = """
import sys
from importlib import import_module
from contracts.sampler_contract import as_json, play
module, kind = sys.argv[1:3]
case = getattr(import_module(module), kind)()
searches = [play(case.make_sampler(space, 5), case.N) for space in case.spaces()]
print([as_json([t.suggestion for t in trials]) for trials in searches])
"""


class SamplerContract:
    #: Trials of a search; enough for every stage of the sampler.
    N = 40
    SPACES = tuple(SPACES)

    @classmethod
    def make_sampler(cls, space: SearchSpace, seed: int) -> Sampler:
        raise NotImplementedError

    @classmethod
    def spaces(cls) -> list[SearchSpace]:
        return [SPACES[name]() for name in cls.SPACES]

    @pytest.fixture(scope="class")
    @classmethod
    def searches(cls):
        return [(space, play(cls.make_sampler(space, 5), cls.N)) for space in cls.spaces()]

    def test_same_arguments_give_the_same_suggestion_from_a_new_sampler(self, searches):
        """Also of a sampler that has not grown with the history: that of a resumed run."""
        for space, trials in searches:
            for number in (0, 3, 11, 12, min(25, self.N - 2), self.N - 1):
                sampler = self.make_sampler(space, 5)
                again = sampler.suggest(number, visible(trials, number, 4))
                assert again == trials[number].suggestion, number

    def test_same_arguments_give_the_same_suggestion_from_a_used_sampler(self, searches):
        middle = min(25, self.N - 2)
        for space, trials in searches:
            sampler = self.make_sampler(space, 5)
            for number in (self.N - 1, 12, middle, middle, 0):
                again = sampler.suggest(number, visible(trials, number, 4))
                assert again == trials[number].suggestion, number

    def test_a_used_sampler_sees_that_outcomes_are_other_ones(self, searches):
        for space, trials in searches:
            number = self.N - 1
            other = [
                Trial(t.number, t.suggestion, outcome_of(t.number, 1 / (1 + t.number)))
                for t in trials
            ]
            used = self.make_sampler(space, 5)
            used.suggest(number, visible(trials, number, 4))
            fresh = self.make_sampler(space, 5).suggest(number, visible(other, number, 4))
            assert used.suggest(number, visible(other, number, 4)) == fresh

    def test_same_suggestions_in_another_process(self, searches):
        """With other hashes of strings: nothing hangs on the order of a set."""
        kind = type(self)
        done = subprocess.run(
            [sys.executable, "-c", FRESH, kind.__module__, kind.__qualname__],
            env=os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        expected = [as_json([t.suggestion for t in trials]) for _, trials in searches]
        assert done.stdout.strip() == str(expected)

    def test_other_seeds_give_other_suggestions(self, searches):
        for space, trials in searches:
            other = play(self.make_sampler(space, 6), self.N)
            assert as_json([t.suggestion for t in other]) != as_json(
                [t.suggestion for t in trials]
            )

    def test_no_draw_is_repeated(self, searches):
        for _, trials in searches:
            drawn = [json.dumps(t.suggestion.params) for t in trials if t.suggestion.params]
            assert len(set(drawn)) >= 0.9 * len(drawn)

    def test_parameters_lie_in_the_space_and_make_the_policy(self, searches):
        for space, trials in searches:
            for trial in trials:
                params = trial.suggestion.params
                if params is None:
                    continue
                assert list(params) == list(space.parameters())
                for name, parameter in space.parameters().items():
                    if isinstance(parameter, Choice):
                        assert params[name] in parameter.options
                    else:
                        low = 0.0 if name.endswith(".weight") else parameter.low
                        assert low <= params[name] <= parameter.high
                        assert type(params[name]) is int or not parameter.is_integer
                assert space.decode(params) == trial.suggestion.policy

    def test_a_suggestion_survives_the_ledger(self, searches):
        for space, trials in searches:
            for trial in trials:
                kept = json.loads(as_json([trial.suggestion]))[0]
                assert kept[1] == trial.suggestion.params
                assert kept[2] == trial.suggestion.state
                if kept[1] is not None:
                    assert space.decode(kept[1]).digest() == kept[3]

    def test_a_history_of_failures_only_is_borne(self):
        for space in self.spaces():
            sampler = self.make_sampler(space, 5)
            trials = []
            for number in range(self.N):
                suggestion = sampler.suggest(number, trials)
                trials.append(Trial(number, suggestion, Outcome("failed", failure="crash")))

    def test_scores_of_any_size_are_borne(self):
        for scale in (0.0, 1e-300, 1e300):
            sampler = self.make_sampler(self.spaces()[0], 5)
            play(sampler, self.N, score=lambda s, scale=scale: scale * (1 + len(s.origin) / 100))

    def test_nothing_is_printed_logged_or_warned(self, capfd, caplog):
        with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
            warnings.simplefilter("always")
            play(self.make_sampler(self.spaces()[0], 5), self.N)
        assert [str(w.message) for w in caught] == []
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO] == []
        assert capfd.readouterr() == ("", "")
