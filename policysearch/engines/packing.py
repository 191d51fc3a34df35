"""Objectives on their way to other processes: pickled once, into a file without a name."""

from __future__ import annotations

import mmap
import pickle
import tempfile
from collections.abc import Callable
from typing import IO

from policysearch.errors import InvalidValueError, RunError
from policysearch.objectives.base import Objective


class Packed:
    """A pickled objective in a file without a name: shared by all workers, gone with us."""

    def __init__(self, write: Callable[[IO[bytes]], object]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the engine
        try:
            write(self._file)
            self._file.flush()
        except OSError as error:
            self._file.close()
            raise RunError(
                f"The data for the workers cannot be written to '{tempfile.gettempdir()}': "
                f"{error.strerror}. Make room there, or set TMPDIR to another place."
            ) from error
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def of(cls, objective: Objective) -> Packed:
        """Packs an objective; raises `InvalidValueError` when it cannot be pickled."""
        return cls(lambda file: _dump(objective, file))

    def fileno(self) -> int:
        """Descriptor of the file."""
        return self._file.fileno()

    def close(self) -> None:
        """Lets the file go."""
        self._file.close()


def _dump(objective: Objective, file: IO[bytes]) -> None:
    try:
        pickle.dump(objective, file, protocol=5)
    except OSError:
        raise
    except Exception as error:
        raise InvalidValueError(
            f"An objective must be picklable to be sent to workers: {error}. Define its class and "
            "functions at the top level of a module."
        ) from error


def mapped(descriptor: int) -> mmap.mmap:
    """The content of a `Packed` file."""
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
