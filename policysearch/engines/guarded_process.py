"""The driver's end of a process under a guardian: its start, its socket, its output, its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

from policysearch.errors import RunError

#: A guardian ends this soon after its child, with the child's exit code.
END_SECONDS = 5.0
_TAIL_BYTES = 4000
#: A process imports exactly what the driver does: a file `random.py` in the current directory of
#: a user must not come before the standard library, as it would with `python -m`.
_BOOT = (
    "import importlib, sys; sys.path[:] = sys.argv[1].split(sys.argv[2]); "
    "importlib.import_module(sys.argv[3]).main(*sys.argv[4:])"
)


class GuardedProcess:
    """A fresh interpreter that calls `main` of a module, which goes on under a guardian.

    Args:
      module: Its `main` is called with the socket's descriptor, this process's id, the
        `descriptors` and the `words`, all as strings.
      descriptors: Open files that it is given.
      words: Further arguments.
      environment: Variables beside those of this process.

    Attributes:
      connection: This end of a socket to it.
      process: The guardian.
      started: When the process, or what it does now, began (`time.monotonic`).
    """

    def __init__(
        self,
        module: str,
        descriptors: Sequence[int],
        words: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        paths = dict.fromkeys([*sys.path, package_root])
        command = [sys.executable, "-c", _BOOT, os.pathsep.join(paths), os.pathsep, module]
        arguments = [theirs.fileno(), os.getpid(), *descriptors]
        self._output = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        fcntl.fcntl(self._output, fcntl.F_SETFL, os.O_APPEND)  # so that `cut_output` may cut it
        try:
            self.process = subprocess.Popen(
                [*command, *map(str, arguments), *words],
                pass_fds=[theirs.fileno(), *descriptors],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                env=os.environ | dict(environment or {}),
            )
        except OSError as error:
            ours.close()
            self._output.close()
            raise RunError(f"A worker process cannot be started: {error.strerror}.") from error
        finally:
            theirs.close()
        self.connection = Connection(ours.detach())
        self.started = time.monotonic()

    def seconds(self) -> float:
        """Seconds since `started`."""
        return time.monotonic() - self.started

    def cut_output(self) -> None:
        """Forgets what it printed so far."""
        self._output.truncate(0)

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
            self.wait_for_end(END_SECONDS)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connection.close()

    def forget(self) -> None:
        """Lets its output go."""
        self._output.close()


def how_ended(code: int) -> str:
    """What became of a process, from its exit code."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}"
