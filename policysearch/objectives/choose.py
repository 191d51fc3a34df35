"""The objectives of a search by name, and which of them `auto` is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from policysearch.data.splits import SearchData
from policysearch.objectives.base import Objective
from policysearch.objectives.density import BestOfFive, Density
from policysearch.objectives.from_scratch import FromScratch
from policysearch.objectives.in_segments import InSegments
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
    "best_of_five": BestOfFive,
    "in_segments": InSegments,
}


#: What `auto` is, where a strategy has no objective of its own.
AUTO = "from_scratch"


def objective_for(name: str, of_strategy: str = "auto") -> str:
    """The objective that a name stands for: itself, or for `auto` that of the strategy."""
    names = (name, of_strategy, AUTO)
    return next(chosen for chosen in names if chosen != "auto")
