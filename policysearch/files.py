"""Reading and writing files so that neither a hostile file nor a crash does harm.

Reads are bounded in size; JSON and YAML are parsed to plain data only. Writes go to a temporary
name, are synced and renamed: a reader sees the old file or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from policysearch.errors import FormatError, InvalidValueError, PolicySearchError

MAX_TEXT_BYTES = 8 * 1024 * 1024


def write_atomic(path: Path, data: str | bytes) -> None:
    """Writes a whole file or nothing; raises `OSError` with its name when the disk refuses."""
    raw = data.encode() if isinstance(data, str) else data
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def json_text(data: Mapping[str, Any]) -> str:
    """Strict JSON, readable by people, that can always be written as UTF-8.

    File names with undecodable bytes hold characters that UTF-8 has no bytes for; a text with
    such characters is escaped to ASCII.

    Raises:
      ValueError: For NaN and infinities.
    """
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(data, indent=1, allow_nan=False) + "\n"
    return text


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Writes JSON atomically, readable by people."""
    write_atomic(path, json_text(data))


def read_text(path: Path, what: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Reads a UTF-8 text of at most `max_bytes`; raises `PolicySearchError` with the reason."""
    if "\0" in str(path):
        raise InvalidValueError(f"{what} {str(path)!r} is not a possible file name.")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InvalidValueError(f"{what} '{path}' is not a file.")
        if size > max_bytes:
            raise FormatError(
                f"{what} '{path}'",
                [f"the file must be at most {max_bytes:,} bytes, got {size:,}."],
            )
        return path.read_bytes().decode("utf-8-sig")  # some editors put a byte order mark
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

    def finite(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            raise ValueError(f"numbers must be finite, got {digits[:80]}")
        return value

    def refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise ValueError(f"key {key[:80]!r} is given twice in one object")
            result[key] = value
        return result

    try:
        return json.loads(
            text,
            parse_constant=refuse_constant,
            parse_float=finite,
            object_pairs_hook=refuse_twice,
        )
    except json.JSONDecodeError as error:
        is_cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        hint = " The file seems to be cut off." if is_cut else ""
        raise FormatError(
            what, [f"not JSON: {error.msg} at line {error.lineno} column {error.colno}.{hint}"]
        ) from None
    except RecursionError:
        raise FormatError(what, ["it is nested too deeply."]) from None
    except ValueError as error:
        raise FormatError(what, [f"{error}."]) from None
