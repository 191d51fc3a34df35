"""A guardian: a small process that sees to it that nothing outlives the driver or its child.

Two processes lead one process group: a guardian, which imports nothing heavy and only watches, and
its child, which does the work. When the driver is gone or says so with SIGTERM, the guardian ends
all that descends from it, even while the child is stopped or hangs in C code. When the child ends
the guardian does so too, and then ends in the same way, so that the driver sees its exit code. A
process that a task started and that left the group (by `setsid`, as daemons do) does not escape:
orphans become children of the guardian.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

#: Processes that start others as fast as they are killed are given up after this time.
_END_SECONDS = 2.0


def begin_guarded(
    parent: int, descriptors: Sequence[int], at_end: Callable[[], None] = lambda: None
) -> None:
    """Goes on in a child process; this one becomes its guardian and never returns.

    Args:
      parent: Process id of the driver.
      descriptors: Files that only the child needs.
      at_end: Called by the guardian when everything below it has ended.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    child = os.fork()
    if child:
        for descriptor in descriptors:
            os.close(descriptor)
        _guard(child, parent, at_end)
    _die_with_parent()
    faulthandler.enable()


def _die_with_parent() -> None:
    """Has Linux kill this process when its guardian is killed."""
    set_death_signal = 1
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)


def _guard(child: int, parent: int, at_end: Callable[[], None]) -> NoReturn:
    """Ends like the child, or when the driver is gone or asks for it; leaves nothing behind."""
    _adopt_orphans()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signals: set[int] = set()
    signal.signal(signal.SIGTERM, lambda number, _: signals.add(number))
    while True:
        status = _reap().get(child)
        if status is not None or signals or os.getppid() != parent:
            end_descendants()
            at_end()
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
    while (pids := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def descendants(pid: int) -> list[int]:
    """Living processes below a process; none where there is no `/proc`."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    children.setdefault(int(parent), []).append(int(name))
    found, level = [], [pid]
    while level:
        level = [child for parent in level for child in children.get(parent, ())]
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
