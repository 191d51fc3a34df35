"""Variations of the best policy: its strength over the training, and what rare classes get."""

import dataclasses

import pytest
from contracts.sampler_contract import SPACES, SamplerContract, play

from policysearch.baselines import baseline_policies
from policysearch.policy import Schedule
from policysearch.samplers.optuna_backed import OptunaSampler
from policysearch.samplers.staged import StagedSampler
from policysearch.samplers.variations import RAMPS, TILTS, variation, variations_of
from policysearch.space import RareClasses, ScheduleRange
from policysearch.trial import Outcome, Suggestion, Trial

SPACE = SPACES["scheduled"]()


def staged(space, n_trials, seed=0, algorithm="random"):
    warm = baseline_policies(space, 8)
    return StagedSampler(space, warm, n_trials, OptunaSampler(space, seed, algorithm), seed)


class TestStagedWithVariations(SamplerContract):
    N = 70
    SPACES = ("scheduled", "rare")

    @classmethod
    def make_sampler(cls, space, seed):
        return staged(space, cls.N, seed, "tpe")


def trial(number, score, op="rotate", state="complete"):
    params = SPACE.encode_opwise({op: 0.8}, 2)
    suggestion = Suggestion(SPACE.decode(params), "combine:1", params)
    metrics = ({"score": score},)
    return Trial(number, suggestion, Outcome(state, score, metrics))


def test_the_best_complete_policy_is_tried_rising_falling_and_at_their_mean():
    history = [trial(3, 0.5), trial(4, 0.2, "shear_x"), trial(5, 0.1, "scale", "pruned")]
    best = history[1].suggestion
    schedules = []
    for index in range(len(variations_of(SPACE))):
        found = variation(SPACE, index, history)
        assert found.origin.startswith("ramp:")
        assert found.origin.endswith(" of trial 4")
        assert found.policy == SPACE.decode(found.params)
        assert found.policy.at_full_strength() == best.policy
        schedules.append(found.policy.schedule)
    assert schedules == [
        Schedule.even([0.3, 0.65, 1.0]),
        Schedule.even([1.0, 0.65, 0.3]),
        Schedule.even([0.65, 0.65, 0.65]),
    ]


def test_without_a_complete_policy_of_the_space_there_is_no_ramp():
    uniform = Suggestion(SPACE.uniform_policy(), "warm:uniformaugment")
    outside = Trial(0, uniform, Outcome("complete", 0.1))
    assert variation(SPACE, 0, []) is None
    assert variation(SPACE, 0, [outside, trial(1, 0.5, state="pruned")]) is None


@pytest.mark.parametrize("name", ["opwise", "triples", "randaugment"])
def test_a_space_without_schedule_or_levels_has_no_ramps(name):
    space = SPACES[name]()
    assert not variations_of(space)
    with_schedule = dataclasses.replace(space, schedule=ScheduleRange())
    assert len(variations_of(with_schedule)) == (len(RAMPS) if name == "opwise" else 0)


def test_a_staged_search_tries_ramps_after_its_combinations():
    trials = play(staged(SPACE, 80), 80, score=lambda _: 1.0)  # nothing harms
    kinds = [t.suggestion.origin.partition(":")[0] for t in trials]
    first = kinds.index("ramp")
    assert "combine" in kinds[:first]
    assert "combine" not in kinds[first:]
    assert kinds[first : first + len(RAMPS)] == ["ramp"] * len(RAMPS)
    assert set(kinds[first + len(RAMPS) :]) == {"random"}
    plain = SPACES["opwise"]()
    assert "ramp" not in str([t.suggestion.origin for t in play(staged(plain, 80), 80)])


def test_the_best_is_tried_with_less_for_frequent_classes():
    space = dataclasses.replace(SPACES["opwise"](), rare_classes=RareClasses(counts=(90, 10, 40)))
    params = space.encode_opwise({"rotate": 0.8}, 2)
    metrics = ({"score": 0.2},)
    of_space = Suggestion(space.decode(params), "combine:1", params)
    designed = Suggestion(space.decode(params), "design:1")
    for suggestion in (of_space, designed):
        assert suggestion.policy.class_probability is None
        history = [Trial(4, suggestion, Outcome("complete", 0.2, metrics))]
        found = [variation(space, i, history) for i in range(len(variations_of(space)))]
        assert [f.origin for f in found] == [f"rare:{t:g} of trial 4" for t in TILTS]
        assert [f.policy.class_probability for f in found] == [
            (0.3333, 1.0, 0.5),
            (0.1111, 1.0, 0.25),
        ]
        assert all(f.policy.for_all_classes() == suggestion.policy for f in found)
