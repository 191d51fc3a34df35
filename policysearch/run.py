"""A run directory: its files, its ledger, and the loop that carries tasks through an engine.

Everything a run has learned is in the ledger. A task whose outcome is there is not run again, so
going on after an interruption is the same code as running for the first time.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from policysearch.config import SearchConfig, read_config, write_config
from policysearch.engines.base import Engine, Finished
from policysearch.errors import InvalidValueError, RunError
from policysearch.ledger import LEDGER_FORMAT, LEDGER_VERSION, Ledger, valid_records
from policysearch.trial import Outcome, Task

Progress = Callable[[Mapping[str, Any]], None]

#: So many failed tasks in a row mean that the setup is broken, not the policies.
MAX_FAILURES_IN_A_ROW = 5


class Interrupted(KeyboardInterrupt):
    """The user pressed Ctrl-C; everything finished is in the ledger."""


class StopRequest:
    """Ctrl-C, twice: the first asks to finish what runs, the second ends at once."""

    def __init__(self, progress: Progress) -> None:
        self._is_asked = False
        self._is_told = False
        self._progress = progress
        self._previous: Any = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def is_asked(self) -> bool:
        """Whether Ctrl-C was pressed; tells the progress when it is found out.

        The signal handler cannot: it may have come in the middle of a line being written.
        """
        if self._is_asked and not self._is_told:
            self._is_told = True
            self._progress({"event": "stopping"})
        return self._is_asked

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._is_asked:
            raise Interrupted
        self._is_asked = True


class Run:
    """An open run directory.

    Args:
      path: The directory.
      config: Its settings.
      header: What identifies the run's inputs; must equal the ledger's when there is one.
    """

    def __init__(self, path: Path, config: SearchConfig, header: Mapping[str, Any]) -> None:
        self.path = path
        self.config = config
        self.ledger = Ledger(path / "ledger.jsonl")
        try:
            self._check_header(header)
        except BaseException:
            self.ledger.close()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()

    def _check_header(self, header: Mapping[str, Any]) -> None:
        records = self.ledger.records
        if not records:
            self.ledger.append(
                {
                    "format": LEDGER_FORMAT,
                    "version": LEDGER_VERSION,
                    **header,
                    "versions": versions(),
                    "at": now(),
                }
            )
            return
        first = records[0]
        changed = [key for key, value in header.items() if first.get(key) != value]
        if changed:
            raise RunError(
                f"The run '{self.path}' cannot go on: {', '.join(changed)} changed since it was "
                f"started ({', '.join(f'{k}: {first.get(k)} -> {header[k]}' for k in changed)}). "
                "Restore it, or start a new run."
            )

    def records(self, event: str) -> list[dict[str, Any]]:
        """Records of one kind, in order, without those that were made void later."""
        return valid_records(self.ledger.records, event)

    def outcomes(self) -> dict[str, Outcome]:
        """Outcomes of plain tasks by key."""
        return {r["key"]: Outcome.from_dict(r) for r in self.records("task")}

    def record(self, event: str, *records: Mapping[str, Any]) -> None:
        """Appends records of one kind; they are on disk when this returns."""
        self.ledger.append(*({"event": event, **fields, "at": now()} for fields in records))

    def begin_rung(self, name: str, n_tasks: int, progress: Progress) -> None:
        """Tells that a rung begins, and writes it down once for those who follow the ledger."""
        rung = {"name": name, "of": n_tasks}
        if all((r["name"], r["of"]) != (name, n_tasks) for r in self.records("rung")):
            self.record("rung", rung)
        progress({"event": "rung", **rung})

    def void(self, keys: Iterable[str]) -> None:
        """Makes recorded failures void: when the run goes on, these tasks are tried again."""
        self.record("void", {"keys": list(keys)})

    def require_all(self, outcomes: Mapping[str, Outcome], of: str) -> None:
        """Refuses to go on without the score of every task of a comparison.

        Args:
          outcomes: By key.
          of: What they are part of, for the message.

        Raises:
          RunError: When any failed for good. They become void: `resume` tries them again.
        """
        failed = [key for key, outcome in outcomes.items() if outcome.state != "complete"]
        if failed:
            self.void(failed)
            first = outcomes[failed[0]]
            raise RunError(
                f"{len(failed)} of {len(outcomes)} trainings of {of} failed. "
                f"'{failed[0]}': {first.message.strip() or first.state}\n"
                f"They are tried again by: policysearch resume {self.path}"
            )

    def run_tasks(
        self, tasks: Iterable[Task], engine: Engine, stop: StopRequest, progress: Progress
    ) -> dict[str, Outcome]:
        """Runs all tasks that the ledger does not know yet; returns the outcomes of all."""
        wanted = list(tasks)
        known = self.outcomes()
        digests = {r["key"]: r.get("policy") for r in self.records("task")}
        open_tasks = [t for t in wanted if digests.get(t.key) != t.policy.digest()]
        waiting = list(reversed(open_tasks))
        n_running, n_done = 0, len(wanted) - len(open_tasks)
        failures = FailuresInARow(self)
        while waiting or n_running:
            is_stopping = stop.is_asked()
            if is_stopping and not n_running:
                raise Interrupted
            while waiting and n_running < engine.n_slots and not is_stopping:
                engine.submit(waiting.pop())
                n_running += 1
            ended = engine.wait(0.5)
            self.record("task", *map(_task_fields, ended))
            for finished in ended:
                n_running -= 1
                n_done += 1
                key, outcome = finished.task.key, finished.outcome
                known[key] = outcome
                told = {"state": outcome.state, "message": outcome.message}
                progress({"event": "task", "key": key, "done": n_done, "of": len(wanted), **told})
            failures.count((finished.task.key, finished.outcome) for finished in ended)
        return {task.key: known[task.key] for task in wanted}


def _task_fields(finished: Finished) -> dict[str, Any]:
    task = finished.task
    return {"key": task.key, "policy": task.policy.digest(), **finished.outcome.to_dict()}


class FailuresInARow:
    """Stops a run whose setup is broken: too many tasks failed, one after the other.

    These failures say nothing about their policies. They become void, so that `resume` tries them
    again when the setup is mended. Those of a generator are the fault of the policies that ask it,
    and count for nothing.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._keys: list[str] = []

    def count(self, ended: Iterable[tuple[str, Outcome]]) -> None:
        """Takes notice of all that ended together; raises `RunError` with the reason at enough."""
        outcome = None
        for key, outcome in ended:
            if outcome.failure == "generator":
                continue
            self._keys = [*self._keys, key] if outcome.state == "failed" else []
        if outcome is None or len(self._keys) < MAX_FAILURES_IN_A_ROW:
            return
        self._run.void(self._keys)
        raise RunError(
            f"{len(self._keys)} tasks failed in a row, so the run was stopped. The last one "
            f"({outcome.failure}):\n{outcome.message.strip()}\nThey are tried again by: "
            f"policysearch resume {self._run.path}"
        )


