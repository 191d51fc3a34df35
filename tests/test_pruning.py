"""Thresholds for stopping a trial early."""

import math

import numpy as np
import pytest

from policysearch.policy import Policy
from policysearch.pruning import MIN_TRIALS_TO_PRUNE, MedianPruning, ReportPruning
from policysearch.trial import Outcome, Suggestion, Trial


def trial(number, *scores, state="complete"):
    metrics = tuple({"score": s} for s in scores)
    if state == "failed":
        outcome = Outcome("failed", failure="error")
    else:
        outcome = Outcome(state, sum(scores) / len(scores), metrics)
    return Trial(number, Suggestion(Policy(), "x"), outcome)


def test_nothing_is_pruned_before_enough_trials_are_there():
    history = [trial(i, 1.0, 2.0) for i in range(MIN_TRIALS_TO_PRUNE - 1)]
    assert MedianPruning().thresholds(history) == ()
    assert MedianPruning().thresholds([*history, trial(9, 1.0, 2.0)]) == (1.0,)
    assert MedianPruning().thresholds([*history, trial(9, state="failed")]) == ()


def test_thresholds_are_medians_of_running_means_and_bear_short_and_failed_trials():
    history = [trial(i, float(i), float(i), 0.0) for i in range(11)]
    history += [trial(11, 100.0, state="pruned"), trial(12, state="failed")]
    assert MedianPruning().thresholds(history) == (5.5, 5.0)
    assert all(math.isfinite(t) for t in MedianPruning().thresholds(history))


def naive(history):
    means = [t.running_means() for t in history]
    if len(means) < MIN_TRIALS_TO_PRUNE:
        return ()
    longest = max(len(m) for m in means)
    return tuple(np.median([m[i] for m in means if len(m) > i]) for i in range(longest - 1))


@pytest.mark.parametrize("step", [1, 3, 7])
def test_thresholds_of_a_growing_history_are_those_of_the_whole(step):
    rng = np.random.default_rng(0)
    history = [trial(i, *rng.normal(size=rng.integers(1, 5)).tolist()) for i in range(60)]
    pruning = MedianPruning()
    for n in range(0, 60, step):
        assert pruning.thresholds(history[:n]) == naive(history[:n])


def reported(number, *scores, state="complete", every=1):
    reports = tuple((i * every, float(s)) for i, s in enumerate(scores))
    metrics = ({"score": 1.0},) if state == "complete" else ()
    outcome = Outcome(state, 1.0, metrics, reports=reports)
    return Trial(number, Suggestion(Policy(), "x"), outcome)


def test_reports_are_compared_at_equal_steps_in_the_second_half_but_not_at_the_end():
    history = [reported(i, *[i] * 9, every=10) for i in range(11)]
    assert ReportPruning().thresholds(history[: MIN_TRIALS_TO_PRUNE - 1]) == {}
    assert ReportPruning().thresholds(history) == dict.fromkeys((40, 50, 60, 70), 5.0)


def test_pruned_trainings_count_as_far_as_they_got():
    history = [reported(i, *[i] * 5) for i in range(11)]
    history += [reported(11 + i, 100, 100, 100, state="pruned") for i in range(10)]
    assert ReportPruning().thresholds(history) == {2: 10.0, 3: 5.0}


def test_thresholds_of_reports_grow_with_the_history():
    rng = np.random.default_rng(0)
    history = [reported(i, *rng.normal(size=rng.integers(1, 8)).tolist()) for i in range(60)]
    pruning = ReportPruning()
    for n in range(0, 60, 7):
        assert pruning.thresholds(history[:n]) == ReportPruning().thresholds(history[:n])
