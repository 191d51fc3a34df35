"""The one contract of all problems: where trainings come from and what identifies them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from policysearch.objectives.base import Objective
from policysearch.policy import Policy
from policysearch.space import SearchSpace

Rung = Literal["search", "confirm", "verdict"]


class Problem(Protocol):
    """What is trained, and on what.

    Attributes:
      modality: Kind of data that policies are applied to.
      n_folds: Trainings of a policy that have one seed in common: validation folds.
      epochs: Length of a full training.
      search_epochs: Length of a training in the search.
      searched_by: Name of the objective of the search.
      search_cost: Seconds that it takes for a policy and fold, in trainings of `search_epochs`.
    """

    modality: str
    n_folds: int
    epochs: int
    search_epochs: int
    searched_by: str
    search_cost: float

    def objective(self, rung: Rung) -> Objective:
        """Scores the policies of a rung; equal objects serve several rungs.

        Only that of the verdict may know the test split.
        """
        ...

    def restricted(self, space: SearchSpace) -> SearchSpace:
        """The space without operations that cannot change these data."""
        ...

    def baselines(self, space: SearchSpace) -> dict[str, Policy]:
        """The search-free policies by name, simplest first, made comparable to the space."""
        ...

    def training_seconds(self, policy: Policy) -> float:
        """Estimated seconds of a full training here, from a few measured steps."""
        ...

    def header(self) -> Mapping[str, Any]:
        """What identifies the data for the ledger: a run goes on with the same or not at all."""
        ...

    def provenance(self) -> Mapping[str, Any]:
        """What the exported policy should say about the data."""
        ...
