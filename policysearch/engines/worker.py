"""A worker process: loads its objective once, then evaluates the tasks it is sent.

Started by `policysearch.engines.local`. Two processes lead one process group: a guardian, which
imports nothing heavy and only watches, and the worker, its child. When the driver is gone or says
so with SIGTERM, the guardian ends all that descends from it, even while the worker is stopped or
hangs in C code. When the worker ends the guardian does so too, and then ends in the same way, so
that the driver sees its exit code. A process that a task started and that left the group (by
`setsid`, as daemons do) does not escape: orphans become children of the guardian.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import mmap
import os
import pickle
import re
import resource
import select
import signal
import sys
import time
import traceback
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

from policysearch.trial import FailureKind, NotFiniteError, Outcome, Task

if TYPE_CHECKING:
    from policysearch.objectives.base import Objective

READY = b"ready"
#: A longer message, such as a traceback with a printed array in it, keeps its end.
MAX_MESSAGE_LENGTH = 10_000

#: Processes that start others as fast as they are killed are given up after this time.
_END_SECONDS = 2.0

_OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory"
    r"|(?:can(?:no|')t|unable to|failed to) allocate .{0,40}(?:memory|bytes|[KMGT]i?B)",
    re.IGNORECASE,
)


def main(descriptor: int, objective: int, n_threads: int, parent: int) -> None:
    """Serves tasks until the driver is gone.

    Args:
      descriptor: Socket to the driver.
      objective: File with the pickled objective.
      n_threads: Compute threads.
      parent: Process id of the driver.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    worker = os.fork()
    if worker:
        os.close(descriptor)
        os.close(objective)
        _guard(worker, parent)
    faulthandler.enable()
    connection = Connection(descriptor)
    try:
        _serve(connection, _load(objective), n_threads)
    except (EOFError, ConnectionError):  # the driver is gone: nobody wants an outcome
        os.killpg(0, signal.SIGKILL)


def _guard(worker: int, parent: int) -> NoReturn:
    """Ends like the worker, or when the driver is gone or asks for it; leaves nothing behind."""
    _adopt_orphans()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signals: set[int] = set()
    signal.signal(signal.SIGTERM, lambda number, _: signals.add(number))
    while True:
        status = _reap().get(worker)
        if status is not None or signals or os.getppid() != parent:
            end_descendants()
        if status is not None:
            _end_like(status)
        if signals or os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)
        if select.select([wake], [], [], 0.5)[0]:
            os.read(wake, 64)


def _adopt_orphans() -> None:
    """Makes descendants whose parents end children of this process, where Linux does that."""
    set_child_subreaper = 36
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def _reap() -> dict[int, int]:
    """Statuses of all children that ended since the last call, by process id."""
    statuses = {}
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            statuses[ended[0]] = ended[1]
    return statuses


def end_descendants() -> None:
    """Kills what descends from this process, and what that starts meanwhile."""
    deadline = time.monotonic() + _END_SECONDS
    while (pids := _descendants()) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def _descendants() -> list[int]:
    """Living processes below this one; none where there is no `/proc`."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    children.setdefault(int(parent), []).append(int(name))
    found, level = [], [os.getpid()]
    while level:
        level = [child for pid in level for child in children.get(pid, ())]
        found += level
    return found


def _end_like(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        with contextlib.suppress(OSError):  # SIGKILL has no handler to be reset
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def _load(descriptor: int) -> Objective:
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as packed:
        objective: Objective = pickle.loads(packed)
    os.close(descriptor)
    return objective


def _serve(connection: Connection, objective: Objective, n_threads: int) -> NoReturn:
    is_torch_set = _set_torch(n_threads)
    connection.send_bytes(READY)
    while True:
        task: Task = pickle.loads(connection.recv_bytes())
        is_torch_set = is_torch_set or _set_torch(n_threads)
        connection.send_bytes(evaluate(objective, task))


def _set_torch(n_threads: int) -> bool:
    """Pins threads and makes torch repeatable, if the objective uses torch."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return False
    torch.set_num_threads(n_threads)
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return True


def evaluate(objective: Objective, task: Task) -> bytes:
    """The outcome of a task as JSON, whatever the objective returns or raises.

    Plain data and not a pickle: the driver need not know the classes that a user's objective
    puts into its outcome, and nothing that the ledger could not hold gets that far.
    """
    try:
        return _packed(_plain(objective.evaluate(task)))
    except NotFiniteError as error:
        return _failed("not_finite", str(error))
    except MemoryError:
        return _failed("memory", f"Out of memory.\n{_traceback()}")
    except (Exception, SystemExit):
        text = _traceback()
        is_memory = _OUT_OF_MEMORY.search(text[text.rstrip().rfind("\n") + 1 :])
        return _failed("memory" if is_memory else "error", text)


def _plain(outcome: Any) -> Outcome:
    """The outcome with plain numbers for those of numpy or torch."""
    if not isinstance(outcome, Outcome):
        raise TypeError(
            f"An objective must return an Outcome, got {type(outcome).__name__}: {outcome!r:.200}"
        )
    return Outcome(
        state=outcome.state,
        score=None if outcome.score is None else float(outcome.score),
        metrics=tuple({str(k): float(v) for k, v in m.items()} for m in outcome.metrics),
        seconds=float(outcome.seconds),
        failure=outcome.failure,
        message=str(outcome.message)[-MAX_MESSAGE_LENGTH:],
        resampled=tuple(map(float, outcome.resampled)),
    )


def _packed(outcome: Outcome) -> bytes:
    return json.dumps(outcome.to_dict(), allow_nan=False).encode()


def _failed(kind: FailureKind, message: str) -> bytes:
    return _packed(Outcome("failed", failure=kind, message=message[-MAX_MESSAGE_LENGTH:]))


def _traceback() -> str:
    return traceback.format_exc(limit=-20)  # the innermost calls
