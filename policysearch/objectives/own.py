"""What trainings of the user's own have in common, be they a function or a program.

Each is called once per policy and seed, tells how it goes (`TrainingTrial.report`), may be stopped
on its way, and returns one number.
"""

from __future__ import annotations

import hashlib
import math
import operator
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from policysearch.errors import InvalidValueError
from policysearch.measures import Scale
from policysearch.objectives.base import evaluate_replicates
from policysearch.trial import NotFiniteError, Outcome, Replicate, Rung, Task

#: Once per epoch is enough; a run must not drown in reports of batches.
MAX_REPORTS = 1000
#: Key of the user's number among the metrics of an outcome.
VALUE = "value"
#: Folder of a run with one folder per training.
TRAININGS = "trainings"


class TrialPruned(Exception):  # noqa: N818 - the name that people know from Optuna
    """Raised by a training that stops because `should_prune()` said so. Optuna's does as well."""


class TrainingError(InvalidValueError):
    """A training did not give what it has to give; the text says what."""


class TrainingTrial:
    """What a training is told, and what it tells on its way.

    Attributes:
      key: Which training of the run this is, such as `trial/12` or `verdict/found/3`.
      number: Number of the trial; `None` after the search.
      rung: `search`, `confirm` or `verdict`. Only the last may look at test data.
      seed: For everything random in the training: policies are compared under equal seeds.
    """

    def __init__(self, task: Task, replicate: Replicate, scale: Scale, folder: Path) -> None:
        self.key = task.key
        self.rung: Rung = task.rung
        self.seed = replicate.seed
        self.number = int(task.key.partition("/")[2]) if task.rung == "search" else None
        self._scale = scale
        self._thresholds = task.prune_reports_above
        self._best = math.inf
        self._folder = folder
        self._reports: list[tuple[int, float]] = []
        self._was_told_to_stop = False

    @property
    def out(self) -> Path:
        """A folder in the run directory for whatever this training wants to keep."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def report(self, step: int, value: float) -> None:
        """Tells the score so far; on the scale of the final score.

        Args:
          step: An epoch, for instance; each is reported once, ascending.
          value: Finite.

        Raises:
          TrainingError: For a wrong step or value.
          NotFiniteError: For NaN and infinities: the training has failed.
        """
        if isinstance(step, bool) or not hasattr(step, "__index__") or step < 0:
            raise TrainingError(
                f"`step` must be a whole number from 0, got {step!r}. The order is "
                "trial.report(step, value)."
            )
        step = operator.index(step)
        if self._reports and step <= self._reports[-1][0]:
            raise TrainingError(
                f"`step` must rise, got {step} after {self._reports[-1][0]}: report each step "
                "once, and always the same quantity."
            )
        if len(self._reports) == MAX_REPORTS:
            raise TrainingError(
                f"A training may report {MAX_REPORTS:,} times. Report once per epoch."
            )
        number = number_of(value, "The value of a report")
        if not math.isfinite(number):
            raise NotFiniteError(f"The value reported at step {step} is {number}.")
        score = self._scale.score_of(number)
        self._best = min(self._best, score)
        self._reports.append((step, score))

    def should_prune(self) -> bool:
        """Whether the best score reported so far is worse than what half of the trials had here.

        Only in the search, and in the second half of a training. Once true, what the training
        returns counts as pruned: it need not be the score of a whole training.
        """
        if self._reports:
            threshold = self._thresholds.get(self._reports[-1][0])
            if threshold is not None and self._best > threshold:
                self._was_told_to_stop = True
        return self._was_told_to_stop

    @property
    def reports(self) -> tuple[tuple[int, float], ...]:
        """What was told so far, as (step, score)."""
        return tuple(self._reports)


@dataclass(frozen=True)
class OwnTraining:
    """The side of a training that does not depend on what kind it is.

    Attributes:
      scale: How its result becomes a score.
      run: The run directory.
    """

    scale: Scale
    run: Path

    def evaluate(self, task: Task, train: Callable[[Task, TrainingTrial], Any]) -> Outcome:
        """The outcome of a task whose trainings `train` does; each returns its result."""
        started = time.perf_counter()
        trial: TrainingTrial | None = None

        def run(task: Task, replicate: Replicate) -> dict[str, float]:
            nonlocal trial
            folder = folder_of(self.run, task.key)
            shutil.rmtree(folder, ignore_errors=True)  # of a training that was killed
            trial = TrainingTrial(task, replicate, self.scale, folder)
            value = number_of(train(task, trial), "The score")
            if trial.should_prune():
                raise TrialPruned
            return {"score": self._score(value), VALUE: value}

        try:
            outcome = evaluate_replicates(task, run)
        except TrainingError as error:
            seconds = time.perf_counter() - started
            outcome = Outcome("failed", failure="error", message=str(error), seconds=seconds)
        except Exception as error:
            if type(error).__name__ != "TrialPruned":
                raise
            outcome = _pruned(task, trial, time.perf_counter() - started)
        return replace(outcome, reports=trial.reports if trial is not None else ())

    def _score(self, value: float) -> float:
        score = self.scale.score_of(value)
        if math.isfinite(value) and score < 0:
            side = "above" if self.scale.direction == "maximize" else "below"
            raise TrainingError(
                f"The score {value:g} is {side} the best possible one, {self.scale.best:g}. Give "
                "the right one as --best-score, such as 100 for percentages: the search judges "
                "losses by how far scores are from it. Is --direction "
                f"{self.scale.direction} meant?"
            )
        return score


def _pruned(task: Task, trial: TrainingTrial | None, seconds: float) -> Outcome:
    if task.rung == "search" and trial is not None and trial.reports:
        return Outcome("pruned", trial.reports[-1][1], seconds=seconds)
    message = (
        f"TrialPruned was raised in the rung '{task.rung}' after "
        f"{len(trial.reports) if trial else 0} reports. Raise it only when trial.should_prune() "
        "is true."
    )
    return Outcome("failed", failure="error", message=message, seconds=seconds)


def number_of(value: Any, what: str) -> float:
    """A Python number for what a training gives: numbers, also of numpy, torch and the like.

    Raises:
      TrainingError: For anything else.
    """
    if value is None:
        raise TrainingError(f"{what} must be a number, got None: is there a `return`?")
    if not isinstance(value, (bool, str, bytes)):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    raise TrainingError(f"{what} must be a number, got {type(value).__name__}: {value!r:.80}.")


def folder_of(run: Path, key: str) -> Path:
    """The folder of a training; keys hold what users call their policies, so none is a path."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", key)[:80].strip("-")
    if name != key.replace("/", "-"):
        name += "-" + hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:8]
    return run / TRAININGS / name
