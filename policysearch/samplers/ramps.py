"""Schedules that are tried by design: few enough to afford, and each answers a question.

The best policy so far is tried with a strength that rises over the training, with one that
falls, and with their mean throughout. The third tells whether a ramp helps or less strength does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from policysearch.space import SearchSpace
from policysearch.trial import Suggestion, Trial

#: Strength at the start and at the end.
RAMPS = ((0.3, 1.0), (1.0, 0.3), (0.65, 0.65))


def n_ramps(space: SearchSpace) -> int:
    """How many ramps are worth a trial: none without a schedule in an op-wise space."""
    return len(RAMPS) if space.schedule is not None and space.method == "opwise" else 0


def ramp(space: SearchSpace, index: int, history: Sequence[Trial]) -> Suggestion | None:
    """The best searched policy in a history, with the ramp of number `index`.

    `None` when no trial of one is complete.
    """
    searched = [t for t in history if not t.suggestion.origin.startswith("warm:")]
    scored = [t for t in searched if t.score is not None]
    best = min(scored, key=lambda t: (t.score or 0.0, t.number), default=None)
    if best is None or space.schedule is None:
        return None
    strengths = space.schedule.ramp(*RAMPS[index])
    start, end = RAMPS[index]
    origin = f"ramp:{start:g} to {end:g} of trial {best.number}"
    if best.suggestion.params is None:
        schedule = space.schedule.decode(strengths)
        policy = dataclasses.replace(best.suggestion.policy, schedule=schedule)
        return Suggestion(policy, origin)
    params = dict(best.suggestion.params) | strengths
    return Suggestion(space.decode(params), origin, params)
