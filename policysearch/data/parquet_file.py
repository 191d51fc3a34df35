"""Reads Parquet files as tables of words, with pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from policysearch.data.dataset import listed, printable
from policysearch.data.resize import check_memory
from policysearch.errors import DataError

#: Memory for a cell: a string of Python in a list.
_CELL_BYTES = 64


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(
            "Parquet files are read with pyarrow, which is not installed: "
            "pip install 'policysearch[parquet]'"
        ) from None
    return pyarrow


def parquet_columns(path: Path) -> tuple[str, ...]:
    """Names of the columns; none when the file cannot be read."""
    arrow = _pyarrow()
    try:
        return tuple(arrow.parquet.read_schema(path).names)
    except (OSError, arrow.ArrowException):
        return ()


def read_parquet(path: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    """Columns and rows of a Parquet file, every cell as text, missing ones empty.

    Raises:
      DataError: When it is damaged, or a column holds no words, numbers or truth values.
    """
    arrow = _pyarrow()
    name = printable(path.name)
    try:
        with arrow.parquet.ParquetFile(path) as file:
            n_cells = file.metadata.num_rows * max(1, file.metadata.num_columns)
            check_memory(n_cells * _CELL_BYTES, f"'{name}'")
            table = file.read()
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"'{printable(path)}' is not a readable Parquet file: {error}.") from error
    odd = [f"{f.name} ({f.type})" for f in table.schema if not _is_plain(arrow.types, f.type)]
    if odd:
        raise DataError(
            f"Columns of '{name}' must hold words, numbers or truth values, got {listed(odd)}. "
            "Leave these columns out, or turn them into such."
        )
    columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    return tuple(table.schema.names), [list(row) for row in zip(*columns, strict=True)]


def _is_plain(types: Any, kind: Any) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    tests = ("integer", "floating", "boolean", "string", "large_string", "string_view", "null")
    return any(getattr(types, f"is_{test}")(kind) for test in tests)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
