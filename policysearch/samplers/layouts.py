"""Policies designed from a calibration: all ops up to a level, in one of a few layouts.

A layout says how ops are laid out over the stages of a sample. In `any x 2` both stages draw from
all ops. In `1 + 1` the first draws from the ops that move the parts of a sample (geometry, time,
words) and the second from those that change values: the two then complement each other instead of
repeating each other. Trained with directly on digits (4 draws of 100 images x 4 seeds, share 0.6),
`1 + 2` gave a log-loss of 0.130 and `any x 3` 0.143 (RandAugment 0.146). Whether a whole search
gains by it has not been measured over several draws.

The design is tried first; then the best of it with the share of the accuracy moved a little, and
with ops left out, which tells what each is worth together with the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policysearch.policy import Stage, SubPolicy
from policysearch.samplers.calibration import calibration
from policysearch.seeding import generator
from policysearch.space import SearchSpace
from policysearch.trial import Suggestion, Trial

#: Families of ops that move the parts of a sample; the others change values in place.
MOVING = frozenset({"geometry", "time", "word"})


@dataclass(frozen=True, slots=True)
class Layout:
    """Stages per sample.

    Attributes:
      n_any: Stages that draw from all ops; 0 where the ops are parted.
      n_moving: Stages that draw from the ops that move parts.
      n_changing: Stages that draw from the others.
    """

    n_any: int = 0
    n_moving: int = 0
    n_changing: int = 0

    @property
    def n_stages(self) -> int:
        """Ops per sample."""
        return self.n_any + self.n_moving + self.n_changing

    def __str__(self) -> str:
        return f"any x {self.n_any}" if self.n_any else f"{self.n_moving} + {self.n_changing}"


PARTED, MORE_CHANGING, MORE_MOVING = Layout(0, 1, 1), Layout(0, 1, 2), Layout(0, 2, 1)

#: (share of the clean accuracy that an op must leave, layout), in the order of trying. The first
#: few are suggested before the look-back window shows the calibration, so they are the plainest.
DESIGN = (
    *((0.7, Layout(1)), (0.5, Layout(2)), (0.9, Layout(2)), (0.7, PARTED), (0.5, PARTED)),
    *((0.9, PARTED), (0.5, MORE_CHANGING), (0.7, MORE_MOVING), (0.7, MORE_CHANGING)),
    *((0.5, MORE_MOVING), (0.7, Layout(2)), (0.5, Layout(3))),
)
#: What the share of the best design is moved by, in the order of trying.
MOVES = (0.1, -0.1)


class LayoutDesign:
    """Suggests designed policies of an op-wise space.

    Args:
      space: Gives ops, ranges, and the largest number of ops per sample.
      seed: Of the ops that are left out.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._moving = {entry.op for entry in space.ops if space.spec(entry.op).family in MOVING}
        is_parted = 0 < len(self._moving) < len(space.ops) and space.n_ops[1] > 1
        design = [(share, self._within(layout, is_parted)) for share, layout in DESIGN]
        self.design = tuple(dict.fromkeys(design))

    def first(self, index: int, history: Sequence[Trial]) -> Suggestion | None:
        """The design of that number; `None` where no op is left."""
        share, layout = self.design[index]
        levels, kind = self._levels(share, history)
        return self._suggestion(levels, layout, f"{kind}:{len(levels)} ops, {layout} @{share:g}")

    def further(self, index: int, history: Sequence[Trial]) -> Suggestion | None:
        """The best design so far, a little changed; `None` without one that has a score."""
        best = self._best(history)
        if best is None:
            return None
        share, layout = best
        move = MOVES[index] if index < len(MOVES) else 0.0
        levels, _ = self._levels(min(0.95, max(0.1, round(share + move, 3))), history)
        if index >= len(MOVES):
            rng = generator(self._seed, "combine", index)
            n_out = max(1, len(levels) // 3) if len(levels) > 2 else 0
            out = set(rng.permutation(len(levels))[:n_out].tolist())
            levels = {op: level for i, (op, level) in enumerate(levels.items()) if i not in out}
        origin = f"combine:{len(levels)} ops, {layout} @{share + move:g}"
        return self._suggestion(levels, layout, origin)

    def _within(self, layout: Layout, is_parted: bool) -> Layout:
        """The layout as far as the space allows."""
        low, high = self._space.n_ops
        if layout.n_any or not is_parted or layout.n_stages > high:
            return Layout(min(max(layout.n_stages, low), high))
        return layout

    def _levels(self, share: float, history: Sequence[Trial]) -> tuple[dict[str, float], str]:
        """Level of each op, and whether they were calibrated or are equal for all.

        Equal where an objective answers no probes, or the look-back window hides the answer.
        """
        found = next(filter(None, map(calibration, history[:1])), None)
        if found is None:
            return {entry.op: round(1 - share, 3) for entry in self._space.ops}, "equal"
        return found.levels(share), "calibrated"

    def _best(self, history: Sequence[Trial]) -> tuple[float, Layout] | None:
        designed = {f"{layout} @{share:g}": (share, layout) for share, layout in self.design}
        scored = [
            (trial.score, trial.number, trial.suggestion.origin.partition(", ")[2])
            for trial in history
            if trial.suggestion.origin.startswith(("calibrated:", "equal:"))
            and trial.score is not None
        ]
        return designed.get(min(scored, default=(0.0, 0, ""))[2])

    def _suggestion(
        self, levels: Mapping[str, float], layout: Layout, origin: str
    ) -> Suggestion | None:
        calls = {
            entry.op: entry.call(levels[entry.op], is_range=True)
            for entry in self._space.ops
            if entry.op in levels
        }
        moving = [call for op, call in calls.items() if op in self._moving]
        changing = [call for op, call in calls.items() if op not in self._moving]
        if layout.n_any or not moving or not changing:
            if not calls:
                return None
            params = self._space.encode_opwise(levels, layout.n_stages, 1.0)
            return Suggestion(self._space.decode(params), origin, params)
        stages = (Stage(tuple(moving)),) * layout.n_moving
        stages += (Stage(tuple(changing)),) * layout.n_changing
        return Suggestion(self._space.policy((SubPolicy(stages),)), origin)
