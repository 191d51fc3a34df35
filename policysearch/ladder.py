"""The rungs of a run looked back upon: what each cost, and whether they agree.

A rung is worth its cost if it ranks policies as the next one does. A search whose scores say
nothing about the confirmation sorted noise, and a user should see that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats

from policysearch.run import Run
from policysearch.selection import Selection
from policysearch.trial import Trial

#: A rank correlation of fewer policies says nothing.
MIN_POLICIES = 4


def rung_seconds(run: Run) -> dict[str, float]:
    """Seconds of computing by rung, summed over workers."""
    totals: dict[str, float] = {}
    for record in run.records("task"):
        rung = record["key"].split("/")[0]
        totals[rung] = totals.get(rung, 0.0) + record["seconds"]
    totals["search"] = sum(r["seconds"] for r in run.records("trial"))
    order = ("baselines", "search", "confirm", "verdict")
    return {rung: round(totals[rung], 1) for rung in order if rung in totals}


def agreement(
    trials: Sequence[Trial], selection: Selection, verdict: Mapping[str, Any]
) -> dict[str, Any]:
    """Spearman's rank correlation of neighbouring rungs, over the policies that both know.

    1 means the same order, 0 no relation. `None` for fewer than four policies, or all alike.
    """
    searched = {f"trial-{t.number}": t.score for t in trials if t.score is not None}
    searched |= {
        t.suggestion.origin.removeprefix("warm:"): t.score
        for t in trials
        if t.suggestion.origin.startswith("warm:") and t.score is not None
    }
    confirmed = dict(selection.scores)
    is_higher_better = verdict.get("metric") != "log_loss"
    if "direction" in verdict:  # the figures are those of a user's own training
        is_higher_better = verdict["direction"] == "maximize"
    final = {
        arm["name"]: -arm["mean"] if is_higher_better else arm["mean"] for arm in verdict["arms"]
    }
    confirmed_arms = confirmed | {"found": confirmed[selection.origin]}
    return {
        "search_confirm": _rank_correlation(searched, confirmed),
        "confirm_verdict": _rank_correlation(confirmed_arms, final),
    }


def _rank_correlation(
    a: Mapping[str, float], b: Mapping[str, float]
) -> dict[str, float | int | None]:
    names = [name for name in a if name in b]
    pairs = [(a[name], b[name]) for name in names]
    first, second = [x for x, _ in pairs], [y for _, y in pairs]
    value = None
    if len(names) >= MIN_POLICIES and len(set(first)) > 1 and len(set(second)) > 1:
        value = round(float(stats.spearmanr(first, second).statistic), 3)
    return {"rank_correlation": value, "n": len(names)}
