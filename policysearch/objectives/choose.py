"""The objectives of a search by name, and which of them `auto` is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from policysearch.data.splits import SearchData
from policysearch.objectives.base import Objective
from policysearch.objectives.density import Density
from policysearch.objectives.from_scratch import FromScratch
from policysearch.objectives.shared_checkpoint import SharedCheckpoint
from policysearch.proxies.base import ProxySettings


class ObjectiveOfFolds(Protocol):
    """Makes an objective from what a search may see.

    Attributes:
      cost: Seconds for a policy and fold, in trainings from scratch.
    """

    cost: float

    def __call__(self, data: SearchData, proxy: ProxySettings) -> Objective:
        """An objective that is picklable."""
        ...


OBJECTIVES: Mapping[str, ObjectiveOfFolds] = {
    "from_scratch": FromScratch,
    "shared_checkpoint": SharedCheckpoint,
    "density": Density,
}


def objective_for(name: str) -> str:
    """The objective that a name stands for: itself, or the choice of `auto`."""
    return "from_scratch" if name == "auto" else name
