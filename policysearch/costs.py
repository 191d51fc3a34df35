"""What a policy costs: seconds of augmentation per sample, and who is beaten by whom.

The cost of each operation is measured once, on the machine and the data of the search, and
written down; that of a policy is what is expected of its draws. So it is the same whenever it is
asked for, which a clock is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from policysearch.policy import Policy, Stage, SubPolicy

#: Seconds per sample by operation.
OpCosts = Mapping[str, float]
Key = TypeVar("Key")


@dataclass(frozen=True)
class PolicyCost:
    """Tells the cost of policies.

    Attributes:
      ops: Seconds per sample of each operation at its full range.
    """

    ops: OpCosts

    def __call__(self, policy: Policy) -> float:
        """Expected seconds per sample; an operation that was not measured costs the mean of all.

        The chains of a policy that mixes are all applied.
        """
        subs = policy.sub_policies
        total = sum(sub.weight for sub in subs)
        expected = sum(sub.weight * self._of_sub(sub) for sub in subs) / (total or 1.0)
        if policy.mix is not None:
            expected *= policy.mix.width
        return expected

    def _of_sub(self, sub: SubPolicy) -> float:
        return sum(stage.probability * self._of_stage(stage) for stage in sub.stages)

    def _of_stage(self, stage: Stage) -> float:
        unknown = sum(self.ops.values()) / max(1, len(self.ops))
        total = sum(call.weight for call in stage.choices)
        return sum(call.weight * self._of_op(call.op, unknown) for call in stage.choices) / total

    def _of_op(self, op: str, unknown: float) -> float:
        return 0.0 if op == "identity" else self.ops.get(op, unknown)


def pareto_fronts(points: Mapping[Key, Sequence[float]]) -> list[list[Key]]:
    """Points by rank: those that none beats, then those that only these beat, and so on.

    A point is beaten by one that is nowhere worse and somewhere better; lower is better.

    References:
      Deb et al., A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE Transactions
      on Evolutionary Computation 6, 2002, section III A.

    Examples:
      >>> pareto_fronts({"a": (1, 3), "b": (2, 2), "c": (3, 3), "d": (3, 1)})
      [['a', 'b', 'd'], ['c']]
    """
    left, fronts = dict(points), []
    while left:
        front = [key for key, p in left.items() if not any(_beats(q, p) for q in left.values())]
        fronts.append(front)
        for key in front:
            del left[key]
    return fronts


def _beats(a: Sequence[float], b: Sequence[float]) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def spread_over(front: Sequence[Key], points: Mapping[Key, Sequence[float]], n: int) -> list[Key]:
    """At most `n` points of a front, its two ends among them, evenly by their order on it.

    Examples:
      >>> spread_over("abcde", {k: (i,) for i, k in enumerate("abcde")}, 3)
      ['a', 'c', 'e']
    """
    ordered = sorted(front, key=lambda key: tuple(points[key]))
    if n >= len(ordered):
        return ordered
    if n == 1:
        return ordered[:1]
    return [ordered[round(i * (len(ordered) - 1) / (n - 1))] for i in range(n)]
