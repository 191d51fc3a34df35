"""The user's own training as a Python function: `train(policy, trial) -> score`."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from policysearch.objectives.own import OwnTraining, TrainingTrial
from policysearch.transform import PolicyTransform
from policysearch.trial import Outcome, Task
from policysearch.user_code import find_function, importable


class FunctionTraining:
    """Scores a policy by what a function returns.

    The function gets a `PolicyTransform`, seeded with the seed of the training, and a
    `TrainingTrial`. Before each call the global generators of Python, numpy and torch are seeded
    too: a training that never thought of seeds is repeatable, and paired with those of other
    policies.

    Args:
      name: See `user_code.find_function`.
      own: Rung, scale and run directory.
    """

    def __init__(self, name: str, own: OwnTraining) -> None:
        self._name = name
        self._own = own
        self._function: Callable[[PolicyTransform, TrainingTrial], Any] | None = None

    def evaluate(self, task: Task) -> Outcome:
        """Scores a task (see `Objective`)."""
        return self._own.evaluate(task, self._train)

    def _train(self, task: Task, trial: TrainingTrial) -> Any:
        if self._function is None:
            self._function = find_function(self._name)
        _seed_globals(trial.seed)
        place = self._name.rpartition(":")[0]
        folder = Path(place).parent if place.endswith(".py") else None
        with importable(), importable(folder):
            result = self._function(PolicyTransform(task.policy, seed=trial.seed), trial)
        sys.stdout.flush()
        return result


def _seed_globals(seed: int) -> None:
    """Seeds what a user's training may draw from; this process is a worker's, and it is alone."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the user's code may use it
    torch.manual_seed(seed)
