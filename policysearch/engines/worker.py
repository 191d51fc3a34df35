"""A worker process: builds its objective once, then evaluates the tasks it is sent.

Started by `policysearch.engines.local` as `python -m policysearch.engines.worker FD`, where FD is
a socket to the driver. It leads a process group of its own, so that the driver can end it with
all its children, and it ends itself when the driver is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection

from policysearch.objectives.base import Objective
from policysearch.trial import Outcome, Task

_PR_SET_PDEATHSIG = 1


def main(descriptor: int, n_threads: int, parent: int) -> None:
    """Serves tasks from the driver until it closes the connection."""
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    import torch

    torch.set_num_threads(n_threads)
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    connection = Connection(descriptor)
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    try:
        objective: Objective = connection.recv()
        connection.send(None)
        while True:
            task: Task = connection.recv()
            connection.send(_evaluate(objective, task))
    except (EOFError, ConnectionError, BrokenPipeError):
        return


def _evaluate(objective: Objective, task: Task) -> Outcome:
    try:
        return objective.evaluate(task)
    except MemoryError as error:
        return Outcome("failed", failure="memory", message=f"Out of memory: {error}")
    except Exception as error:
        text = str(error)
        kind = "memory" if "out of memory" in text.lower() or "alloc" in text.lower() else "error"
        return Outcome(
            "failed",
            failure="memory" if kind == "memory" else "error",
            message=traceback.format_exc(limit=20),
        )


def _die_with(parent: int) -> None:
    """Asks the kernel to end this process when the driver ends (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _watch_parent(parent: int) -> None:
    """Ends the whole group, children of the task included, when the driver is gone."""
    while True:
        threading.Event().wait(1.0)
        if os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
