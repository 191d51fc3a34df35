"""The ledger: the append-only record of a run, and the truth about it.

One JSON object a line, synced to disk before anything else happens with it. The first line is the
header. A line cut off by a crash or a full disk is removed before the next append; damage
anywhere else is an error that leaves the file as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import socket
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from policysearch.errors import RunError
from policysearch.ledger_lines import (
    LEDGER_FORMAT,
    LEDGER_VERSION,
    End,
    from_lines,
    to_lines,
)

__all__ = [
    "LEDGER_FORMAT",
    "LEDGER_VERSION",
    "Ledger",
    "LedgerReader",
    "owner_of",
    "read_ledger",
    "trial_key",
    "valid_records",
]

#: Somebody who looks whether there is an owner holds the lock for a moment.
_LOOK_SECONDS = 0.5


class Ledger:
    """A ledger opened for appending; exclusive to one live owner.

    Args:
      path: The file; made when absent.

    Raises:
      RunError: When another live process owns it; names the owner.
      FormatError: When a line other than the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        try:
            self._lock = _take_lock(_lock_of(path))
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o644)
            _, self._end = from_lines(path.read_bytes(), End(), path)
            self._cut_torn_tail()
            _sync_directory(path.parent)
        except OSError as error:
            self.close()
            raise self._unwritable(error) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records, read from the disk: a long run does not hold them in memory."""
        return read_ledger(self._path)

    def append(self, *records: Mapping[str, Any]) -> None:
        """Adds records, all or none; when this returns they are on disk, synced together.

        Raises:
          RunError: When the disk refuses. What was recorded before is intact.
          ValueError: For a number that is not finite; nothing is written.
        """
        if not records:
            return
        raw, end = to_lines(records, self._end)
        try:
            _write_all(self._file, raw)
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end.n_bytes)
            raise self._unwritable(error) from error
        self._end = end

    def close(self) -> None:
        """Gives the ledger up."""
        for handle in (self._file, self._lock):
            with contextlib.suppress(OSError):
                os.close(handle)
        self._file = self._lock = -1

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(
            f"The ledger '{self._path}' cannot be written: {error.strerror}. All earlier "
            "results are safe; when it can be written, go on with: policysearch resume "
            f"{self._path.parent}"
        )

    def _cut_torn_tail(self) -> None:
        if os.fstat(self._file).st_size > self._end.n_bytes:
            os.ftruncate(self._file, self._end.n_bytes)
            os.fsync(self._file)


def _sync_directory(path: Path) -> None:
    """Makes a new file's entry in its directory as durable as its content."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


class LedgerReader:
    """Reads a ledger while its owner goes on appending; takes no lock.

    Args:
      path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = End()

    def read(self) -> list[dict[str, Any]]:
        """The whole records that were not read before; a line that is being written is left.

        Raises:
          FormatError: When a whole line is damaged, or the header is not ours.
        """
        with self._path.open("rb") as file:
            file.seek(self._end.n_bytes)
            records, self._end = from_lines(file.read(), self._end, self._path)
        return records


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Reads all whole records (see `LedgerReader`)."""
    return LedgerReader(path).read()


def trial_key(number: int) -> str:
    """Key of the task of a trial."""
    return f"trial/{number}"


def valid_records(records: Iterable[Mapping[str, Any]], event: str) -> list[dict[str, Any]]:
    """Records of one kind, in order, without those that a later `void` record took back."""
    found: list[dict[str, Any]] = []
    for record in records:
        if record.get("event") == event:
            found.append(dict(record))
        elif record.get("event") == "void":
            found = [r for r in found if _key(r) not in record.get("keys", ())]
    return found


def _key(record: Mapping[str, Any]) -> str:
    return str(record["key"]) if "key" in record else trial_key(record.get("number", -1))


def owner_of(path: Path) -> str | None:
    """Who owns a ledger, in words; `None` when no live process does.

    Looks by holding the lock for a moment, shared with others who look; `Ledger` waits for that.
    """
    try:
        handle = os.open(_lock_of(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _name_in(handle)
    finally:
        os.close(handle)
    return None


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _take_lock(path: Path) -> int:
    """Locks the run for this process; the kernel frees the lock when the owner dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + _LOOK_SECONDS
    try:
        while not _is_locked(handle):
            if time.monotonic() > deadline:
                raise RunError(
                    f"The run '{path.parent}' is owned by {_name_in(handle)}, which is alive. "
                    "Wait for it or stop it."
                )
            time.sleep(0.02)
    except BaseException:
        os.close(handle)
        raise
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, _own_name().encode())
    return handle


def _is_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _own_name() -> str:
    since = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"process {os.getpid()} on {socket.gethostname()} (user {_user()}, since {since})"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container need not know the name of its user
        return str(os.getuid())


def _name_in(handle: int) -> str:
    return os.pread(handle, 300, 0).decode(errors="replace").strip() or "another process"
