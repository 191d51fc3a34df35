"""Trainings in segments, each going on from where the one before ended: population based training.

The outcome is a function of the task alone: its policy says what the training went through from
the first epoch on. The checkpoint of an earlier segment is only the shorter way there, and where
it is missing (another node, a lost file) the segments before are trained again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from policysearch.data.splits import SearchData
from policysearch.objectives.base import evaluate_replicates
from policysearch.objectives.checkpoints import Checkpoints
from policysearch.objectives.folds import Folds
from policysearch.policy import Policy
from policysearch.proxies.base import Proxy, ProxySettings
from policysearch.trial import Outcome, Replicate, Task


class InSegments:
    """Mean log-loss at the end of the last segment, on the folds of the search data.

    A task without segments is a training from scratch.
    """

    cost = 0.25

    def __init__(self, data: SearchData, proxy: ProxySettings, run: Path | None = None) -> None:
        self._data = data
        self._proxy = proxy
        self._folds = Folds(data, proxy)
        self._checkpoints = Checkpoints(run)

    def keeping_in(self, run: Path) -> InSegments:
        """The same objective with its checkpoints in a run directory."""
        return InSegments(self._data, self._proxy, run.absolute())

    def evaluate(self, task: Task) -> Outcome:
        """Scores a task (see `Objective`)."""
        return evaluate_replicates(task, self._run)

    def _run(self, task: Task, replicate: Replicate) -> Mapping[str, float]:
        proxy = self._folds.proxy(replicate.fold, task.policy, task.n_epochs, replicate.seed)
        if task.segments:
            self._train(proxy, task, replicate)
        else:
            proxy.fit()
        metrics = self._folds.read(replicate.fold, proxy, task.probes)
        return metrics | {"score": metrics["log_loss"]}

    def _train(self, proxy: Proxy, task: Task, replicate: Replicate) -> None:
        names = [_name(task, replicate, i) for i in range(len(task.segments))]
        checkpoint, first = None, 0
        for i in reversed(range(len(names))):
            checkpoint = self._checkpoints.get(names[i])
            if checkpoint is not None:
                first = i
                break
        for i in range(first, len(names)):
            checkpoint = proxy.fit_until(epochs_until(task.segments[i], task.n_epochs), checkpoint)
            if task.segments[i] < 1:
                self._checkpoints.keep(names[i], checkpoint)
            if i > 1:  # nobody goes on from so far back
                self._checkpoints.drop(names[i - 2])


def epochs_until(share: float, n_epochs: int) -> int:
    """Whole epochs in a share of a training.

    The progress of the last of them, at its middle, is no more than the share.
    """
    return round(share * n_epochs)


def _name(task: Task, replicate: Replicate, index: int) -> str:
    """Name of what a training has become at the end of a segment: of all that decides it."""
    share = task.segments[index]
    policy: Policy = task.policy
    if policy.schedule is not None:
        policy = dataclasses.replace(policy, schedule=policy.schedule.until(share))
    facts = [policy.digest(), replicate.fold, replicate.seed, task.n_epochs]
    text = json.dumps([*facts, *task.segments[: index + 1]])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
