"""Rungs looked back upon: whether they agree, whichever way the figures point."""

import pytest

from policysearch.ladder import agreement
from policysearch.policy import Policy
from policysearch.selection import Selection
from policysearch.trial import Outcome, Suggestion, Trial

SCORES = {"none": 0.4, "a": 0.3, "b": 0.2, "trial-1": 0.1}
SELECTION = Selection(Policy(), Policy(), "found", "trial-1", SCORES, 0.1)


def verdict(sign, **more):
    """Means in the order of the scores; `sign` is 1 where a lower one is better."""
    scores = {"none": 0.4, "a": 0.3, "b": 0.2, "found": 0.1}
    return {"arms": [{"name": n, "mean": sign * s} for n, s in scores.items()], **more}


@pytest.mark.parametrize(
    "told",
    [
        verdict(-1, metric="accuracy"),
        verdict(1, metric="log_loss"),
        verdict(-1, metric="value", direction="maximize"),
        verdict(1, metric="value", direction="minimize"),
    ],
)
def test_the_same_order_is_a_correlation_of_one(told):
    found = agreement([], SELECTION, told)
    assert found["confirm_verdict"] == {"rank_correlation": 1.0, "n": 4}


def test_a_turned_order_is_minus_one():
    found = agreement([], SELECTION, verdict(1, metric="accuracy"))
    assert found["confirm_verdict"]["rank_correlation"] == -1.0


def test_few_policies_say_nothing():
    trial = Trial(1, Suggestion(Policy(), "tpe"), Outcome("complete", 0.2))
    found = agreement([trial], SELECTION, verdict(-1, metric="accuracy"))
    assert found["search_confirm"] == {"rank_correlation": None, "n": 1}
