"""Sessions of a run in processes of their own, and what of a run must not depend on them."""

import contextlib
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

from faults import driver

from policysearch.ledger import read_ledger

TIMINGS = {"at", "seconds", "rung_seconds", "attempts"}


class Session:
    """A driver process, forked so that it need not import everything again."""

    def __init__(
        self,
        out: Path,
        folder: Path,
        seconds: float = 0.0,
        fault_at: int | None = None,
        fault=driver.kill_after_appends,
        main=driver.main,
    ):
        self.log = folder / "log"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
            self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1)
            os.setsid()
            if fault_at is not None:
                fault(fault_at)
            main(out, folder, seconds)
            code = 0
        except BaseException:
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)  # the log has room
            traceback.print_exc()
        finally:
            os._exit(code)

    def wait(self, timeout_seconds: float = 120) -> int:
        """Waits for the end; returns the exit code, negative for a signal."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        raise AssertionError(f"The driver did not end: {self.log.read_text()}")

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def recorded(out: Path) -> list[str]:
    """Keys of all outcomes in the ledger."""
    path = out / "ledger.jsonl"
    records = read_ledger(path) if path.exists() else []
    return [
        r.get("key", f"trial/{r.get('number')}")
        for r in records
        if r.get("event") in {"trial", "task"}
    ]


def without_timings(value):
    if isinstance(value, dict):
        return {k: without_timings(v) for k, v in value.items() if k not in TIMINGS}
    return [without_timings(v) for v in value] if isinstance(value, list) else value


def result_of(out: Path) -> dict:
    """All that a run found, without times and without the order in which trainings ended."""
    records = read_ledger(out / "ledger.jsonl")
    outcomes = [without_timings(r) for r in records if r.get("event") in {"trial", "task"}]
    return {
        "header": without_timings(records[0]),
        "outcomes": sorted(outcomes, key=lambda r: str(r.get("key", r.get("number")))),
        "policy": without_timings(json.loads((out / "policy.json").read_text())),
        "verdict": without_timings(json.loads((out / "verdict.json").read_text())),
    }


def note_figures(name: str, figures: dict) -> None:
    """Adds what a test met to the file that `POLICYSEARCH_FAULTS` names, if it does."""
    if path := os.environ.get("POLICYSEARCH_FAULTS"):
        file = Path(path)
        known = json.loads(file.read_text()) if file.exists() else {}
        kills = os.environ.get("POLICYSEARCH_KILLS", "")
        command = f"POLICYSEARCH_KILLS={kills} POLICYSEARCH_FAULTS={file} pytest tests/faults"
        known |= {name: figures, "command": command}
        file.write_text(json.dumps(known, indent=1) + "\n")
