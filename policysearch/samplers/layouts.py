"""Policies made of a calibration: all ops up to a level, laid out in a few stages.

A layout says how ops are laid out over the stages of a sample. In `any x 2` both stages draw from
all ops. In `1 + 2` the first draws from the ops that move the parts of a sample (geometry, time,
words) and two more from those that change values: they complement each other instead of repeating
each other. `mirrored` puts the ops of the first kind that know no strength, flips, in front of it,
each for half of the samples.

Ops that work on whole batches (mixing, attacks, generators) come in the last stage only: they work
on what the stages before it made of a sample, and two of them would mix what is mixed.

A design is a layout and the share of the clean accuracy that every op must leave. That is a space
of three or four dimensions in place of fifty, whatever the ops are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policysearch.ops.registry import op_table
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.samplers.calibration import Calibration
from policysearch.space import OpRange, SearchSpace

#: Families of ops that move the parts of a sample; the others change values in place.
MOVING = frozenset({"geometry", "time", "word"})
#: Share of the clean accuracy that a flip must leave to have a stage of its own.
MIRROR_SHARE = 0.8
#: Chance of a flip there: half of the samples on either side.
MIRROR_PROBABILITY = 0.5


@dataclass(frozen=True, slots=True, order=True)
class Layout:
    """Stages per sample.

    Attributes:
      n_any: Stages that draw from all ops; 0 where the ops are parted.
      n_moving: Stages that draw from the ops that move parts.
      n_changing: Stages that draw from the others.
      is_mirrored: Whether flips have stages of their own.
    """

    n_any: int = 0
    n_moving: int = 0
    n_changing: int = 0
    is_mirrored: bool = False

    def __str__(self) -> str:
        shown = f"any x {self.n_any}" if self.n_any else f"{self.n_moving} + {self.n_changing}"
        return f"mirrored, {shown}" if self.is_mirrored else shown


@dataclass(frozen=True, slots=True, order=True)
class Design:
    """A policy in the making.

    Attributes:
      share: Of the clean accuracy, left by every op alone at its largest magnitude.
    """

    layout: Layout
    share: float

    def __str__(self) -> str:
        return f"{self.layout} @{self.share:g}"

    def coordinates(self) -> tuple[float, ...]:
        """Where it lies among designs: share, stages of either kind, parted or not, mirrored."""
        layout = self.layout
        half = layout.n_any / 2
        return (
            self.share,
            layout.n_moving + half,
            layout.n_changing + half,
            float(layout.n_any > 0),
            float(layout.is_mirrored),
        )


class Designer:
    """Makes policies of designs.

    Args:
      space: Gives ops, ranges, and the largest number of ops per sample.
      calibration: Gives the levels; `None`: every op goes to level `1 - share`.
    """

    def __init__(self, space: SearchSpace, calibration: Calibration | None) -> None:
        self._space = space
        self._calibration = calibration
        self._moving = {entry.op for entry in space.ops if space.spec(entry.op).family in MOVING}
        alone = op_table(space.modality)
        self._last = {entry.op for entry in space.ops if entry.op not in alone}
        self._mirrors = self._found_mirrors()

    @property
    def is_parted(self) -> bool:
        """Whether the space has ops of both kinds, and lets a sample have two."""
        return 0 < len(self._moving) < len(self._space.ops) and self._space.n_ops[1] > 1

    @property
    def has_mirrors(self) -> bool:
        """Whether there are flips that these data bear."""
        return bool(self._mirrors)

    def layouts(self) -> list[Layout]:
        """All layouts that the space allows, those without flips of their own first."""
        low, high = self._space.n_ops
        plain = [Layout(n) for n in range(low, high + 1)]
        if self.is_parted:
            plain += [
                Layout(0, n_moving, n_changing)
                for n_moving in range(high + 1)
                for n_changing in range(high + 1)
                if low <= n_moving + n_changing <= high
            ]
        mirrored = [Layout(x.n_any, x.n_moving, x.n_changing, True) for x in plain]
        return plain + (mirrored if self._mirrors else [])

    def policy(self, design: Design) -> Policy | None:
        """The policy of a design; `None` where no op is left for it."""
        layout = design.layout
        levels = self.levels(design.share)
        mirrors = self._mirrors if layout.is_mirrored else ()
        calls = {
            entry.op: entry.call(levels[entry.op], is_range=True)
            for entry in self._space.ops
            if entry.op in levels and entry.op not in mirrors
        }
        plain = {op: call for op, call in calls.items() if op not in self._last}
        last = tuple(call for op, call in calls.items() if op in self._last)
        moving = tuple(call for op, call in plain.items() if op in self._moving)
        changing = tuple(call for op, call in plain.items() if op not in self._moving)
        drawn = [
            *[tuple(plain.values())] * layout.n_any,
            *[moving] * layout.n_moving,
            *[changing] * layout.n_changing,
        ]
        if drawn:
            drawn[-1] += last
        if not all(drawn):
            return None
        stages = [Stage((OpCall(op),), MIRROR_PROBABILITY) for op in mirrors]
        stages += [Stage(choices) for choices in drawn]
        return self._space.policy((SubPolicy(tuple(stages)),)) if stages else None

    def capped(self, policy: Policy, share: float) -> Policy | None:
        """The policy with every op cut to the level that a design of this share holds.

        Ops that are in no such design are left out. Those that are not in the space do nothing
        instead: the others are applied as often as before. `None` where no op is left.
        """
        levels = self.levels(share)
        entries = {entry.op: entry for entry in self._space.ops}

        def capped_call(call: OpCall) -> OpCall | None:
            entry = entries.get(call.op)
            if entry is None:
                return OpCall("identity", weight=call.weight)
            if call.op not in levels:
                return None
            return _cut(call, entry, levels[call.op], self._space.spec(call.op).unit)

        subs = []
        for sub in policy.sub_policies:
            drawn = (
                tuple(cut for call in stage.choices if (cut := capped_call(call)))
                for stage in sub.stages
            )
            stages = tuple(
                dataclasses.replace(stage, choices=choices)
                for stage, choices in zip(sub.stages, drawn, strict=True)
                if choices
            )
            if stages:
                subs.append(dataclasses.replace(sub, stages=stages))
        capped = dataclasses.replace(policy, sub_policies=tuple(subs))
        return capped if any(call.op in entries for _, call in capped.calls()) else None

    def levels(self, share: float) -> dict[str, float]:
        """Largest level of each op that a design of this share holds."""
        if self._calibration is None:
            return {entry.op: round(1 - share, 3) for entry in self._space.ops}
        return self._calibration.levels(share)

    def _found_mirrors(self) -> tuple[str, ...]:
        if self._calibration is None:
            return ()
        borne = self._calibration.levels(MIRROR_SHARE)
        return tuple(
            entry.op
            for entry in self._space.ops
            if entry.op in borne and entry.low is None and entry.op in self._moving
        )


def _cut(call: OpCall, entry: OpRange, level: float, unit: str | None) -> OpCall:
    """A call that goes no further than a level, in the unit of the space.

    What is told in another unit than the space has, such as pixels, becomes the space's own range
    up to there.
    """
    if call.low is None or call.high is None:
        return call
    if (call.unit or unit) != (entry.unit or unit):
        return entry.call(level, is_range=call.low != call.high, weight=call.weight)
    limit = entry.cut(level).high
    if entry.low is None or limit is None:
        return call
    nearer = max if limit < entry.low else min
    return dataclasses.replace(call, low=nearer(call.low, limit), high=nearer(call.high, limit))


#: Shares of the accuracy in the order of trying, and the layouts that each is tried with first.
_FIRST: Mapping[float, Sequence[Layout]] = {
    0.65: (Layout(0, 1, 1), Layout(0, 1, 2), Layout(0, 2, 1), Layout(2)),
    0.8: (Layout(0, 1, 1), Layout(0, 1, 2), Layout(1)),
    0.5: (Layout(0, 1, 1), Layout(0, 1, 2)),
    0.9: (Layout(0, 1, 1), Layout(0, 2, 1), Layout(2)),
}
#: Shares that a search may move to.
SHARES = tuple(round(0.35 + 0.05 * i, 2) for i in range(13))


def first_designs(designer: Designer) -> list[Design]:
    """What is tried before anything is known, spread over shares and layouts.

    Where flips are borne every other design has them in front.
    """
    known = set(designer.layouts())
    allowed = [
        Design(layout, share)
        for i in range(max(map(len, _FIRST.values())))
        for share, layouts in _FIRST.items()
        for layout in layouts[i : i + 1]
        if layout in known
    ]
    if not allowed:
        allowed = [Design(layout, share) for share in _FIRST for layout in sorted(known)[:3]]
    if not designer.has_mirrors:
        return allowed
    mirrored = (True, False)
    return [
        Design(
            Layout(d.layout.n_any, d.layout.n_moving, d.layout.n_changing, mirrored[i % 2]),
            d.share,
        )
        for i, d in enumerate(allowed)
    ]


def all_designs(designer: Designer) -> list[Design]:
    """Every design that a search may move to, in a fixed order."""
    return [Design(layout, share) for layout in designer.layouts() for share in SHARES]
