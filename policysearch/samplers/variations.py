"""What is tried of the best policy by design: few trials, and each answers a question.

Where the space has a schedule: a strength that rises over the training, one that falls, and their
mean throughout; the third tells whether a ramp helps or less strength does. Where rare classes may
be augmented more often: frequent classes half as much less, and as much less, as they are more
frequent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from policysearch.space import SearchSpace
from policysearch.trial import Suggestion, Trial

#: Strength at the start and at the end.
RAMPS = ((0.3, 1.0), (1.0, 0.3), (0.65, 0.65))
#: Exponents of `RareClasses`.
TILTS = (0.5, 1.0)


@dataclasses.dataclass(frozen=True, slots=True)
class _Variation:
    """What differs: as parameters of the space, and as fields of a policy outside it."""

    told: str
    params: Mapping[str, float]
    fields: Mapping[str, Any]


def variations_of(space: SearchSpace) -> list[_Variation]:
    """All that are worth a trial: none in a space that is not op-wise."""
    found: list[_Variation] = []
    if space.method != "opwise":
        return found
    if space.schedule is not None:
        for start, end in RAMPS:
            strengths = space.schedule.ramp(start, end)
            fields: dict[str, Any] = {"schedule": space.schedule.decode(strengths)}
            found.append(_Variation(f"ramp:{start:g} to {end:g}", strengths, fields))
    rare = space.rare_classes
    if rare is not None:
        for wanted in TILTS:
            rarity = min(max(wanted, rare.low), rare.high)
            fields = {"class_probability": rare.factors(rarity)}
            found.append(_Variation(f"rare:{rarity:g}", {"rarity": rarity}, fields))
    return found


def variation(space: SearchSpace, index: int, history: Sequence[Trial]) -> Suggestion | None:
    """The best searched policy in a history, varied in the way of number `index`.

    `None` when no trial of one is complete.
    """
    searched = [t for t in history if not t.suggestion.origin.startswith("warm:")]
    scored = [t for t in searched if t.score is not None]
    best = min(scored, key=lambda t: (t.score or 0.0, t.number), default=None)
    if best is None:
        return None
    varied = variations_of(space)[index]
    origin = f"{varied.told} of trial {best.number}"
    if best.suggestion.params is None:
        policy = dataclasses.replace(best.suggestion.policy, **varied.fields)
        return Suggestion(policy, origin)
    params = {**best.suggestion.params, **varied.params}
    return Suggestion(space.decode(params), origin, params)
