"""The one contract of all problems: where trainings come from and what identifies them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from policysearch.costs import OpCosts
from policysearch.measures import Measure
from policysearch.objectives.base import Objective
from policysearch.policy import Policy
from policysearch.policy_json import GeneratorSource
from policysearch.space import SearchSpace
from policysearch.trial import Rung as Rung


class Problem(Protocol):
    """What is trained, and on what.

    Attributes:
      modality: Kind of data that policies are applied to.
      classes: Their names; empty where nobody knows them.
      n_folds: Trainings of a policy that have one seed in common: validation folds.
      validation_share: Of the data that a training before the verdict has, what it is scored on; 0
        where nobody knows.
      epochs: Length of a full training.
      search_epochs: Length of a training in the search.
      searched_by: Name of the objective of the search.
      search_cost: Seconds that it takes for a policy and fold, in trainings of `search_epochs`.
      measure: What the arms of the verdict are measured by.
      left_out: Operations of a space that these data, or what the user gave with them, do not
        allow, each with the reason; known when it was restricted.
      overlap: Share that two training sets of the verdict have in common, where each of its
        trainings has one of its own (fold k of a replicate is set k); `None` where there is one.
    """

    modality: str
    classes: tuple[str, ...]
    n_folds: int
    validation_share: float
    epochs: int
    search_epochs: int
    searched_by: str
    search_cost: float
    measure: Measure
    left_out: dict[str, str]
    overlap: float | None

    def objective(self, rung: Rung, run: Path) -> Objective:
        """Scores the policies of a rung; equal objects serve several rungs.

        Only that of the verdict may know the test split.

        Args:
          rung: Whose policies.
          run: The run directory, where trainings may leave something.
        """
        ...

    def restricted(self, space: SearchSpace) -> SearchSpace:
        """The space without operations that cannot change these data."""
        ...

    def baselines(self, space: SearchSpace) -> dict[str, Policy]:
        """The search-free policies by name, simplest first, made comparable to the space."""
        ...

    def chance_score(self) -> float | None:
        """Validation score of predicting class frequencies; `None` where nobody knows it."""
        ...

    def training_seconds(self, policy: Policy) -> float | None:
        """Estimated seconds of a full training here, from a few measured steps.

        `None` when nobody can know before the first training has ended.
        """
        ...

    def op_costs(self, space: SearchSpace, policies: Iterable[Policy]) -> OpCosts | None:
        """Seconds per sample of each operation of a space and of policies, measured here.

        `None` where nobody knows.
        """
        ...

    def generator_source(self, policy: Policy, out: Path) -> GeneratorSource | None:
        """What the file of an exported policy says of its generator, written beside it if asked.

        `None` where it needs none, or the usual one.
        """
        ...

    def header(self) -> Mapping[str, Any]:
        """What identifies the data for the ledger: a run goes on with the same or not at all."""
        ...

    def provenance(self) -> Mapping[str, Any]:
        """What the exported policy should say about the data."""
        ...
