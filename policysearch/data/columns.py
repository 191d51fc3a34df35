"""The columns of a table, and what rows of them must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.errors import DataError


@dataclass(frozen=True, slots=True)
class Column:
    """A column of rows.

    Attributes:
      name: As the file names it.
      levels: Its categories: cell `k` means `levels[k]`; `None`: it holds numbers.
    """

    name: str
    levels: tuple[str, ...] | None = None


def categorical_of(columns: Sequence[Column]) -> NDArray[np.bool_]:
    """Which columns hold categories, `(d,)`."""
    return np.array([column.levels is not None for column in columns], dtype=np.bool_)


def check_rows(x: NDArray[Any], columns: Sequence[Column] | None) -> None:
    """Refuses rows that do not fit their columns; raises `DataError`."""
    if columns is None or x.ndim != 2 or x.shape[1] != len(columns) or not len(columns):
        n = "no" if columns is None else len(columns)
        raise DataError(f"Rows must be (n, d) with d columns, got {x.shape} and {n} columns.")
    if x.dtype != np.float64:
        raise DataError(f"Rows must be float64, got {x.dtype.name}.")
    if np.isinf(x).any():
        raise DataError("Rows must be finite, or NaN where a value is missing, got infinity.")
    for column, cells in zip(columns, x.T, strict=True):
        known = cells[~np.isnan(cells)]
        if column.levels is None or not len(known):
            continue
        if (
            (known != np.round(known)).any()
            or known.min() < 0
            or known.max() >= len(column.levels)
        ):
            raise DataError(
                f"Column '{column.name}' must hold categories 0..{len(column.levels) - 1}, got "
                f"{known.min():g}..{known.max():g}."
            )
