"""The one contract of all engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from policysearch.trial import Outcome, Task

#: Failures that are not the policy's fault: the task is started again, with the same seeds.
RETRIED = frozenset({"crash", "timeout", "memory"})
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Finished:
    """A task that came to an end."""

    task: Task
    outcome: Outcome


class Engine(Protocol):
    """Runs tasks, several at a time.

    `submit` queues a task; `wait` blocks until a task has ended or the time is over; `close` ends
    everything at once and leaves no process behind. A task ends exactly once, whatever happens to
    the process that ran it.
    """

    @property
    def n_slots(self) -> int:
        """How many tasks run at the same time."""
        ...

    def submit(self, task: Task) -> None:
        """Queues a task."""
        ...

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Tasks that ended; empty after `timeout_seconds` without one."""
        ...

    def close(self) -> None:
        """Stops all tasks and processes now."""
        ...
