"""Tasks and outcomes: what the ledger holds of them is all that there is to know."""

import json

import numpy as np
import pytest

from policysearch.errors import InvalidValueError
from policysearch.objectives.base import evaluate_replicates
from policysearch.policy import Policy
from policysearch.trial import NotFiniteError, Outcome, Replicate, Suggestion, Task, Trial

OUTCOMES = [
    Outcome("complete", 0.1 + 0.2, ({"score": 1 / 3, "accuracy": 1.0},), 1.2345, attempts=2),
    Outcome("pruned", -1e-300, ({"score": -1e-300},)),
    Outcome("failed", failure="timeout", message="ü\n", seconds=3.0, attempts=3),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda o: o.state)
def test_an_outcome_survives_the_ledger(outcome):
    kept = json.loads(json.dumps(outcome.to_dict())) | {"event": "task", "at": "now"}
    assert Outcome.from_dict(kept) == outcome


def test_resampled_scores_are_written_compactly_and_kept_as_float32():
    values = (0.5, -1.25, 1e-7, 12345.678)
    written = Outcome("complete", 0.1, resampled=values).to_dict()
    read = Outcome.from_dict(json.loads(json.dumps(written)))
    assert read.resampled == tuple(np.float32(values).tolist())
    assert Outcome.from_dict(read.to_dict()) == read
    many = Outcome("complete", 0.1, resampled=(1 / 3,) * 200).to_dict()
    assert len(many["resampled"]) < 1100
    assert "resampled" not in Outcome("complete", 0.1).to_dict()
    with pytest.raises(NotFiniteError, match="resampled"):
        Outcome("complete", 0.1, resampled=(0.1, float("nan")))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_no_outcome(value):
    with pytest.raises(NotFiniteError, match="`score`"):
        Outcome("complete", value)
    with pytest.raises(NotFiniteError, match="`accuracy`"):
        Outcome("complete", 1.0, ({"score": 1.0, "accuracy": value},))


def test_a_score_belongs_to_success_and_a_kind_to_failure():
    for wrong in (
        {"state": "complete"},
        {"state": "pruned"},
        {"state": "failed"},
        {"state": "failed", "score": 1.0, "failure": "error"},
    ):
        with pytest.raises(InvalidValueError):
            Outcome(**wrong)


def test_only_a_complete_trial_has_a_score():
    trials = [Trial(i, Suggestion(Policy(()), "x"), outcome) for i, outcome in enumerate(OUTCOMES)]
    assert [t.score for t in trials] == [0.1 + 0.2, None, None]


def test_running_means_are_those_of_the_replicates():
    outcome = Outcome("complete", 2.0, ({"score": 1.0}, {"score": 2.0}, {"score": 6.0}))
    assert Trial(0, Suggestion(Policy(()), "x"), outcome).running_means() == [1.0, 1.5, 3.0]


def evaluated(*scores, prune_above=()):
    """The outcome of a task whose trainings have these scores, and how many were done."""
    replicates = tuple(Replicate(i, 0) for i in range(len(scores)))
    done = []

    def train(task, replicate):
        done.append(replicate.fold)
        return {"score": scores[replicate.fold], "accuracy": 0.5}

    task = Task("t", Policy(()), replicates, 1, prune_above)
    return evaluate_replicates(task, train), len(done)


def test_the_score_is_the_mean_over_replicates():
    outcome, n_done = evaluated(1.0, 2.0, 6.0)
    assert (outcome.state, outcome.score, n_done) == ("complete", 3.0, 3)
    assert [m["score"] for m in outcome.metrics] == [1.0, 2.0, 6.0]


def test_a_running_mean_above_its_threshold_ends_the_task():
    outcome, n_done = evaluated(1.0, 3.0, 9.0, prune_above=(1.5, 1.9))
    assert (outcome.state, outcome.score, n_done) == ("pruned", 2.0, 2)
    assert evaluated(1.0, 3.0, 9.0, prune_above=(1.0, 2.0))[0].state == "complete"


def test_the_last_replicate_is_never_pruned():
    assert evaluated(1.0, 9.0, prune_above=(2.0, 2.0))[0].state == "complete"


def test_a_training_that_diverges_fails_the_task_with_the_reason():
    outcome, n_done = evaluated(1.0, float("nan"), 2.0)
    assert (outcome.state, outcome.failure, n_done) == ("failed", "not_finite", 2)
    assert outcome.message == "The score of replicate 1 is nan."
