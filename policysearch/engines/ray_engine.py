"""Trials on a Ray cluster, run by Ray Tune, in a driver process of its own.

The process that searches never imports Ray. It starts a second one (`ray_driver`), under a
guardian, which connects to the cluster and runs Tune; tasks and outcomes go through a socket. So
Ray changes neither signals nor output nor an existing Ray session of the caller, and when the
search is killed the guardian ends the private cluster to its last process.

Numbers, retries and the truth about a run stay here: Tune is asked to run one task once.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import pickle
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from policysearch.engines.base import MAX_ATTEMPTS, RETRIED, Finished
from policysearch.engines.guarded_process import END_SECONDS, GuardedProcess, how_ended
from policysearch.engines.packing import Packed
from policysearch.errors import InvalidValueError, RunError
from policysearch.objectives.base import Objective
from policysearch.trial import Outcome, Task

_START_SECONDS = 180.0
_LOOK_SECONDS = 0.25
#: What the driver process must not inherit: `ray_address` says what is meant, and nothing else.
_ENVIRONMENT = {
    "RAY_ADDRESS": "",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
}

_log = logging.getLogger("policysearch")


@dataclass(frozen=True)
class RaySettings:
    """Where trials run, and with what.

    Attributes:
      n_workers: Trials at a time.
      n_threads: Compute threads of each.
      timeout_seconds: A task that takes longer is killed; `None`: never.
      address: `HOST:PORT` of a running cluster, or `auto` for the one that this machine belongs
        to; `None` starts a private one that ends with the engine.
      cpus_per_trial: Processors that Ray sets aside for a trial.
      gpus_per_trial: GPUs, or a part of one that several trials share.
      pruner: `asha` lets Tune stop trials (those with `is_prunable`) between replicates.
    """

    n_workers: int
    n_threads: int = 1
    timeout_seconds: float | None = None
    address: str | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    pruner: str = "median"


class RayEngine:
    """Runs tasks as trials of Ray Tune (see `Engine`).

    Args:
      objective: Put into the object store of the cluster once.
      settings: Where and with what.

    Raises:
      InvalidValueError: When the objective cannot be pickled, Ray is missing, the address is of a
        kind that does not work, or no node of the cluster can hold a trial.
      RunError: When the cluster cannot be started or reached.
    """

    def __init__(self, objective: Objective, settings: RaySettings) -> None:
        _check(settings)
        self._settings = settings
        self._running: dict[int, tuple[Task, int]] = {}
        self._n_sent = 0
        self._n_failed_starts = 0
        self._folder = tempfile.mkdtemp(prefix="psr-", dir=_short_folder())
        try:
            with_objective = Packed.of(objective)
            try:
                self._process: GuardedProcess | None = GuardedProcess(
                    "policysearch.engines.ray_driver",
                    [with_objective.fileno()],
                    [self._folder, json.dumps(dataclasses.asdict(settings))],
                    _ENVIRONMENT | _authentication(settings),
                )
            finally:
                with_objective.close()
            self._await_start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def n_slots(self) -> int:
        """Trials at a time."""
        return self._settings.n_workers

    def submit(self, task: Task) -> None:
        """Queues a task (see `Engine`)."""
        self._send(task, 1)

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Waits for tasks to end (see `Engine`).

        Raises:
          RunError: When the cluster is lost, or workers do not come up on it.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            finished = self._collect(max(0.0, deadline - time.monotonic()))
            if finished or time.monotonic() >= deadline:
                return finished

    def close(self) -> None:
        """Ends the driver process, and with it its trials and a private cluster."""
        process, self._process = getattr(self, "_process", None), None
        if process is not None:
            process.kill()
            process.reap()
            process.forget()
        self._running.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _await_start(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while not self._process.connection.poll(_LOOK_SECONDS):
            if self._process.is_dead():
                break
            if time.monotonic() > deadline:
                raise RunError(
                    f"Ray did not start within {_START_SECONDS:g} s.{self._process.last_words()}"
                )
        said = self._hear()
        if "refused" in said:
            raise InvalidValueError(said["refused"])
        if said["n_at_a_time"] < self._settings.n_workers:
            _log.warning(
                "The Ray cluster has room for %d of %d trials at a time; the others wait for it.",
                said["n_at_a_time"],
                self._settings.n_workers,
            )
        if not said["has_room_now"]:
            _log.warning("The Ray cluster is full: trials wait until others on it have ended.")

    def _send(self, task: Task, attempt: int) -> None:
        if self._process is None:
            raise RunError("The Ray engine is closed.")
        self._n_sent += 1
        self._running[self._n_sent] = task, attempt
        try:
            self._process.connection.send_bytes(pickle.dumps((self._n_sent, task)))
        except OSError:
            self._hear()  # it is dead: say why

    def _collect(self, timeout_seconds: float) -> list[Finished]:
        if self._process is None:
            time.sleep(min(0.05, timeout_seconds))
            return []
        if not self._process.connection.poll(min(timeout_seconds, _LOOK_SECONDS)):
            if self._process.is_dead():
                self._hear()
            return []
        finished = []
        while self._process.connection.poll():
            finished += self._take(self._hear())
        return finished

    def _hear(self) -> dict[str, Any]:
        """What the driver process says next; raises `RunError` when it is no more."""
        assert self._process is not None
        try:
            said: dict[str, Any] = json.loads(self._process.connection.recv_bytes())
        except (EOFError, OSError):
            self._process.wait_for_end(END_SECONDS)
            self._process.kill()
            self._process.reap()
            how = how_ended(self._process.process.returncode)
            words = self._process.last_words()
            raise RunError(f"The connection to Ray is lost: its driver {how}.{words}") from None
        if "fatal" in said:
            raise RunError(said["fatal"])
        return said

    def _take(self, said: dict[str, Any]) -> list[Finished]:
        """An outcome of one attempt: the end of the task, unless it is tried again."""
        task, attempt = self._running.pop(said["ticket"])
        if "lost" in said:
            self._lost(task, attempt, said["lost"])
            return []
        self._n_failed_starts = 0
        outcome = Outcome.from_dict(said["outcome"])
        if outcome.failure in RETRIED and attempt < MAX_ATTEMPTS:
            self._send(task, attempt + 1)
            return []
        return [Finished(task, dataclasses.replace(outcome, attempts=attempt))]

    def _lost(self, task: Task, attempt: int, reason: str) -> None:
        """A trial that never began, such as on a node that was lost while it was idle."""
        self._n_failed_starts += 1
        if self._n_failed_starts > self._settings.n_workers + MAX_ATTEMPTS:
            raise RunError(
                f"Trials do not start on Ray, {self._n_failed_starts} times in a row: {reason}"
            )
        self._send(task, attempt)


def _check(settings: RaySettings) -> None:
    if importlib.util.find_spec("ray") is None:
        raise InvalidValueError(
            "The engine 'ray' needs Ray, which is not installed: pip install 'policysearch[ray]'"
        )
    if settings.address is not None and "://" in settings.address:
        raise InvalidValueError(
            f"`ray_address` must be HOST:PORT or auto, got {settings.address!r}. Ray Client does "
            "not run Tune from outside a cluster: start the search on a machine that belongs to "
            "it (ray start --address HOST:PORT) and give --ray-address HOST:PORT."
        )


def _authentication(settings: RaySettings) -> dict[str, str]:
    """A password for a private cluster, which Ray would otherwise keep in the user's home."""
    if settings.address is not None:
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _short_folder() -> str | None:
    """Where sockets fit: their paths may have 107 characters, of which Ray takes some 80."""
    return None if len(tempfile.gettempdir()) <= 12 else "/tmp"
