"""Which problem the settings describe."""

from __future__ import annotations

from policysearch.config import SearchConfig
from policysearch.problems.base import Problem
from policysearch.run import Progress


def make_problem(config: SearchConfig, progress: Progress) -> Problem:
    """Loads and checks what the settings name; writes nothing.

    Raises:
      PolicySearchError: When it cannot be read or does not suit.
    """
    if config.is_own_training:
        from policysearch.problems.trainer import TrainerProblem

        return TrainerProblem(config, progress)
    from policysearch.problems.dataset import DatasetProblem

    return DatasetProblem(config, progress)
