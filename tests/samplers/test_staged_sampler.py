"""A search by trainings alone: known policies, every op alone, then what helped together."""

import dataclasses

import pytest
from contracts.sampler_contract import SPACES, SamplerContract, play, smooth

from policysearch.baselines import baseline_policies
from policysearch.samplers.optuna_backed import OptunaSampler
from policysearch.samplers.staged import SCREEN_LEVELS, StagedSampler
from policysearch.space import MIN_WEIGHT
from policysearch.trial import Outcome, Suggestion, Trial

#: Fall of the loss by an op alone at full level; ops that are not named change nothing much.
GAINS = {"rotate": 0.3, "translate_x": 0.25, "scale": 0.2, "flip_horizontal": -0.6}
#: Does harm at its full level only.
HARMS_WHEN_STRONG = "shear_x"
SPACE = SPACES["opwise"]()
WARM = baseline_policies(SPACE, 8)


def staged(space, n_trials, seed=0, algorithm="random"):
    """Refined by random search where the refinement is not what is tested: it asks faster."""
    warm = baseline_policies(space, 8)
    inner = OptunaSampler(space, seed, algorithm)
    return StagedSampler(space, warm, n_trials, inner, seed)


class TestStaged(SamplerContract):
    N = 76
    SPACES = ("opwise",)

    @classmethod
    def make_sampler(cls, space, seed):
        return staged(space, cls.N, seed, "tpe")


def ops_of(suggestion: Suggestion) -> set[str]:
    weights = {n.partition(".")[0]: v for n, v in suggestion.params.items() if "weight" in n}
    return {op for op, weight in weights.items() if weight >= MIN_WEIGHT}


def additive(suggestion: Suggestion) -> float:
    """Ops add up; more than one per sample with less each."""
    if suggestion.params is None:
        return 2.0 if suggestion.origin == "warm:none" else 1.8
    ops = ops_of(suggestion)
    gain = sum(GAINS.get(op, 0.0) for op in ops)
    if HARMS_WHEN_STRONG in ops and suggestion.params[f"{HARMS_WHEN_STRONG}.level"] > 0.6:
        gain -= 0.5
    return 2.0 * (1 - gain / max(1, len(ops)) * suggestion.params["n_ops"] ** 0.5)


def outcome(score: float) -> Outcome:
    return Outcome("complete", score, ({"score": score}, {"score": score}))


def search(n_trials: int, score=additive, lookback: int = 4, missing=frozenset()) -> list[Trial]:
    """A search in which the outcomes of some trials never become visible."""
    sampler, trials = staged(SPACE, n_trials), []
    for number in range(n_trials):
        seen = [t for t in trials if t.number <= number - lookback and t.number not in missing]
        suggestion = sampler.suggest(number, seen)
        trials.append(Trial(number, suggestion, outcome(score(suggestion))))
    return trials


def of_kind(trials: list[Trial], kind: str) -> list[Suggestion]:
    return [t.suggestion for t in trials if t.suggestion.origin.partition(":")[0] == kind]


def test_search_free_policies_come_first_as_they_are():
    trials = search(60)
    assert [t.suggestion.origin for t in trials[: len(WARM)]] == [f"warm:{n}" for n in WARM]
    assert [t.suggestion.policy for t in trials[: len(WARM)]] == list(WARM.values())
    assert all(t.suggestion.params is None for t in trials[: len(WARM)])
    assert of_kind(trials[len(WARM) :], "warm") == []


@pytest.mark.parametrize(("n_trials", "n_levels"), [(30, 0), (60, 1), (150, 2)])
def test_levels_of_screening_shrink_with_the_budget(n_trials, n_levels):
    screened = of_kind(search(n_trials), "screen")
    with_range = [r.op for r in SPACE.ops if r.low is not None]
    without = [r.op for r in SPACE.ops if r.low is None]
    expected = {
        f"screen:{op}@{level:g}" for op in with_range for level in SCREEN_LEVELS[:n_levels]
    }
    expected |= {f"screen:{op}@{SCREEN_LEVELS[0]:g}" for op in without if n_levels}
    assert {s.origin for s in screened} == expected
    assert len(screened) == len(expected) <= [0, 0.6, 0.4][n_levels] * n_trials
    assert without


