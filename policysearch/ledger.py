"""The ledger: the append-only record of a run, and the truth about it.

One JSON object a line, synced to disk before anything else happens with it. The first line is the
header. A line cut off by a crash or a full disk is removed before the next append; damage
anywhere else is an error that leaves the file as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from policysearch.errors import FormatError, RunError

LEDGER_FORMAT = "policysearch.ledger"
LEDGER_VERSION = 1


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
            self._lock = _take_lock(path.with_name(f".{path.name}.lock"))
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self.records = read_ledger(path) if path.exists() else []
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o644)
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

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds a record; when this returns it is on disk.

        Raises:
          RunError: When the disk refuses. What was recorded before is intact.
          ValueError: For a number that is not finite; nothing is written.
        """
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # Characters that UTF-8 has no bytes for (file names have them) become JSON escapes.
        raw = line.encode(errors="backslashreplace") + b"\n"
        position = os.fstat(self._file).st_size
        try:
            _write_all(self._file, raw)
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, position)
            raise self._unwritable(error) from error
        self.records.append(json.loads(line))

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
        raw = self._path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            os.ftruncate(self._file, whole)
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


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Reads all whole records; works while the owner goes on appending.

    Raises:
      FormatError: When a whole line is not a JSON object, or the header is not ours.
    """
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last newline is torn
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise FormatError(
                f"ledger '{path}'",
                [
                    f"line {number} is damaged. The file was left as it is; "
                    "restore it or start anew."
                ],
            )
        records.append(record)
    if records:
        _check_header(path, records[0])
    return records


def _check_header(path: Path, header: Mapping[str, Any]) -> None:
    version = header.get("version")
    is_version = isinstance(version, int) and not isinstance(version, bool) and version >= 1
    if header.get("format") != LEDGER_FORMAT or not is_version:
        raise FormatError(f"ledger '{path}'", ["line 1 is not the header of a policysearch run."])
    if header["version"] > LEDGER_VERSION:
        raise FormatError(f"ledger '{path}'", ["it was written by a newer policysearch."])


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


def _take_lock(path: Path) -> int:
    """Locks the run for this process; the kernel frees the lock when the owner dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(handle, 200).decode(errors="replace").strip() or "another process"
        os.close(handle)
        raise RunError(
            f"The run '{path.parent}' is owned by {owner}, which is alive. Wait for it or stop it."
        ) from None
    except OSError:
        os.close(handle)
        raise
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return handle
