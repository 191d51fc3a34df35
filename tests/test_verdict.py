"""The verdict: intervals, paired tests, decisions and what is said."""

import dataclasses
import json
import math

import numpy as np
import pytest

from policysearch.errors import InvalidValueError
from policysearch.estimates import estimate, t_interval
from policysearch.measures import Measure, measure_of
from policysearch.verdict import Arm, arms_of, compare_with, difference, make_verdict

SEEDS = (11, 12, 13, 14, 15)
NONE = Arm("none", (0.90, 0.91, 0.89, 0.90, 0.90), 1.0)
TRIVIAL = Arm("trivialaugment", (0.92, 0.93, 0.91, 0.925, 0.915), 2.0)
CLOSE = Arm("found", (0.93, 0.92, 0.92, 0.915, 0.925), 3.0)
AHEAD = Arm("found", (0.95, 0.96, 0.94, 0.955, 0.94), 3.0)


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
    assert 0.02 < difference(TRIVIAL, weak).p_value() < 0.05
    assert compare_with(TRIVIAL, [weak])[0].decision == "better"
    others = [weak, *(Arm(f"weak{i}", weak.scores) for i in range(4))]
    assert compare_with(TRIVIAL, others)[0].decision == "not distinguishable"


def test_a_comparison_holds_difference_interval_and_p_values():
    (comparison,) = compare_with(AHEAD, [NONE])
    differences = [a - b for a, b in zip(AHEAD.scores, NONE.scores, strict=True)]
    written = comparison.to_dict()
    assert written["difference"] == pytest.approx(sum(differences) / 5)
    assert (written["ci_low"], written["ci_high"]) == pytest.approx(t_interval(differences))
    assert written["p_value"] == written["p_holm"] == estimate(differences).p_value()
    assert written["standard_error"]["test"] == 0


def with_test_noise(arm, spread):
    """The arm on 50 resamples that move all its seeds together, up and down."""
    moves = [spread * (-1) ** i for i in range(50)]
    rows = tuple(tuple(score + move for move in moves) for score in arm.scores)
    return Arm(arm.name, arm.scores, arm.seconds, rows)


def test_what_the_test_samples_do_to_one_arm_alone_widens_the_interval():
    (sure,) = compare_with(AHEAD, [NONE])
    (unsure,) = compare_with(with_test_noise(AHEAD, 0.05), [with_test_noise(NONE, 0)])
    assert (sure.decision, unsure.decision) == ("better", "not distinguishable")
    assert unsure.to_dict()["standard_error"]["test"] == pytest.approx(0.05, rel=0.02)
    assert unsure.to_dict()["difference"] == sure.to_dict()["difference"]


def test_what_the_test_samples_do_to_both_arms_alike_does_not_matter():
    (sure,) = compare_with(AHEAD, [NONE])
    (paired,) = compare_with(with_test_noise(AHEAD, 0.05), [with_test_noise(NONE, 0.05)])
    assert paired.estimate.interval() == pytest.approx(sure.estimate.interval())


def test_an_arm_without_resamples_is_compared_over_seeds_alone():
    (mixed,) = compare_with(with_test_noise(AHEAD, 0.05), [NONE])
    assert mixed == compare_with(AHEAD, [NONE])[0]
    verdict = make_verdict([with_test_noise(AHEAD, 0.05), NONE], "found", SEEDS)
    assert verdict["holds_for"] == "this training set and this test split; new seeds"


def test_the_verdict_says_what_its_intervals_hold_for():
    arms = [with_test_noise(arm, 0.001) for arm in (AHEAD, NONE)]
    verdict = make_verdict(arms, "found", SEEDS)
    assert verdict["holds_for"] == "this training set; new seeds and test samples"
    assert "(5 paired seeds; intervals over seeds and test samples)." in verdict["sentence"]


def test_training_sets_of_their_own_are_told_and_widen_with_their_overlap():
    def drawn(overlap):
        arms = [dataclasses.replace(arm, overlap=overlap) for arm in (AHEAD, NONE)]
        return make_verdict(arms, "found", SEEDS)

    assert drawn(0.0)["holds_for"] == "this test split; new training sets and seeds"
    assert "(5 paired seeds; intervals over training sets and seeds)." in drawn(0)["sentence"]
    widths = [
        (v["ci_high"] - v["ci_low"], a["ci_high"] - a["ci_low"])
        for v, a in ((drawn(o)["comparisons"][0], drawn(o)["arms"][0]) for o in (0.0, 0.4))
    ]
    assert all(
        b == pytest.approx(a * np.sqrt(1 + 5 * 0.4 / 0.6)) for a, b in zip(*widths, strict=True)
    )
    arms = [dataclasses.replace(with_test_noise(a, 0.001), overlap=0.0) for a in (AHEAD, NONE)]
    verdict = make_verdict(arms, "found", SEEDS)
    assert verdict["holds_for"] == "new training sets, seeds and test samples"


