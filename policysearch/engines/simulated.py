"""Workers in virtual time: what a search would do on a cluster, found out on one core.

The objective is evaluated here and now and says in `Outcome.seconds` how long it took on the
worker that is imagined; nobody waits for it. Sampler, search loop and ledger are the real ones.
With a `driver_clock` their time is real too: while the driver thinks, the imagined workers go on,
and those that have nothing to do stand idle. That is how a driver too slow for its cluster shows.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
import json
from collections.abc import Callable

from policysearch.engines.base import MAX_ATTEMPTS, RETRIED, Finished
from policysearch.engines.worker import evaluate
from policysearch.objectives.base import Objective
from policysearch.trial import Outcome, Task


class SimulatedEngine:
    """Runs tasks on workers that exist in virtual time only.

    Args:
      objective: Evaluated in this process when a task starts; its `Outcome.seconds` is the
        virtual duration of the task.
      n_workers: Imagined workers, one task at a time each.
      timeout_seconds: A task that says it takes longer is tried again and then fails, as on real
        workers; `None`: never.
      driver_clock: Clock in seconds, such as `time.perf_counter`, by which the virtual time goes
        on between the calls of this engine; `None`: the driver takes no time.
    """

    def __init__(
        self,
        objective: Objective,
        n_workers: int,
        timeout_seconds: float | None = None,
        driver_clock: Callable[[], float] | None = None,
    ) -> None:
        self._objective = objective
        self._n_workers = n_workers
        self._timeout_seconds = float("inf") if timeout_seconds is None else timeout_seconds
        self._driver_clock = driver_clock or (lambda: 0.0)
        self._left_at = self._driver_clock()
        self._now = 0.0
        self._queue: collections.deque[tuple[Task, int]] = collections.deque()
        self._running: list[_Running] = []
        self._n_started = 0
        self._busy_seconds = 0.0

    @property
    def n_slots(self) -> int:
        """Number of imagined workers."""
        return self._n_workers

    def now(self) -> float:
        """Virtual seconds since the engine was made."""
        return self._now

    def utilisation(self) -> float:
        """Share of the workers' time so far in which they had a task; 1 before there was any."""
        left = sum(max(0.0, running.end - self._now) for running in self._running)
        available = self._n_workers * self._now
        return (self._busy_seconds - left) / available if available else 1.0

    def submit(self, task: Task) -> None:
        """Queues a task (see `Engine`)."""
        self._enter()
        self._queue.append((task, 1))
        self._start_queued()
        self._leave()

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Goes on to the next end of a task, or by `timeout_seconds` (see `Engine`)."""
        self._enter()
        deadline = self._now + timeout_seconds
        finished: list[Finished] = []
        while not finished and self._running and self._running[0].end <= deadline:
            self._now = max(self._now, self._running[0].end)
            while self._running and self._running[0].end <= self._now:
                finished += self._end(heapq.heappop(self._running))
            self._start_queued()
        if not finished:
            self._now = max(self._now, deadline)
        self._leave()
        return finished

    def close(self) -> None:
        """Forgets all tasks (see `Engine`)."""
        self._queue.clear()
        self._running.clear()

    def _enter(self) -> None:
        self._now += self._driver_clock() - self._left_at

    def _leave(self) -> None:
        """What passed since `_enter`, evaluating above all, is the imagined workers' own time."""
        self._left_at = self._driver_clock()

    def _start_queued(self) -> None:
        while self._queue and len(self._running) < self._n_workers:
            task, attempt = self._queue.popleft()
            outcome = Outcome.from_dict(json.loads(evaluate(self._objective, task)))
            if outcome.seconds > self._timeout_seconds:
                outcome = Outcome(
                    "failed",
                    failure="timeout",
                    message=f"Killed after {self._timeout_seconds:g} s without an end.",
                    seconds=self._timeout_seconds,
                )
            self._n_started += 1
            self._busy_seconds += outcome.seconds
            end = self._now + outcome.seconds
            heapq.heappush(self._running, _Running(end, self._n_started, task, attempt, outcome))

    def _end(self, ended: _Running) -> list[Finished]:
        if ended.outcome.failure in RETRIED and ended.attempt < MAX_ATTEMPTS:
            self._queue.appendleft((ended.task, ended.attempt + 1))
            return []
        return [Finished(ended.task, dataclasses.replace(ended.outcome, attempts=ended.attempt))]


@dataclasses.dataclass(frozen=True, order=True)
class _Running:
    """A task on its worker; the first to end comes first, of equals the first to start."""

    end: float
    order: int
    task: Task = dataclasses.field(compare=False)
    attempt: int = dataclasses.field(compare=False)
    outcome: Outcome = dataclasses.field(compare=False)
