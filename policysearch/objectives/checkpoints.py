"""Checkpoints of trainings that may go on: a cache, from which nothing can be lost.

What is here can be made again from its key, so a file that is missing, torn or refused by a full
disk costs time and nothing else. Files lie in the run directory; a machine that does not see it
keeps what it made itself in memory.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import shutil
from pathlib import Path

from policysearch.files import write_atomic

#: In the run directory, while the search lasts.
FOLDER = "checkpoints"
#: What a process keeps in memory where there is no folder.
MAX_BYTES = 256 << 20


class Checkpoints:
    """Bytes by name.

    Args:
      run: The run directory; `None`: memory alone.
    """

    def __init__(self, run: Path | None = None) -> None:
        self._run = run
        self._memory: collections.OrderedDict[str, bytes] = collections.OrderedDict()

    def get(self, name: str) -> bytes | None:
        """What was kept under a name, whole; `None` when it is not here."""
        if name in self._memory:
            return self._memory[name]
        try:
            raw = b"" if self._run is None else (self._run / FOLDER / name).read_bytes()
        except OSError:
            return None
        digest, content = raw[:32], raw[32:]
        return content if hashlib.sha256(content).digest() == digest else None

    def keep(self, name: str, content: bytes) -> None:
        """Keeps bytes under a name as well as it can."""
        if self._run is not None and self._run.is_dir():
            with contextlib.suppress(OSError):
                (self._run / FOLDER).mkdir(exist_ok=True)
                digest = hashlib.sha256(content).digest()
                write_atomic(self._run / FOLDER / name, digest + content)
                return
        self._memory[name] = content
        while sum(map(len, self._memory.values())) > MAX_BYTES:
            self._memory.popitem(last=False)

    def drop(self, name: str) -> None:
        """Forgets a name."""
        self._memory.pop(name, None)
        if self._run is not None:
            with contextlib.suppress(OSError):
                (self._run / FOLDER / name).unlink()


def remove_checkpoints(run: Path) -> None:
    """Removes what a search has kept in its run directory."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
