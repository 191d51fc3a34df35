"""The policies than which none is both better and cheaper, after the confirmation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policysearch.costs import PolicyCost, pareto_fronts
from policysearch.policy import Policy
from policysearch.selection import Selection
from policysearch.verdict import Arm

#: Name of the cost among the second axes of an arm.
COST_AXIS = "augmentation_microseconds"


@dataclass(frozen=True)
class Point:
    """A policy of the front.

    Attributes:
      name: Of the trial or the search-free policy.
      score: Mean validation score, lower is better.
      cost: Seconds per sample.
    """

    name: str
    policy: Policy
    score: float
    cost: float

    def to_dict(self) -> dict[str, Any]:
        """As told in a verdict; the file is relative to the run."""
        return {
            "name": self.name,
            "score": round(self.score, 6),
            "microseconds": round(1e6 * self.cost, 3),
            "file": f"front/{self.name}.json",
        }


def front_of(selection: Selection, cost: PolicyCost) -> list[Point]:
    """The front of all confirmed policies, searched or not, the cheapest first."""
    points = {
        name: Point(name, policy, selection.scores[name], cost(policy))
        for name, policy in selection.arms.items()
        if np.isfinite(selection.scores[name])
    }
    values = {name: (point.score, point.cost) for name, point in points.items()}
    fronts = pareto_fronts(values)
    return sorted((points[name] for name in fronts[0]), key=lambda point: point.cost)


def with_cost(arm: Arm, costs: Sequence[float]) -> Arm:
    """The arm with what its policies cost, in microseconds per sample, as a second axis."""
    axes = {**arm.axes, COST_AXIS: round(1e6 * float(np.mean(costs)), 3)}
    return dataclasses.replace(arm, axes=axes)
