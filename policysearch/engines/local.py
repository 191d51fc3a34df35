"""Local worker processes: persistent, one task at a time each, killed hard when they must be.

Workers are started as fresh interpreters (not forked, not spawned through `multiprocessing`), so
that a search can be called from any script or notebook without a `__main__` guard. They start
when there is a task for them, and what they print is kept for the message of a crash.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import pickle
import signal
import time
from multiprocessing import connection as mp_connection

from policysearch.engines.base import MAX_ATTEMPTS, RETRIED, Finished
from policysearch.engines.guarded_process import END_SECONDS, GuardedProcess, how_ended
from policysearch.engines.packing import Packed
from policysearch.errors import RunError
from policysearch.objectives.base import Objective
from policysearch.trial import FailureKind, Outcome, Task

_START_SECONDS = 120.0
#: A dead worker is noticed within this time even if a child of it keeps the socket open.
_LOOK_SECONDS = 0.25


class LocalEngine:
    """Runs tasks in worker processes on this machine.

    Args:
      objective: Sent to every worker once; a packed one is closed with the engine.
      n_workers: Processes.
      n_threads: Compute threads of each.
      timeout_seconds: A task that takes longer is killed with its process group; `None`: never.
      max_attempts: How often a task is started that crashes, hangs or runs out of memory.

    Raises:
      InvalidValueError: When the objective cannot be pickled.
    """

    def __init__(
        self,
        objective: Objective | Packed,
        n_workers: int,
        n_threads: int = 1,
        timeout_seconds: float | None = None,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self._objective = objective if isinstance(objective, Packed) else Packed.of(objective)
        self._max_attempts = max_attempts
        self._n_threads = n_threads
        self._timeout_seconds = timeout_seconds
        self._queue: collections.deque[tuple[Task, int]] = collections.deque()
        self._slots: list[_Worker | None] = [None] * n_workers
        self._n_failed_starts = 0

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def n_slots(self) -> int:
        """Number of worker processes."""
        return len(self._slots)

    def submit(self, task: Task) -> None:
        """Queues a task (see `Engine`)."""
        self._queue.append((task, 1))
        self._dispatch()

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Waits for tasks to end (see `Engine`).

        Raises:
          RunError: When workers do not come up; the text holds what they said.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            finished = self._collect(max(0.0, deadline - time.monotonic()))
            self._dispatch()
            if finished or time.monotonic() >= deadline:
                return finished

    def close(self) -> None:
        """Kills all workers and all that their tasks started (see `Engine`)."""
        workers = [worker for worker in self._slots if worker is not None]
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.reap()
            worker.forget()
        self._slots = [None] * len(self._slots)
        self._queue.clear()
        self._objective.close()

    def _dispatch(self) -> None:
        for i, worker in enumerate(self._slots):
            if not self._queue:
                return
            if worker is not None and worker.task is not None:
                continue
            if worker is not None and worker.is_dead():  # it died while it had nothing to do
                self._remove(i, worker)
                worker = None
            if worker is None:
                worker = self._slots[i] = _Worker(self._objective.fileno(), self._n_threads)
            worker.begin(*self._queue.popleft())

    def _collect(self, timeout_seconds: float) -> list[Finished]:
        busy = [(i, w) for i, w in enumerate(self._slots) if w is not None and w.task is not None]
        if not busy:
            time.sleep(min(0.05, timeout_seconds))
            return []
        left = [self._limit(w) - w.seconds() for _, w in busy]
        patience = max(0.0, min([timeout_seconds, _LOOK_SECONDS, *left]))
        mp_connection.wait([w.connection for _, w in busy], patience)
        finished = []
        for i, worker in busy:
            if worker.connection.poll():
                finished += self._hear(i, worker)
            elif worker.is_dead():
                finished += self._bury(i, worker)
            elif worker.seconds() > self._limit(worker):
                finished += self._end(i, worker)
        return finished

    def _limit(self, worker: _Worker) -> float:
        if not worker.is_ready:
            return _START_SECONDS
        return float("inf") if self._timeout_seconds is None else self._timeout_seconds

    def _hear(self, i: int, worker: _Worker) -> list[Finished]:
        """Takes what a worker says: that it is ready, or an outcome."""
        try:
            message = worker.connection.recv_bytes()
        except (EOFError, OSError):
            return self._bury(i, worker)
        if not worker.is_ready:
            worker.is_ready, worker.started = True, time.monotonic()
            self._n_failed_starts = 0
            return []
        outcome = Outcome.from_dict(json.loads(message))
        if outcome.failure in RETRIED:
            return self._lost(i, worker, outcome.failure, outcome.message)
        assert worker.task is not None
        finished = Finished(worker.task, dataclasses.replace(outcome, attempts=worker.attempt))
        worker.task = None
        return [finished]

    def _end(self, i: int, worker: _Worker) -> list[Finished]:
        if not worker.is_ready:
            return self._not_started(i, worker, f"did not start within {_START_SECONDS:g} s")
        text = f"Killed after {self._timeout_seconds:g} s without an end."
        return self._lost(i, worker, "timeout", text + worker.last_words())

    def _bury(self, i: int, worker: _Worker) -> list[Finished]:
        worker.wait_for_end(END_SECONDS)
        worker.kill()
        worker.reap()
        code = worker.process.returncode
        how = how_ended(code)
        if not worker.is_ready:
            return self._not_started(i, worker, f"{how} at its start")
        # The kernel's out-of-memory killer sends SIGKILL, and nobody else here did.
        is_memory = code == -signal.SIGKILL
        text = f"The worker process {how}"
        text += " from outside: most often out of memory." if is_memory else "."
        kind: FailureKind = "memory" if is_memory else "crash"
        return self._lost(i, worker, kind, text + worker.last_words())

    def _not_started(self, i: int, worker: _Worker, how: str) -> list[Finished]:
        """Has another worker started for the task, unless that does not help."""
        self._n_failed_starts += 1
        words = worker.last_words()
        task, attempt = self._remove(i, worker)
        if self._n_failed_starts >= MAX_ATTEMPTS:
            raise RunError(f"A worker process {how}, {MAX_ATTEMPTS} times in a row.{words}")
        self._queue.appendleft((task, attempt))
        return []

    def _lost(
        self, i: int, worker: _Worker, kind: FailureKind | None, message: str
    ) -> list[Finished]:
        """Removes a worker whose task was lost; the task is retried or has failed."""
        seconds = worker.seconds()
        task, attempt = self._remove(i, worker)
        if attempt < self._max_attempts:
            self._queue.appendleft((task, attempt + 1))
            return []
        outcome = Outcome(
            "failed", failure=kind, message=message, seconds=seconds, attempts=attempt
        )
        return [Finished(task, outcome)]

    def _remove(self, i: int, worker: _Worker) -> tuple[Task, int]:
        worker.kill()
        worker.reap()
        worker.forget()
        self._slots[i] = None
        return worker.task, worker.attempt  # type: ignore[return-value]


class _Worker(GuardedProcess):
    """One worker process and the driver's end of its socket."""

    def __init__(self, objective: int, n_threads: int) -> None:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        threads = str(n_threads)
        environment = dict.fromkeys(names, threads)
        super().__init__("policysearch.engines.worker", [objective], [threads], environment)
        self.task: Task | None = None
        self.attempt = 0
        self.is_ready = False

    def begin(self, task: Task, attempt: int) -> None:
        """Sends a task; that the worker is dead is found out later."""
        self.task, self.attempt, self.started = task, attempt, time.monotonic()
        if self.is_ready:
            self.cut_output()
        with contextlib.suppress(OSError):
            self.connection.send_bytes(pickle.dumps(task))