def free_directory(data: str, kind: str) -> Path:
    """A directory name that is not taken: `runs/NAME-1`, `runs/NAME-2`, ..."""
    stem = (
        re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(data.replace(":", "-")).stem).strip("-.") or "data"
    )
    number = 1
    while Path("runs", f"{stem}-{kind}{number}").exists():
        number += 1
    return Path("runs", f"{stem}-{kind}{number}")


def check_new_directory(path: Path) -> None:
    """Refuses a directory for a new run that holds something, before the work begins.

    Raises:
      InvalidValueError: For such a directory.
      RunError: When it cannot be read.
    """
    if (path / "ledger.jsonl").exists():
        raise InvalidValueError(
            f"`--out` must be a new directory, '{path}' is a run already. Go on with it: "
            f"policysearch resume {path}"
        )
    try:
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
            reason = "cannot be written to" if above.is_dir() else "is not a directory"
            raise InvalidValueError(f"`--out` cannot be made, got '{path}': '{above}' {reason}.")
        # Settings without a ledger: a run that ended before its first record, so nothing is lost.
        left = [p.name for p in path.iterdir()] if path.is_dir() else []
        if (path.exists() and not path.is_dir()) or set(left) - {"config.yaml"}:
            raise InvalidValueError(f"`--out` must be a new or empty directory, got '{path}'.")
    except OSError as error:
        raise RunError(f"The run directory '{path}' cannot be read: {error.strerror}.") from error


def create_run_directory(path: Path, config: SearchConfig) -> None:
    """Makes the directory of a new run and writes its settings.

    Raises:
      InvalidValueError: When the directory holds something already.
      RunError: When it cannot be written.
    """
    check_new_directory(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_config(path / "config.yaml", config)
    except OSError as error:
        raise RunError(f"The run directory '{path}' cannot be made: {error.strerror}.") from error


def open_config(path: Path) -> SearchConfig:
    """Settings of an existing run; raises `InvalidValueError` when `path` is none."""
    if not (path / "config.yaml").is_file():
        raise InvalidValueError(f"'{path}' is not a run directory: it holds no config.yaml.")
    return read_config(path / "config.yaml")


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    names = ("policysearch", "torch", "numpy", "numba", "optuna", "scikit-learn", "pillow")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def now() -> str:
    """Current time, UTC, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
