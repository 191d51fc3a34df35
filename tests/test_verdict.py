"""The verdict: intervals, paired tests, decisions and what is said."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policysearch.errors import InvalidValueError
from policysearch.verdict import (
    Arm,
    arms_of,
    compare_with,
    holm,
    make_verdict,
    paired_p_value,
    t_interval,
)

SEEDS = (11, 12, 13, 14, 15)
NONE = Arm("none", (0.90, 0.91, 0.89, 0.90, 0.90), 1.0)
TRIVIAL = Arm("trivialaugment", (0.92, 0.93, 0.91, 0.925, 0.915), 2.0)
CLOSE = Arm("found", (0.93, 0.92, 0.92, 0.915, 0.925), 3.0)
AHEAD = Arm("found", (0.95, 0.96, 0.94, 0.955, 0.94), 3.0)


def test_the_interval_of_a_mean_is_that_of_students_t():
    # mean 3, sd sqrt(2.5), t(0.975, 4) = 2.776445 from printed tables
    low, high = t_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert (low, high) == pytest.approx((3 - half, 3 + half), abs=1e-6)


def test_the_interval_of_two_values_is_wide():
    # t(0.975, 1) = 12.7062, sd = sqrt(0.5), error = 0.5
    assert t_interval([0, 1]) == pytest.approx((0.5 - 6.3531, 0.5 + 6.3531), abs=1e-4)


def test_the_interval_of_equal_values_is_a_point():
    assert t_interval([0.5] * 4) == (0.5, 0.5)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_values_have_no_interval(values):
    with pytest.raises(InvalidValueError, match=f"at least 2 values, got {len(values)}"):
        t_interval(values)


def test_the_paired_p_value_is_that_of_the_t_test_of_differences():
    # differences 1, 2, 3: t = 2 / (1 / sqrt 3) = 2 sqrt 3. With 2 degrees of freedom the two-sided
    # p-value is 1 - t / sqrt(2 + t^2), a closed form.
    t = 2 * math.sqrt(3)
    expected = 1 - t / math.sqrt(2 + t * t)
    assert paired_p_value([2, 4, 6], [1, 2, 3]) == pytest.approx(expected, rel=1e-9)
    assert paired_p_value([1, 2, 3], [2, 4, 6]) == pytest.approx(expected, rel=1e-9)


def test_pairing_finds_what_the_spread_between_seeds_hides():
    a, b = (0.5, 0.6, 0.7, 0.8), (0.49, 0.592, 0.688, 0.79)
    assert paired_p_value(a, b) < 0.002
    assert paired_p_value(a, (0.79, 0.49, 0.592, 0.688)) > 0.5


@pytest.mark.parametrize(("shift", "p_value"), [(0.0, 1.0), (0.01, 0.25), (-0.01, 0.25)])
def test_equal_differences_are_judged_by_the_sign_test_and_none_is_nothing(shift, p_value):
    scores = (0.9, 0.91, 0.95)
    assert paired_p_value([s + shift for s in scores], scores) == p_value


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.04, 0.03], [0.06, 0.06]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_is_the_step_down_correction(p_values, adjusted):
    assert holm(p_values) == pytest.approx(adjusted)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values):
    adjusted = holm(p_values)
    for p, p_holm in zip(p_values, adjusted, strict=True):
        assert p <= p_holm <= 1
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


@pytest.mark.parametrize(
    ("chosen", "others", "decision"),
    [
        (AHEAD, [NONE, TRIVIAL], "better"),
        (CLOSE, [NONE, TRIVIAL], "not distinguishable"),
        (NONE, [AHEAD, TRIVIAL], "worse"),
        (NONE, [Arm("found", NONE.scores)], "not distinguishable"),
    ],
)
def test_the_decision_is_about_the_best_other_arm(chosen, others, decision):
    verdict = make_verdict([chosen, *others], chosen.name, SEEDS)
    assert verdict["decision"] == decision
    assert verdict["chosen"] == chosen.name


def test_many_comparisons_make_a_weak_difference_indistinguishable():
    weak = Arm("weak", (0.919, 0.926, 0.907, 0.923, 0.9145))
    assert 0.02 < paired_p_value(TRIVIAL.scores, weak.scores) < 0.05
    assert compare_with(TRIVIAL, [weak])[0].decision == "better"
    others = [weak, *(Arm(f"weak{i}", weak.scores) for i in range(4))]
    assert compare_with(TRIVIAL, others)[0].decision == "not distinguishable"


def test_a_comparison_holds_difference_interval_and_p_values():
    (comparison,) = compare_with(AHEAD, [NONE])
    differences = [a - b for a, b in zip(AHEAD.scores, NONE.scores, strict=True)]
    assert comparison.difference == pytest.approx(sum(differences) / 5)
    assert (comparison.ci_low, comparison.ci_high) == t_interval(differences)
    assert comparison.p_value == comparison.p_holm == paired_p_value(AHEAD.scores, NONE.scores)


def test_the_verdict_has_the_fixed_form():
    verdict = make_verdict([NONE, TRIVIAL, AHEAD], "found", SEEDS)
    assert list(verdict) == [
        "arms", "chosen", "decision", "sentence", "metric", "seeds", "comparisons",
    ]  # fmt: skip
    assert verdict["metric"] == "accuracy"
    assert verdict["seeds"] == list(SEEDS)
    assert [c["other"] for c in verdict["comparisons"]] == ["none", "trivialaugment"]
    low, high = t_interval(NONE.scores)
    assert verdict["arms"][0] == {
        "name": "none",
        "mean": pytest.approx(0.9),
        "ci_low": low,
        "ci_high": high,
        "scores": list(NONE.scores),
        "seconds": 1.0,
    }
    assert arms_of(json.loads(json.dumps(verdict, allow_nan=False))) == [NONE, TRIVIAL, AHEAD]


def test_equal_arms_make_a_verdict_too():
    arms = [Arm(name, (0.5,) * 5) for name in ("none", "found")]
    verdict = make_verdict(arms, "found", SEEDS)
    assert verdict["decision"] == "not distinguishable"
    assert "+0.0 points [+0.0, +0.0] (not distinguishable)" in verdict["sentence"]


def test_a_loss_too_small_to_print_has_no_sign():
    found = Arm("found", tuple(score - 0.0001 for score in NONE.scores))
    assert "-0.0" not in make_verdict([NONE, found], "found", SEEDS)["sentence"]


@pytest.mark.parametrize(
    ("arms", "chosen", "text"),
    [
        ([NONE, Arm("found", (0.9,))], "found", r"\['found'\] do not have one score per seed \(5"),
        ([NONE, Arm("found", (math.nan,) * 5)], "found", r"\['found'\] have scores that are not"),
        ([NONE, NONE], "none", "must differ in name and hold 'none', got none, none"),
        ([NONE, AHEAD], "random", "hold 'random', got none, found"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused(arms, chosen, text):
    with pytest.raises(InvalidValueError, match=text):
        make_verdict(arms, chosen, SEEDS)


@pytest.mark.parametrize(
    ("arms", "chosen", "sentence"),
    [
        (
            [NONE, TRIVIAL, AHEAD],
            "found",
            "The found policy is exported: on validation data it beat every search-free policy. "
            "On the test split it reaches 94.9% accuracy: +4.9 points [+4.2, +5.6] (better) "
            "against no augmentation, and +2.9 points [+2.6, +3.2] (better) against the best "
            "other arm, TrivialAugment (5 paired seeds).",
        ),
        (
            [NONE, TRIVIAL, CLOSE],
            "found",
            "The found policy is exported: on validation data it beat every search-free policy. "
            "On the test split it reaches 92.2% accuracy: +2.2 points [+1.1, +3.3] (better) "
            "against no augmentation, and +0.2 points [-1.2, +1.6] (not distinguishable) against "
            "the best other arm, TrivialAugment (5 paired seeds).",
        ),
        (
            [NONE, TRIVIAL, CLOSE],
            "trivialaugment",
            "The search did not beat TrivialAugment on validation data, so this search-free "
            "policy is exported. On the test split it reaches 92.0% accuracy: +2.0 points "
            "[+1.6, +2.4] (better) against no augmentation, and -0.2 points [-1.6, +1.2] (not "
            "distinguishable) against the best other arm, the found policy (5 paired seeds).",
        ),
        (
            [NONE, CLOSE],
            "none",
            "The search did not beat training without augmentation on validation data, so the "
            "exported policy augments nothing. On the test split it reaches 90.0% accuracy: -2.2 "
            "points [-3.3, -1.1] (worse) against the best other arm, the found policy (5 paired "
            "seeds).",
        ),
        (
            [NONE, AHEAD],
            "found",
            "The found policy is exported: on validation data it beat every search-free policy. "
            "On the test split it reaches 94.9% accuracy: +4.9 points [+4.2, +5.6] (better) "
            "against no augmentation (5 paired seeds).",
        ),
        (
            [Arm("a.json", AHEAD.scores), NONE],
            "a.json",
            "On the test split 'a.json' reaches 94.9% accuracy: +4.9 points [+4.2, +5.6] (better) "
            "against no augmentation (5 paired seeds).",
        ),
        (
            [AHEAD],
            "found",
            "The found policy is exported: on validation data it beat every search-free policy. "
            "On the test split it reaches 94.9% accuracy (5 paired seeds).",
        ),
    ],
    ids=["better", "close", "baseline", "none", "two arms", "no search", "one arm"],
)
def test_the_sentence_says_what_was_decided_and_how_sure_it_is(arms, chosen, sentence):
    assert make_verdict(arms, chosen, SEEDS)["sentence"] == sentence
