"""Small objectives for worker processes: each does one thing that real trainings do or suffer.

A task's key says what its evaluation does. The module imports neither torch nor numpy, so that
workers start within a fraction of a second.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from policysearch.policy import Policy
from policysearch.trial import Outcome, Replicate, Task

SCORE = 0.5


def task(key: str) -> Task:
    return Task(key, Policy(()), (Replicate(0, 1),), 1)


class Actions:
    """Does what the part of the key before `/` says; notes every evaluation in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def evaluate(self, task: Task) -> Outcome:
        action, self.argument, *_ = task.key.split("/")
        self.note("evaluated", task.key, *self.pids())
        return getattr(self, action)()

    def pids(self) -> tuple[int, int]:
        """Of the worker and of its guardian, which leads the group."""
        return os.getpid(), os.getpgid(0)

    def note(self, kind: str, *fields: object) -> None:
        with (self.folder / kind).open("a") as file:
            file.write(json.dumps([*fields, time.time()]) + "\n")

    def good(self) -> Outcome:
        return Outcome("complete", SCORE, ({"score": SCORE, "accuracy": 0.25},), seconds=1.5)

    def slow(self) -> Outcome:
        time.sleep(float(self.argument))
        return self.good()

    def waits(self) -> Outcome:
        """Until a test says so."""
        while not (self.folder / "go").exists():
            time.sleep(0.02)
        return self.good()

    def raises(self) -> Outcome:
        raise LookupError("no such thing")

    def raises_allocation(self) -> Outcome:
        raise ValueError("no allocation plan for seats")

    def exits_by_sys(self) -> Outcome:
        sys.exit(4)

    def exits(self) -> Outcome:
        print("about to leave", flush=True)
        os._exit(7)

    def kills_itself(self) -> Outcome:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def segfaults(self) -> Outcome:
        ctypes.string_at(0)
        raise AssertionError

    def once_dies(self) -> Outcome:
        """Dies at the first attempt only."""
        mark = self.folder / "died"
        if not mark.exists():
            mark.touch()
            os._exit(7)
        return self.good()

    def sleeps(self) -> Outcome:
        time.sleep(1000)
        raise AssertionError

    def ignores_sigterm(self) -> Outcome:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return self.sleeps()

    def loops_in_c(self) -> Outcome:
        """Never lets the interpreter go: no signal handler and no other thread gets its turn."""
        ctypes.PyDLL(None).sleep(1000)
        raise AssertionError

    def burns_in_c(self) -> Outcome:
        sum(range(10**15))
        raise AssertionError

    def stops(self) -> Outcome:
        os.kill(os.getpid(), signal.SIGSTOP)
        return self.sleeps()

    def nan(self) -> Outcome:
        return Outcome("complete", float("nan"))

    def inf(self) -> Outcome:
        return Outcome("complete", float("-inf"))

    def nan_metric(self) -> Outcome:
        return Outcome("complete", 1.0, ({"score": 1.0, "accuracy": float("nan")},))

    def returns_none(self) -> Outcome:
        return None

    def returns_str(self) -> Outcome:
        return "0.5"

    def returns_str_score(self) -> Outcome:
        return Outcome("complete", "0.5")

    def returns_unpicklable(self) -> Outcome:
        return Outcome("complete", 0.5, ({"score": 0.5, "lock": threading.Lock()},))

    def returns_numpy(self) -> Outcome:
        import numpy as np

        return Outcome(
            "complete", np.float32(0.5), ({"score": np.float32(0.5), "n": np.int64(3)},)
        )

    def memory_error(self) -> Outcome:
        raise MemoryError

    def torch_like_memory(self) -> Outcome:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 B")

    def allocates(self) -> Outcome:
        """Asks for 30 GB under a limit, as a cluster sets one."""
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
        return Outcome("complete", float(len(bytearray(30_000_000_000))))

    def forks_and_returns(self) -> Outcome:
        self._child()
        return self.good()

    def forks_and_dies(self) -> Outcome:
        """The child holds a copy of the worker's socket to the driver."""
        self._child()
        os._exit(7)

    def forks_and_hangs(self) -> Outcome:
        self._child()
        return self.loops_in_c()

    def escapes_and_returns(self) -> Outcome:
        self._daemon()
        return self.good()

    def escapes_and_dies(self) -> Outcome:
        self._daemon()
        os._exit(7)

    def escapes_and_hangs(self) -> Outcome:
        self._daemon()
        return self.loops_in_c()

    def _daemon(self) -> None:
        """A process in a session and a group of its own, whose parent is gone."""
        ready, is_ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork() == 0:
                self.note("children", os.getpid())
                os.write(is_ready, b"x")
                os.execve(sys.executable, ["python", "-c", "import time; time.sleep(1000)"], {})
            os._exit(0)
        os.waitpid(pid, 0)
        os.read(ready, 1)

    def _child(self) -> None:
        pid = os.fork()
        if pid == 0:
            time.sleep(1000)
            os._exit(0)
        self.note("children", pid)
        self.note("children", subprocess.Popen(["sleep", "1000"]).pid)

    def prints(self) -> Outcome:
        print("stray" * 1000, flush=True)
        print("stray", file=sys.stderr, flush=True)
        os.write(1, b"\xff\x00raw")
        sys.stdin.read()
        return self.good()

    def prints_then_dies(self) -> Outcome:
        sys.stderr.write("x" * 100_000 + "the last words")
        sys.stderr.flush()
        os._exit(3)

    def says_much(self) -> Outcome:
        raise ValueError("x" * 10**6 + "end")


class Unloadable:
    """Cannot be rebuilt in a worker."""

    def __reduce__(self):
        return _refuse, ()


def _refuse() -> None:
    raise ImportError("this machine has no such library")


class DiesAtStart:
    """Kills the first `n` workers that load it."""

    def __init__(self, folder: Path, n: int) -> None:
        self.folder, self.n = folder, n

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        n_before = len(list(self.folder.glob("start-*")))
        (self.folder / f"start-{os.getpid()}").touch()
        if n_before < self.n:
            os.kill(os.getpid(), signal.SIGKILL)

    def evaluate(self, task: Task) -> Outcome:
        del task
        return Outcome("complete", SCORE)
