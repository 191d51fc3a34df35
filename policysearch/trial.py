"""Units of work and what came of them: the words that samplers, engines and the ledger share."""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from policysearch.errors import InvalidValueError
from policysearch.policy import Policy

Rung = Literal["search", "confirm", "verdict"]
State = Literal["complete", "pruned", "failed"]
#: Begins the origin of a policy that is what a strategy has found: no other is confirmed.
FINAL = "final:"
FailureKind = Literal["error", "crash", "timeout", "memory", "not_finite", "generator"]


class NotFiniteError(InvalidValueError):
    """A score or a metric is NaN or infinite."""


@dataclass(frozen=True, slots=True)
class Replicate:
    """One training of a task: which fold of the data, and the seed of weights, order and draws."""

    fold: int
    seed: int


@dataclass(frozen=True)
class Task:
    """A policy to be trained and scored.

    Attributes:
      key: Identity within the run, such as `trial/12` or `verdict/none/3`.
      replicates: Trainings, done in order; the score is the mean of their scores.
      n_epochs: Length of each training.
      prune_above: Step i of the task is the running mean score after replicate i; above this
        threshold the task stops as pruned. Empty: never.
      is_prunable: Whether an engine with a pruner of its own may stop it between replicates.
      prune_reports_above: Thresholds for what a training reports on its way, by its step.
      segments: Shares of the training at which its segments end, ascending; it ends, and is
        scored, with the last. Empty: a whole training in one go.
      probes: Policies by name under which the trained networks read the validation data as well.
        Each gives the metrics `NAME:accuracy`, `NAME:log_loss` and, where classes are few,
        `NAME:hits:CLASS`.
    """

    key: str
    policy: Policy
    replicates: tuple[Replicate, ...]
    n_epochs: int
    prune_above: tuple[float, ...] = ()
    probes: Mapping[str, Policy] = field(default_factory=dict)
    is_prunable: bool = False
    prune_reports_above: Mapping[int, float] = field(default_factory=dict)
    segments: tuple[float, ...] = ()

    @property
    def rung(self) -> Rung:
        """What the task is for; only one of the verdict may look at the test split."""
        kind = self.key.partition("/")[0]
        if kind == "trial":
            return "search"
        return "verdict" if kind == "verdict" else "confirm"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task.

    Attributes:
      score: Mean score over the finished replicates, lower is better; finite unless failed.
      metrics: One mapping per finished replicate, such as `{"log_loss": .., "accuracy": ..}`.
      resampled: What the metric of the verdict would have been on other test samples, float32;
        empty where nobody asks.
      seconds: Wall time of the task in its worker.
      failure: Kind, when failed.
      message: Reason, when failed; may be a traceback.
      attempts: How often the task was started.
      reports: What the training told on its way as (step, score), steps ascending.
    """

    state: State
    score: float | None = None
    metrics: tuple[Mapping[str, float], ...] = ()
    seconds: float = 0.0
    failure: FailureKind | None = None
    message: str = ""
    attempts: int = 1
    resampled: tuple[float, ...] = ()
    reports: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if self.state == "failed":
            if self.score is not None or self.failure is None:
                raise InvalidValueError("A failed outcome must have a `failure` and no `score`.")
        elif self.score is None:
            raise InvalidValueError(f"A {self.state} outcome must have a `score`.")
        told = ((f"report of step {step}", value) for step, value in self.reports)
        measured = (item for metrics in self.metrics for item in metrics.items())
        for name, value in [("score", self.score), *measured, *told]:
            if value is not None and not math.isfinite(value):
                raise NotFiniteError(f"`{name}` must be finite, got {value!r}.")
        if not all(map(math.isfinite, self.resampled)):
            raise NotFiniteError("`resampled` must be finite.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the ledger, without empty fields."""
        result: dict[str, Any] = {"state": self.state, "seconds": round(self.seconds, 4)}
        if self.score is not None:
            result["score"] = self.score
        if self.metrics:
            result["metrics"] = [dict(m) for m in self.metrics]
        if self.resampled:
            result["resampled"] = _packed(self.resampled)
        if self.failure is not None:
            result |= {"failure": self.failure, "message": self.message}
        if self.attempts != 1:
            result["attempts"] = self.attempts
        if self.reports:
            result["reports"] = [list(report) for report in self.reports]
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outcome:
        """Inverse of `to_dict`; ignores other keys."""
        return cls(
            state=data["state"],
            score=data.get("score"),
            metrics=tuple(data.get("metrics", ())),
            seconds=float(data.get("seconds", 0.0)),
            failure=data.get("failure"),
            message=str(data.get("message", "")),
            attempts=int(data.get("attempts", 1)),
            resampled=_unpacked(data.get("resampled", "")),
            reports=tuple((int(step), float(v)) for step, v in data.get("reports", ())),
        )


def _packed(values: Sequence[float]) -> str:
    """Numbers as base64 of little-endian float32: a third of their digits."""
    numbers = array("f", values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def _unpacked(text: str) -> tuple[float, ...]:
    numbers = array("f")
    numbers.frombytes(base64.b64decode(text))
    if sys.byteorder == "big":
        numbers.byteswap()
    return tuple(numbers)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A policy that a sampler wants tried.

    Attributes:
      origin: Where it comes from, such as `warm:none`, `screen:rotate@0.6`, `combine`, `tpe`.
      params: Its parameters in the space; `None` for a policy from outside the space.
      state: What the sampler wants back with the trial (plain data), such as its generation.
      folds: Where it is to be tried; empty: on all folds.
      segments: How far it is to be trained (see `Task`); such a trial is never pruned.
    """

    policy: Policy
    origin: str
    params: Mapping[str, float | int | str] | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    folds: tuple[int, ...] = field(default=(), compare=False)
    segments: tuple[float, ...] = field(default=(), compare=False)

    @property
    def is_designed(self) -> bool:
        """Whether it follows from what was found out about single ops, not from a score."""
        return self.origin.startswith(
            ("capped:", "design:", "model:", "combine:", "ramp:", "rare:")
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """A suggestion with its number and its outcome.

    Attributes:
      cost: Seconds per sample that the policy takes; `None` where the search does not weigh it.
    """

    number: int
    suggestion: Suggestion
    outcome: Outcome
    cost: float | None = None

    @property
    def score(self) -> float | None:
        """Score of a complete trial, else `None`."""
        return self.outcome.score if self.outcome.state == "complete" else None

    def running_means(self) -> list[float]:
        """Mean score after each finished replicate."""
        means, total = [], 0.0
        for i, metrics in enumerate(self.outcome.metrics):
            total += metrics["score"]
            means.append(total / (i + 1))
        return means
