"""Thresholds for stopping a trial early."""

import math

import numpy as np
import pytest

from policysearch.policy import Policy
from policysearch.pruning import MIN_TRIALS_TO_PRUNE, MedianPruning
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
