"""Reads tables of words: CSV, TSV and Parquet files, and JSON objects, one a line.

A file comes from outside: it is bounded by the memory of the machine, read as UTF-8 text, and all
lines that are wrong are told at once, with their numbers. What the columns mean is for the kind of
data to know.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policysearch.data.dataset import listed, printable
from policysearch.data.parquet_file import parquet_columns, read_parquet
from policysearch.data.resize import check_memory
from policysearch.errors import DataError, unknown_name

PARQUET = ".parquet"
SUFFIXES = (".csv", ".tsv", ".jsonl", PARQUET)
_MAX_PROBLEMS = 10
_MAX_HEADER = 1 << 20
_DELIMITERS = {".csv": ",;\t", ".tsv": "\t"}
#: Memory for each byte of a file: Python's strings and lists.
_EXPANSION = 6


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it is written.

    Attributes:
      columns: Names of the columns.
      rows: Cells of each row, as many as columns; values of JSON as they are written.
      lines: Number of the line that each row begins in, from 1; of Parquet, of the row.
      name: Of the file, for messages.
    """

    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    name: str

    def column(self, name: str, option: str) -> list[str]:
        """Cells of a column.

        Raises:
          DataError: When there is no such column; names the nearest one, and the option.
        """
        if name not in self.columns:
            problem = unknown_name("column", name, self.columns, self.name)
            raise DataError(f"{problem} Name one with {option}.")
        i = self.columns.index(name)
        return [row[i] for row in self.rows]


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return path.suffix.lower() in SUFFIXES


def columns_of(path: Path) -> tuple[str, ...]:
    """Names of the columns, from the first line alone; none when that cannot be read."""
    if path.suffix.lower() == PARQUET:
        return parquet_columns(path)
    try:
        with path.open("rb") as file:
            first = file.readline(_MAX_HEADER).decode("utf-8-sig", errors="replace")
        if path.suffix.lower() == ".jsonl":
            found = _cells(first, ())
            return () if isinstance(found, str) else tuple(found)
        rows = csv.reader([first], delimiter=_delimiter(first, path.suffix.lower()))
        return tuple(cell.strip() for cell in next(rows, []))
    except (OSError, csv.Error):
        return ()


def read_table(path: Path) -> Table:
    """Reads a `.csv`, `.tsv`, `.jsonl` or `.parquet` file.

    The first line of a CSV or TSV file names the columns; a CSV file may be cut by commas,
    semicolons or tabs. JSON objects all have the same keys.

    Raises:
      DataError: Naming up to ten lines that are wrong and why.
    """
    name = printable(path.name)
    if path.suffix.lower() == PARQUET:
        columns, rows = read_parquet(path)
        columns = _checked_columns(columns, name)
        if not rows:
            raise DataError(f"'{name}' must hold rows, got none.")
        return Table(columns, rows, list(range(1, len(rows) + 1)), name)
    try:
        check_memory(path.stat().st_size * _EXPANSION, f"'{name}'")
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".jsonl":
                return _read_objects(file, name)
            first = file.readline()
            file.seek(0)
            return _read_rows(file, _delimiter(first, path.suffix.lower()), name)
    except UnicodeDecodeError:
        raise DataError(_undecodable(path)) from None
    except OSError as error:
        raise DataError(f"'{printable(path)}' cannot be read: {error.strerror}.") from error


def _undecodable(path: Path) -> str:
    """Says which bytes are no UTF-8: decoding in blocks does not tell."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = f"byte {line[error.start]:#04x} at column {error.start + 1}"
                return (
                    f"'{printable(path)}' must be text in UTF-8, got {byte} of line {number}. "
                    "Save it as UTF-8, for example: iconv -f LATIN1 -t UTF-8 OLD > NEW"
                )
    return f"'{printable(path)}' must be text in UTF-8; it is cut off within a character."


def _delimiter(first: str, suffix: str) -> str:
    return max(_DELIMITERS.get(suffix, ","), key=first.count)


def _read_rows(file: Iterator[str], delimiter: str, name: str) -> Table:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    columns: tuple[str, ...] = ()
    rows: list[list[str]] = []
    lines: list[int] = []
    problems: list[str] = []
    begins = 1
    try:
        for row in reader:
            if not columns:
                columns = _checked_columns([cell.strip() for cell in row], name)
            elif row and len(row) != len(columns):
                problems.append(f"line {begins}: {len(row)} cells for {len(columns)} columns")
            elif any("\0" in cell for cell in row):
                problems.append(f"line {begins}: a NUL byte, which no text holds")
            elif row:
                rows.append(row)
                lines.append(begins)
            begins = reader.line_num + 1
            if len(problems) >= _MAX_PROBLEMS:
                break
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: {error}")
    if problems:
        is_text = not all("NUL" in problem for problem in problems)
        advice = "Put quotes around cells with a comma or line break." if is_text else ""
        raise _wrong_lines(name, problems, advice)
    if not rows:
        raise DataError(f"'{name}' must hold a line of column names and rows below, got no row.")
    return Table(columns, rows, lines, name)


def _checked_columns(columns: Sequence[str], name: str) -> tuple[str, ...]:
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice or not all(columns):
        got = f"{listed(twice)} twice" if twice else "one without a name"
        raise DataError(f"Every column of '{name}' must have a name of its own, got {got}.")
    return tuple(columns)


def _read_objects(file: Iterator[str], name: str) -> Table:
    columns: tuple[str, ...] = ()
    rows: list[list[str]] = []
    lines: list[int] = []
    problems: list[str] = []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        cells = _cells(line, columns)
        if isinstance(cells, str):
            problems.append(f"line {number}: {cells}")
        else:
            columns = columns or tuple(cells)
            rows.append([cells[column] for column in columns])
            lines.append(number)
        if len(problems) >= _MAX_PROBLEMS:
            break
    if problems:
        raise _wrong_lines(name, problems, "Write one JSON object a line, all with the same keys.")
    if not rows:
        raise DataError(f"'{name}' must hold one JSON object a line, got none.")
    return Table(columns, rows, lines, name)


def _cells(line: str, columns: tuple[str, ...]) -> dict[str, str] | str:
    """Cells of a JSON object by column, or what is wrong with it."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})" if isinstance(error, ValueError) else "nested too deeply"
    if not isinstance(found, Mapping) or not found:
        return f"a JSON object is needed, got {type(found).__name__}"
    if columns and set(found) != set(columns):
        missing = [key for key in columns if key not in found]
        more = [key for key in found if key not in columns]
        return f"no key {listed(missing)}" if missing else f"new key {listed(more)}"
    return {key: _cell(value) for key, value in found.items()}


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _wrong_lines(name: str, problems: Sequence[str], hint: str) -> DataError:
    shown = "\n".join(f"  {problem}" for problem in problems[:_MAX_PROBLEMS])
    more = "\n  ... reading stopped there" if len(problems) >= _MAX_PROBLEMS else ""
    return DataError(f"'{name}' has lines that are wrong:\n{shown}{more}\n{hint}".rstrip())
