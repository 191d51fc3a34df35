"""Schedules that are tried by design: few enough to afford, and each answers a question.

The best op-wise policy so far is tried with a strength that rises over the training, with one that
falls, and with their mean throughout. The third tells whether a ramp helps or less strength does.
"""

from __future__ import annotations

from collections.abc import Sequence

from policysearch.space import SearchSpace
from policysearch.trial import Suggestion, Trial

#: Strength at the start and at the end.
RAMPS = ((0.3, 1.0), (1.0, 0.3), (0.65, 0.65))


def n_ramps(space: SearchSpace) -> int:
    """How many ramps are worth a trial: none without a schedule in an op-wise space."""
    return len(RAMPS) if space.schedule is not None and space.method == "opwise" else 0


def ramp(space: SearchSpace, index: int, history: Sequence[Trial]) -> Suggestion | None:
    """The best policy of the space in a history, with the ramp of number `index`.

    `None` when no trial with parameters of the space is complete.
    """
    scored = [t for t in history if t.score is not None and t.suggestion.params is not None]
    best = min(scored, key=lambda t: (t.score or 0.0, t.number), default=None)
    if best is None or best.suggestion.params is None or space.schedule is None:
        return None
    start, end = RAMPS[index]
    params = dict(best.suggestion.params) | space.schedule.ramp(start, end)
    origin = f"ramp:{start:g} to {end:g} of trial {best.number}"
    return Suggestion(space.decode(params), origin, params)
