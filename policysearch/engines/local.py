"""Local worker processes: persistent, one task at a time each, killed hard when they must be.

Workers are started as fresh interpreters (not forked, not spawned through `multiprocessing`), so
that a search can be called from any script or notebook without a `__main__` guard. They start
when there is a task for them, and what they print is kept for the message of a crash.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing import connection as mp_connection
from multiprocessing.connection import Connection
from typing import IO

from policysearch.engines.base import MAX_ATTEMPTS, RETRIED, Finished
from policysearch.errors import InvalidValueError, RunError
from policysearch.objectives.base import Objective
from policysearch.trial import FailureKind, Outcome, Task

_START_SECONDS = 120.0
#: A dead worker is noticed within this time even if a child of it keeps the socket open.
_LOOK_SECONDS = 0.25
#: A guardian ends this soon after its worker, with the worker's exit code.
_END_SECONDS = 5.0
_TAIL_BYTES = 4000
#: A worker imports exactly what the driver does: a file `random.py` in the current directory of
#: a user must not come before the standard library, as it would with `python -m`.
_BOOT = (
    "import sys; sys.path[:] = sys.argv[1].split(sys.argv[2]); "
    "from policysearch.engines.worker import main; main(*map(int, sys.argv[3:]))"
)


class LocalEngine:
    """Runs tasks in worker processes on this machine.

    Args:
      objective: Sent to every worker once.
      n_workers: Processes.
      n_threads: Compute threads of each.
      timeout_seconds: A task that takes longer is killed with its process group; `None`: never.

    Raises:
      InvalidValueError: When the objective cannot be pickled.
    """

    def __init__(
        self,
        objective: Objective,
        n_workers: int,
        n_threads: int = 1,
        timeout_seconds: float | None = None,
    ) -> None:
        self._objective = _packed(objective)
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
        worker.wait_for_end(_END_SECONDS)
        worker.kill()
        worker.reap()
        code = worker.process.returncode
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
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
        if attempt < MAX_ATTEMPTS:
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


def _packed(objective: Objective) -> IO[bytes]:
    """The pickled objective in a file without a name: shared by all workers, gone with us."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the engine
    try:
        pickle.dump(objective, file, protocol=5)
        file.flush()
    except OSError as error:
        file.close()
        raise RunError(
            f"The data for the workers cannot be written to '{tempfile.gettempdir()}': "
            f"{error.strerror}. Make room there, or set TMPDIR to another place."
        ) from error
    except Exception as error:
        file.close()
        raise InvalidValueError(
            f"An objective must be picklable to be sent to workers: {error}. Define its class and "
            "functions at the top level of a module."
        ) from error
    return file


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Worker:
    """One worker process and the driver's end of its socket."""

    def __init__(self, objective: int, n_threads: int) -> None:
        ours, theirs = socket.socketpair()
        threads = str(n_threads)
        environment = os.environ | {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
        package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        paths = dict.fromkeys([*sys.path, package_root])
        command = [sys.executable, "-c", _BOOT, os.pathsep.join(paths), os.pathsep]
        arguments = [theirs.fileno(), objective, n_threads, os.getpid()]
        self._output = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        fcntl.fcntl(self._output, fcntl.F_SETFL, os.O_APPEND)  # so that `begin` may cut it
        try:
            self.process = subprocess.Popen(
                [*command, *map(str, arguments)],
                pass_fds=[theirs.fileno(), objective],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                env=environment,
            )
        except OSError as error:
            ours.close()
            self._output.close()
            raise RunError(f"A worker process cannot be started: {error.strerror}.") from error
        finally:
            theirs.close()
        self.connection = Connection(ours.detach())
        self.task: Task | None = None
        self.attempt = 0
        self.started = time.monotonic()
        self.is_ready = False

    def begin(self, task: Task, attempt: int) -> None:
        """Sends a task; that the worker is dead is found out later."""
        self.task, self.attempt, self.started = task, attempt, time.monotonic()
        if self.is_ready:
            self._output.truncate(0)
        with contextlib.suppress(OSError):
            self.connection.send_bytes(pickle.dumps(task))

    def seconds(self) -> float:
        """Seconds since its task began, or since the start of the process."""
        return time.monotonic() - self.started

    def is_dead(self) -> bool:
        """Whether the process ended; it stays to be reaped, so that its group keeps its number."""
        if not hasattr(os, "waitid"):
            return self.process.poll() is not None
        if self.process.returncode is not None:
            return True
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, options) is not None

    def wait_for_end(self, timeout_seconds: float) -> None:
        """Waits until the process has ended by itself, to learn how; at most some seconds."""
        deadline = time.monotonic() + timeout_seconds
        while not self.is_dead() and time.monotonic() < deadline:
            time.sleep(0.002)

    def last_words(self) -> str:
        """The end of what it printed, as a paragraph of its own; empty when there is nothing."""
        with contextlib.suppress(OSError, ValueError):
            size = os.fstat(self._output.fileno()).st_size
            raw = os.pread(self._output.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
            text = raw.decode(errors="replace").strip()
            return f"\nIts last output:\n{text}" if text else ""
        return ""

    def kill(self) -> None:
        """Asks the guardian to end all that descends from it, itself last."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.process.pid, signal.SIGTERM)
                os.kill(self.process.pid, signal.SIGCONT)  # it may be stopped

    def reap(self) -> None:
        """Waits for the end, helps where the guardian could not; the output can still be read."""
        if self.process.returncode is None:
            self.wait_for_end(_END_SECONDS)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connection.close()

    def forget(self) -> None:
        """Lets its output go."""
        self._output.close()