def test_a_screened_policy_holds_its_op_alone_in_every_sample():
    for suggestion in of_kind(search(150), "screen"):
        op, _, level = suggestion.origin.removeprefix("screen:").partition("@")
        [sub] = suggestion.policy.sub_policies
        [stage] = sub.stages
        assert [call.op for call in stage.choices] == [op]
        assert stage.probability == 1.0
        entry = next(r for r in SPACE.ops if r.op == op)
        if entry.low is not None:
            assert stage.choices[0].low == entry.low
            top = entry.low + (entry.high - entry.low) * float(level)
            assert stage.choices[0].high == pytest.approx(top)


def test_combinations_leave_out_what_harms_and_begin_with_all_the_rest():
    combined = of_kind(search(120), "combine")
    assert len(combined) == 36  # 30 % of the trials
    assert ops_of(combined[0]) == {r.op for r in SPACE.ops} - {"flip_horizontal"}
    assert all("flip_horizontal" not in ops_of(s) for s in combined)
    assert all(ops_of(s) for s in combined)


def test_an_op_that_harms_when_strong_is_combined_at_a_lower_level():
    for suggestion in of_kind(search(120), "combine"):
        if HARMS_WHEN_STRONG in ops_of(suggestion):
            assert suggestion.params[f"{HARMS_WHEN_STRONG}.level"] <= 0.5
    levels = [s.params["rotate.level"] for s in of_kind(search(120), "combine")]
    assert max(levels) == 1.0


def test_small_combinations_are_made_of_what_helped_most():
    combined = of_kind(search(120), "combine")
    small = min(combined[:10], key=lambda s: len(ops_of(s)))
    helpful = {op for op, gain in GAINS.items() if gain > 0}
    assert helpful <= ops_of(small)
    assert len(ops_of(small)) < len(SPACE.ops) / 2


def test_combinations_bear_trials_that_still_run():
    """Those that do not know what an op did leave it out; the others are combined as always."""
    trials = search(120)
    rotate = {t.number for t in trials if t.suggestion.origin.startswith("screen:rotate@")}
    assert rotate
    combined = of_kind(search(120, missing=rotate), "combine")
    assert ops_of(combined[0]) == {r.op for r in SPACE.ops} - {"flip_horizontal", "rotate"}


def test_without_the_trial_without_augmentation_nothing_is_combined():
    trials = search(120, missing={0})
    assert of_kind(trials, "combine") == []
    assert trials[-1].suggestion.origin == "random"


def test_the_inner_sampler_refines_the_rest_and_sees_it_all():
    trials = search(120)
    kinds = [t.suggestion.origin.partition(":")[0] for t in trials]
    assert kinds == sorted(kinds, key=["warm", "screen", "combine", "random"].index)
    inner = OptunaSampler(SPACE, 0, "random")
    assert inner.suggest(119, trials[:116]) == trials[119].suggestion


def test_a_failed_or_pruned_screening_is_borne():
    sampler, trials = staged(SPACE, 120), []
    for number in range(70):
        suggestion = sampler.suggest(number, trials)
        score = additive(suggestion)
        found = outcome(score)
        if suggestion.origin.startswith("screen:rotate"):
            found = Outcome("pruned", score, ({"score": score},))
        elif suggestion.origin.startswith("screen:invert"):
            found = Outcome("failed", failure="error", message="no")
        trials.append(Trial(number, suggestion, found))
    first = of_kind(trials, "combine")[0]
    assert "rotate" in ops_of(first)
    assert "invert" not in ops_of(first)


def test_a_loss_of_zero_or_less_is_borne():
    """Objectives of users need not be losses above zero."""
    for shift in (-2.0, -5.0):
        trials = search(120, score=lambda s, shift=shift: additive(s) + shift)
        first = of_kind(trials, "combine")[0]
        assert "rotate" in ops_of(first)
        assert "flip_horizontal" not in ops_of(first)


def test_other_spaces_are_not_screened():
    for name in ("triples", "randaugment"):
        trials = play(staged(SPACES[name](), 60), 30, score=smooth)
        assert of_kind(trials, "screen") == of_kind(trials, "combine") == []
        assert len(of_kind(trials, "random")) == 30 - len(WARM)


def test_ops_per_sample_stay_within_the_space():
    space = dataclasses.replace(SPACE, n_ops=(2, 2))
    trials = play(staged(space, 100), 100)
    assert {t.suggestion.params["n_ops"] for t in trials if t.suggestion.params} == {2}
