"""Local worker processes: persistent, one task at a time each, killed hard when they must be.

Workers are started as fresh interpreters (not forked, not spawned through `multiprocessing`), so
that a search can be called from any script or notebook without a `__main__` guard.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing import connection as mp_connection
from multiprocessing.connection import Connection

from policysearch.engines.base import MAX_ATTEMPTS, RETRIED, Finished
from policysearch.errors import RunError
from policysearch.objectives.base import Objective
from policysearch.trial import FailureKind, Outcome, Task

_START_SECONDS = 120.0


class LocalEngine:
    """Runs tasks in worker processes on this machine.

    Args:
      objective: Sent to every worker once.
      n_workers: Processes.
      n_threads: Compute threads of each.
      timeout_seconds: A task that takes longer is killed with its process group; `None`: never.
    """

    def __init__(
        self,
        objective: Objective,
        n_workers: int,
        n_threads: int = 1,
        timeout_seconds: float | None = None,
    ) -> None:
        self._objective = objective
        self._n_threads = n_threads
        self._timeout_seconds = timeout_seconds
        self._queue: collections.deque[tuple[Task, int]] = collections.deque()
        self._early: list[Finished] = []
        self._workers: list[_Worker] = []
        try:
            self._workers = [_Worker(n_threads) for _ in range(n_workers)]
            for worker in self._workers:
                worker.prepare(objective)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def n_slots(self) -> int:
        """Number of worker processes."""
        return len(self._workers)

    def submit(self, task: Task) -> None:
        """Queues a task (see `Engine`)."""
        self._queue.append((task, 1))
        self._dispatch()

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Waits for tasks to end (see `Engine`)."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            finished = self._collect(max(0.0, deadline - time.monotonic()))
            self._dispatch()
            if finished or time.monotonic() >= deadline:
                return finished

    def close(self) -> None:
        """Kills all workers and their children (see `Engine`)."""
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def _dispatch(self) -> None:
        for i, worker in enumerate(self._workers):
            if not self._queue:
                return
            if worker.task is not None:
                continue
            task, attempt = self._queue.popleft()
            try:
                worker.start(task, attempt)
            except OSError:  # it died while it had nothing to do
                self._workers[i] = self._replacement(worker)
                self._workers[i].start(task, attempt)

    def _collect(self, timeout_seconds: float) -> list[Finished]:
        busy = [worker for worker in self._workers if worker.task is not None]
        patience = timeout_seconds
        if self._timeout_seconds is not None:
            limits = [w.started + self._timeout_seconds - time.monotonic() for w in busy]
            patience = max(0.0, min([timeout_seconds, *limits]))
        if not busy:
            time.sleep(min(0.05, timeout_seconds))
            return []
        ready = mp_connection.wait([w.connection for w in busy], patience)
        finished = []
        for i, worker in enumerate(self._workers):
            if worker.task is None:
                continue
            if worker.connection in ready:
                finished += self._take(i, worker)
            elif (
                self._timeout_seconds is not None
                and time.monotonic() - worker.started > self._timeout_seconds
            ):
                text = f"Killed after {self._timeout_seconds:g} s without an end."
                finished += self._lost(i, worker, "timeout", text)
        return finished

    def _take(self, i: int, worker: _Worker) -> list[Finished]:
        try:
            outcome: Outcome = worker.connection.recv()
        except (EOFError, ConnectionError, OSError):
            worker.kill()
            code = worker.process.returncode
            # The kernel's out-of-memory killer sends SIGKILL, and nobody else here did.
            kind: FailureKind = "memory" if code == -signal.SIGKILL else "crash"
            text = f"The worker process ended with code {code}"
            if kind == "memory":
                text += " (killed from outside: most often out of memory)"
            return self._lost(i, worker, kind, text + ".")
        assert worker.task is not None
        if outcome.failure in RETRIED:
            return self._lost(i, worker, outcome.failure, outcome.message)
        outcome = dataclasses.replace(outcome, attempts=worker.attempt)
        finished = Finished(worker.task, outcome)
        worker.task = None
        return [finished]

    def _lost(
        self, i: int, worker: _Worker, kind: FailureKind | None, message: str
    ) -> list[Finished]:
        """Replaces a worker whose task was lost; the task is retried or has failed."""
        task, attempt = worker.task, worker.attempt
        seconds = time.monotonic() - worker.started
        self._workers[i] = self._replacement(worker)
        assert task is not None
        if attempt < MAX_ATTEMPTS:
            self._queue.appendleft((task, attempt + 1))
            return []
        outcome = Outcome(
            "failed", failure=kind, message=message, seconds=seconds, attempts=attempt
        )
        return [Finished(task, outcome)]

    def _replacement(self, dead: _Worker) -> _Worker:
        dead.kill()
        worker = _Worker(self._n_threads)
        worker.prepare(self._objective)
        return worker


class _Worker:
    """One worker process and the driver's end of its socket."""

    def __init__(self, n_threads: int) -> None:
        ours, theirs = socket.socketpair()
        environment = os.environ | {
            "OMP_NUM_THREADS": str(n_threads),
            "MKL_NUM_THREADS": str(n_threads),
            "OPENBLAS_NUM_THREADS": str(n_threads),
        }
        package_root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
        paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        command = [sys.executable, "-m", "policysearch.engines.worker"]
        arguments = [str(theirs.fileno()), str(n_threads), str(os.getpid())]
        self.process = subprocess.Popen(
            [*command, *arguments],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.task: Task | None = None
        self.attempt = 0
        self.started = time.monotonic()
        self._is_ready = False

    def prepare(self, objective: Objective) -> None:
        """Sends the objective; the answer is awaited when the first task is started."""
        try:
            self.connection.send(objective)
        except OSError as error:
            raise RunError(f"A worker process did not start: {error}.") from error

    def start(self, task: Task, attempt: int) -> None:
        """Starts a task; raises `OSError` when the worker is dead."""
        if not self._is_ready:
            if not self.connection.poll(_START_SECONDS):
                raise RunError(f"A worker process did not start within {_START_SECONDS:g} s.")
            try:
                self.connection.recv()
            except EOFError:
                raise RunError(
                    f"A worker process ended at its start with code {self.process.wait()}; "
                    "its error stands above."
                ) from None
            self._is_ready = True
        self.connection.send(task)
        self.task, self.attempt, self.started = task, attempt, time.monotonic()

    def kill(self) -> None:
        """Kills the process group and reaps the process."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connection.close()