def test_where_lower_is_better_the_lower_arm_is_better():
    high, low = Arm("a.json", (0.9, 0.91, 0.92)), Arm("none", (0.5, 0.52, 0.51))
    near = Arm("b.json", (0.93, 0.94, 0.92))
    verdict = make_verdict([high, low, near], "a.json", SEEDS[:3], measure_of("log_loss"))
    assert [c["decision"] for c in verdict["comparisons"]] == ["worse", "not distinguishable"]
    assert verdict["decision"] == "worse"  # the best other one is the lowest
    assert "reaches a log loss of 0.9100: +0.4000 [+0.3" in verdict["sentence"]


def test_the_sentence_names_the_metric():
    verdict = make_verdict([AHEAD, NONE], "found", SEEDS, measure_of("macro_f1"))
    assert "reaches 94.9% macro-F1: +4.9 points" in verdict["sentence"]


def test_second_axes_are_written_and_read_back():
    arm = Arm("none", (0.9, 0.91), axes={"calibration_error": 0.04})
    verdict = make_verdict([arm, Arm("found", (0.9, 0.92))], "none", (1, 2))
    assert verdict["arms"][0]["axes"] == {"calibration_error": 0.04}
    assert arms_of(json.loads(json.dumps(verdict)))[0] == arm


def test_the_verdict_has_the_fixed_form():
    verdict = make_verdict([NONE, TRIVIAL, AHEAD], "found", SEEDS)
    assert list(verdict) == [
        "arms", "chosen", "decision", "sentence", "metric", "seeds", "holds_for", "comparisons",
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
            "The found policy is exported: on validation data no search-free policy beat it. "
            "On the test split it reaches 94.9% accuracy: +4.9 points [+4.2, +5.6] (better) "
            "against no augmentation, and +2.9 points [+2.6, +3.2] (better) against the best "
            "other arm, TrivialAugment (5 paired seeds).",
        ),
        (
            [NONE, TRIVIAL, CLOSE],
            "found",
            "The found policy is exported: on validation data no search-free policy beat it. "
            "On the test split it reaches 92.2% accuracy: +2.2 points [+1.1, +3.3] (better) "
            "against no augmentation, and +0.2 points [-1.2, +1.6] (not distinguishable) against "
            "the best other arm, TrivialAugment (5 paired seeds).",
        ),
        (
            [NONE, TRIVIAL, CLOSE],
            "trivialaugment",
            "The search did not beat TrivialAugment by more than noise on validation data, so "
            "this search-free policy is exported. On the test split it reaches 92.0% accuracy: "
            "+2.0 points [+1.6, +2.4] (better) against no augmentation, and -0.2 points [-1.6, "
            "+1.2] (not distinguishable) against the best other arm, the found policy (5 "
            "paired seeds).",
        ),
        (
            [NONE, CLOSE],
            "none",
            "The search did not beat training without augmentation by more than noise on "
            "validation data, so the exported policy augments nothing. On the test split it "
            "reaches 90.0% accuracy: -2.2 points [-3.3, -1.1] (worse) against the best other "
            "arm, the found policy (5 paired seeds).",
        ),
        (
            [NONE, AHEAD],
            "found",
            "The found policy is exported: on validation data no search-free policy beat it. "
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
            "The found policy is exported: on validation data no search-free policy beat it. "
            "On the test split it reaches 94.9% accuracy (5 paired seeds).",
        ),
    ],
    ids=["better", "close", "baseline", "none", "two arms", "no search", "one arm"],
)
def test_the_sentence_says_what_was_decided_and_how_sure_it_is(arms, chosen, sentence):
    assert make_verdict(arms, chosen, SEEDS)["sentence"] == sentence


OWN = Measure(
    "value", "score", is_share=False, is_loss=True, on_test="In yours", remark="Mind it."
)


def test_figures_of_another_measure_are_told_in_its_own_words_and_direction():
    arms = [Arm("found", (3.0, 3.1, 2.9)), Arm("none", (4.0, 4.3, 3.8))]
    verdict = make_verdict(arms, "found", SEEDS[:3], OWN)
    assert verdict["decision"] == "better"
    assert verdict["direction"] == "minimize"
    assert "In yours it reaches a score of 3.0000: -1.0333 [" in verdict["sentence"]
    assert verdict["sentence"].endswith("Mind it.")
    assert "test split" not in verdict["sentence"]
