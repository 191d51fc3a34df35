"""A program of the user's that runs beside us: what it prints, how it ends, and its end by force.

It leads a process group of its own, so that all it started can be ended with it. The guardian of
the worker (`policysearch.engines.worker`) ends it where the worker is killed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

#: Bytes of output that are kept, at most twice as many for a while: the last ones.
KEPT_BYTES = 64 * 1024
#: A longer line is no result.
MAX_LINE_BYTES = 64 * 1024
#: What it started may still write after its end; then it is not waited for.
_LINGER_SECONDS = 1.0
#: From the request to end to the end by force.
_GRACE_SECONDS = 3.0
_CUT = b"[earlier output left out]\n"


class Program:
    """A running program; leaving the context ends it and all of its process group.

    Args:
      arguments: Program and arguments; no shell.
      log: Where the end of its output, both streams, is kept.

    Raises:
      OSError: When it cannot be started.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # A Python program would keep its reports to itself until it ends.
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            # Without /proc a guardian sees its own group only: there it stays in that.
            start_new_session=os.path.isdir("/proc"),
        )
        self._log = _Log(log)

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        self._log.close()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def lines(self) -> Iterator[bytes]:
        """Lines of its standard output as they come, until it has ended."""
        pending = b""
        for is_output, chunk in self._chunks():
            self._log.write(chunk)
            if is_output:
                *whole, pending = (pending + chunk).split(b"\n")
                yield from (line for line in whole if len(line) <= MAX_LINE_BYTES)
                pending = pending[: MAX_LINE_BYTES + 1]
        if pending and len(pending) <= MAX_LINE_BYTES:
            yield pending

    def wait(self) -> int:
        """Waits for its end and ends what it left behind; the exit code, negative for a signal."""
        while not self._has_ended():
            time.sleep(0.01)
        self._end()
        return int(self._process.returncode)

    def last_words(self, n_lines: int = 20) -> str:
        """The last lines of its output."""
        return "\n".join(self._log.tail().decode(errors="replace").strip().splitlines()[-n_lines:])

    def _chunks(self) -> Iterator[tuple[bool, bytes]]:
        """What it writes, and whether it is standard output."""
        process, ended = self._process, 0.0
        with selectors.DefaultSelector() as selector:
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select(0.1):
                    chunk = os.read(key.fd, 65536)
                    if chunk:
                        yield key.fileobj is process.stdout, chunk
                    else:
                        selector.unregister(key.fileobj)
                if self._has_ended():
                    ended = ended or time.monotonic()
                    if time.monotonic() > ended + _LINGER_SECONDS:
                        return

    def _end(self) -> None:
        """Ends the group: asks first, while the program still runs."""
        if self._process.returncode is not None:
            return
        deadline = time.monotonic() + _GRACE_SECONDS
        if not self._has_ended():
            self._signal(signal.SIGTERM)
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _has_ended(self) -> bool:
        """Whether it has; it stays to be reaped, so that its group keeps its number."""
        if self._process.returncode is not None or not hasattr(os, "waitid"):
            return self._process.poll() is not None
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, options) is not None

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.path.isdir("/proc"):
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)


class _Log:
    """A file that holds the end of what was written to it."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("w+b", buffering=0)
        self._size = 0

    def write(self, chunk: bytes) -> None:
        self._size += self._file.write(chunk)
        if self._size > 2 * KEPT_BYTES:
            kept = self.tail()
            self._file.seek(0)
            self._file.truncate()
            self._size = self._file.write(_CUT + kept)

    def tail(self) -> bytes:
        self._file.seek(max(0, self._size - KEPT_BYTES))
        kept = self._file.read(KEPT_BYTES)
        self._file.seek(self._size)
        return kept

    def close(self) -> None:
        self._file.close()
