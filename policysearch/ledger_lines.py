"""How records become the lines of a ledger, and back.

A line is a JSON object. Since version 2 it ends with a short hash of itself and of all lines
before it, so that a record that was removed, added or changed in the middle is noticed; files of
version 1 are read and continued without.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policysearch.errors import FormatError

LEDGER_FORMAT = "policysearch.ledger"
LEDGER_VERSION = 2
_CHAINED_SINCE = 2
_CHAIN = b',"chain":"%s"}'
_CHAIN_LENGTH = len(_CHAIN % b"12345678")


@dataclass(frozen=True)
class End:
    """Where a ledger ends: what the next line continues.

    Attributes:
      n_lines: Lines so far.
      n_bytes: Their length.
      chain: Hash of all lines so far; `None` in a file of version 1.
    """

    n_lines: int = 0
    n_bytes: int = 0
    chain: bytes | None = b""


def to_lines(records: Sequence[Mapping[str, Any]], end: End) -> tuple[bytes, End]:
    """The lines of further records, and where the ledger ends with them.

    Raises:
      ValueError: For a number that is not finite.
    """
    lines = []
    for record in records:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # Characters that UTF-8 has no bytes for (file names have them) become JSON escapes.
        line = text.encode(errors="backslashreplace")
        chain = _link(end, record, line)
        if chain is not None:
            line = line[:-1] + _CHAIN % chain
        lines.append(line + b"\n")
        end = End(end.n_lines + 1, end.n_bytes + len(lines[-1]), chain)
    return b"".join(lines), end


def from_lines(raw: bytes, end: End, path: Path) -> tuple[list[dict[str, Any]], End]:
    """The records of further lines, and where the ledger ends with them.

    Args:
      raw: What stands in the file after `end`. What follows its last newline is torn, and left.
      end: Where the lines before it ended.
      path: The file, for messages.

    Raises:
      FormatError: When a whole line is no JSON object or does not belong after the line before
        it, or the first line is not a header that is known here.
    """
    records = []
    for line in raw.split(b"\n")[:-1]:
        record = _parsed(line)
        number = end.n_lines + 1
        if record is None:
            raise _damaged(path, f"line {number} is damaged.")
        if end.n_lines == 0:
            _check_header(path, record)
        chain = _link(end, record, line[:-_CHAIN_LENGTH] + b"}")
        if chain is not None and record.pop("chain", None) != chain.decode():
            raise _damaged(
                path,
                f"line {number} does not belong after line {number - 1}: one of them was changed, "
                "or a record between them was removed or added.",
            )
        records.append(record)
        end = End(number, end.n_bytes + len(line) + 1, chain)
    return records, end


def _link(end: End, record: Mapping[str, Any], line: bytes) -> bytes | None:
    if end.chain is None or (end.n_lines == 0 and record.get("version", 0) < _CHAINED_SINCE):
        return None
    return hashlib.sha256(end.chain + line).hexdigest()[:8].encode()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _damaged(path: Path, problem: str) -> FormatError:
    return FormatError(
        f"ledger '{path}'", [f"{problem} The file was left as it is; restore it or start anew."]
    )


def _check_header(path: Path, header: Mapping[str, Any]) -> None:
    version = header.get("version")
    is_version = isinstance(version, int) and not isinstance(version, bool) and version >= 1
    if header.get("format") != LEDGER_FORMAT or not is_version:
        raise FormatError(f"ledger '{path}'", ["line 1 is not the header of a policysearch run."])
    if header["version"] > LEDGER_VERSION:
        raise FormatError(f"ledger '{path}'", ["it was written by a newer policysearch."])
