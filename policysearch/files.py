"""Reading and writing files so that neither a hostile file nor a crash does harm.

Reads are bounded in size; JSON and YAML are parsed to plain data only. Writes go to a temporary
name, are synced and renamed: a reader sees the old file or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from policysearch.errors import FormatError, InvalidValueError, PolicySearchError

MAX_TEXT_BYTES = 8 * 1024 * 1024


def write_atomic(path: Path, data: str | bytes) -> None:
    """Writes a whole file or nothing; raises `OSError` when the disk refuses."""
    raw = data.encode() if isinstance(data, str) else data
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_text(path: Path, what: str) -> str:
    """Reads a UTF-8 text of at most 8 MiB; raises `PolicySearchError` with the reason."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InvalidValueError(f"{what} '{path}' is not a file.")
        if size > MAX_TEXT_BYTES:
            raise FormatError(
                f"{what} '{path}'",
                [f"the file must be at most 8 MiB, got {size / 2**20:.0f} MiB."],
            )
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise InvalidValueError(f"{what} '{path}' does not exist.") from None
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{what} '{path}'", [f"the text must be UTF-8, bad byte at offset {error.start}."]
        ) from None
    except OSError as error:
        raise PolicySearchError(f"{what} '{path}' cannot be read: {error.strerror}.") from error


def parse_json(text: str, what: str) -> Any:
    """Parses strict JSON: no NaN or Infinity, no key twice, bounded depth."""

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"numbers must be finite, got {name}")

    def refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise ValueError(f"key {key[:80]!r} is given twice in one object")
            result[key] = value
        return result

    try:
        return json.loads(text, parse_constant=refuse_constant, object_pairs_hook=refuse_twice)
    except json.JSONDecodeError as error:
        hint = " The file seems to be cut off." if error.pos >= len(text.rstrip()) else ""
        raise FormatError(
            what, [f"not JSON: {error.msg} at line {error.lineno} column {error.colno}.{hint}"]
        ) from None
    except RecursionError:
        raise FormatError(what, ["it is nested too deeply."]) from None
    except ValueError as error:
        raise FormatError(what, [f"{error}."]) from None
