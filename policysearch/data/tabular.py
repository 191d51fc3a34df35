"""Loads rows of a table with a class each: numbers and categories as they are, nothing scaled.

A column is one of numbers when all its known training cells are numbers, and one of categories
else. What is learned here, the categories, is learned from the training split; scaling and
encoding are the proxy's, within each fold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.columns import Column
from policysearch.data.dataset import Dataset, Source, listed, printable
from policysearch.data.labels import array_groups, array_labels, numbered, sorted_labels
from policysearch.data.split_tables import (
    TableColumns,
    label_cells,
    label_column,
    read_tables,
)
from policysearch.data.table_file import Table
from policysearch.errors import DataError

#: How a missing cell is written, in lower case.
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
#: Share of numbers from which a column is one of numbers, and other cells are mistakes.
_MOSTLY_NUMBERS = 0.9
#: Words of a cell, on average, and share of different cells that make a column one of texts.
_TEXT_WORDS, _OFTEN_NEW = 4, 0.5
_MAX_LISTED = 5
#: Largest absolute number: the square of a larger one is no number.
MAX_NUMBER = 1e150


@dataclass(frozen=True)
class _Cells:
    """Cells of a column of one split.

    Attributes:
      texts: As written, without white space around.
      lines: Line of each.
      table: Name of the file.
    """

    texts: list[str]
    lines: list[int]
    table: str

    def known(self) -> list[str]:
        return [text for text in self.texts if text.lower() not in MISSING]

    def where(self, is_bad: Sequence[bool]) -> str:
        """Cells at fault with their lines."""
        bad = [
            f"'{printable(text, 30)}' in line {line}"
            for text, line, bad in zip(self.texts, self.lines, is_bad, strict=True)
            if bad
        ]
        return listed(bad, _MAX_LISTED)


def load_tabular(path: Path, columns: TableColumns, *, is_said: bool = False) -> Source:
    """Loads a table, or a folder with a table for each split.

    Args:
      path: The file or folder.
      columns: Which columns hold what.
      is_said: The user says that this is a table of columns, so that texts are not looked for.

    Raises:
      DataError: With the file, the cells or columns at fault and what to do.
    """
    tables, notices = read_tables(path)
    train = tables["train"]
    label = label_column(train, columns)
    groups = None
    if columns.group is not None:
        groups = train.column(columns.group, "--group-column")
    for name in columns.categorical:
        train.column(name, "--categorical-column")
        if name in (label, columns.group):
            what = "label" if name == label else "group"
            raise DataError(
                f"`--categorical-column` must name a column that rows are told apart by, got "
                f"'{printable(name)}', the {what} of '{train.name}'."
            )
    features = [name for name in train.columns if name not in (label, columns.group)]
    found: list[Column] = []
    x: dict[str, list[NDArray[np.float64]]] = {split: [] for split in tables}
    for name in features:
        cells = {split: _cells(table, name) for split, table in tables.items()}
        column = _column(name, cells, columns, notices, is_said=is_said)
        if column is not None:
            found.append(column)
            for split, part in cells.items():
                x[split].append(_numbers(part, column, split, notices))
    if not found:
        raise DataError(
            f"'{train.name}' must have columns beside the label '{printable(label)}' that rows "
            f"can be told apart by, got {listed(features) or 'none'}."
        )
    name = printable(path.resolve().name if path.is_dir() else path.stem)
    y, classes = numbered({k: label_cells(table, label) for k, table in tables.items()}, name)
    parts = {
        split: Dataset(
            x=np.stack(x[split], axis=1),
            y=y[split],
            classes=classes,
            groups=np.array(groups, dtype=object) if groups and split == "train" else None,
            names=tuple(f"{table.name}:{line}" for line in table.lines),
            modality="tabular",
            columns=tuple(found),
        )
        for split, table in tables.items()
    }
    return Source(notices=(_overview(found, label), *notices), name=name, **parts)


def source_from_tabular_arrays(
    arrays: Mapping[str, NDArray[Any]], *, name: str, notices: Sequence[str] = ()
) -> Source:
    """Builds a source from arrays named as in an `.npz` file: `(n, d)` numbers, NaN is missing.

    Raises:
      DataError: With the key, the rule, what was found and what to do.
    """
    splits = [split for split in ("train", "val", "test") if f"x_{split}" in arrays]
    x = {split: _number_array(arrays[f"x_{split}"], f"x_{split}", name) for split in splits}
    for split, rows in x.items():
        if rows.shape[1] != x["train"].shape[1]:
            raise DataError(
                f"`x_{split}` must have the {x['train'].shape[1]} columns of `x_train`, got "
                f"{rows.shape[1]} ({name})."
            )
    labels = {
        split: array_labels(arrays[f"y_{split}"], len(x[split]), f"y_{split}", name)
        for split in splits
    }
    y, classes = numbered(labels, name)
    groups = array_groups(arrays.get("groups"), len(x["train"]), name)
    columns = tuple(Column(f"column {j}") for j in range(x["train"].shape[1]))
    parts = {
        split: Dataset(
            x=x[split],
            y=y[split],
            classes=classes,
            groups=np.array(groups) if groups and split == "train" else None,
            modality="tabular",
            columns=columns,
        )
        for split in splits
    }
    return Source(notices=tuple(notices), name=name, **parts)


def _number_array(array: NDArray[Any], key: str, name: str) -> NDArray[np.float64]:
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "biuf":
        raise DataError(
            f"`{key}` must be rows of numbers (n, d), none of them 0, got {array.dtype} of "
            f"{array.shape} ({name})."
        )
    rows = array.astype(np.float64)
    is_bad = np.abs(rows) > MAX_NUMBER
    if is_bad.any():
        raise DataError(
            f"`{key}` must hold numbers up to {MAX_NUMBER:g}, or NaN where a value is missing, "
            f"got {rows[is_bad][0]:g}, first in row {int(is_bad.any(axis=1).argmax())} ({name})."
        )
    return rows


def _cells(table: Table, name: str) -> _Cells:
    texts = [cell.strip() for cell in table.column(name, "--modality text, if these are texts,")]
    return _Cells(texts, table.lines, table.name)


def _column(
    name: str,
    cells: Mapping[str, _Cells],
    columns: TableColumns,
    notices: list[str],
    *,
    is_said: bool,
) -> Column | None:
    """What a column is by its training cells; `None`: it says nothing, and a notice tells why."""
    known = cells["train"].known()
    shown = printable(name)
    if not known:
        notices.append(f"Column '{shown}' is left out: it has no known value in training.")
        return None
    is_number = [_as_number(text) is not None for text in known]
    is_categorical = name in columns.categorical
    if not is_categorical and all(is_number):
        return Column(name)
    if not is_categorical and sum(is_number) >= _MOSTLY_NUMBERS * len(known):
        raise _no_numbers(shown, cells["train"])
    levels = sorted_labels(set(known))
    if not is_categorical and len(levels) > max(20, _OFTEN_NEW * len(known)):
        n_words = sum(len(text.split()) for text in known) / len(known)
        if n_words >= _TEXT_WORDS and not is_said:
            raise DataError(
                f"Column '{shown}' of '{cells['train'].table}' seems to hold texts. Read it as "
                f"such with --text-column {name}, or the other columns with --modality tabular."
            )
        notices.append(
            f"Column '{shown}' is left out: it has {len(levels):,} different words in "
            f"{len(known):,} rows. To keep it: --categorical-column."
        )
        return None
    return Column(name, tuple(levels))


def _numbers(cells: _Cells, column: Column, split: str, notices: list[str]) -> NDArray[np.float64]:
    """Cells of a column as numbers; NaN where they are missing."""
    is_known = [text.lower() not in MISSING for text in cells.texts]
    if column.levels is None:
        found = [
            _as_number(t) if k else math.nan for t, k in zip(cells.texts, is_known, strict=True)
        ]
        if any(value is None for value in found):
            raise _no_numbers(printable(column.name), cells)
        values = np.array(found, dtype=np.float64)
        is_bad = np.abs(values) > MAX_NUMBER
        if is_bad.any():
            raise DataError(
                f"Column '{printable(column.name)}' of '{cells.table}' must hold numbers up to "
                f"{MAX_NUMBER:g}, got {cells.where(is_bad.tolist())}. Leave the cells empty."
            )
        return values
    number = {level: float(i) for i, level in enumerate(column.levels)}
    values = np.array([number.get(text, math.nan) for text in cells.texts])
    n_new = int(np.isnan(values).sum()) - is_known.count(False)
    if n_new:
        notices.append(
            f"{n_new:,} cells of column '{printable(column.name)}' in the {split} split hold "
            "categories that training has not; they count as missing."
        )
    return values


def _as_number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _no_numbers(shown: str, cells: _Cells) -> DataError:
    is_bad = [t.lower() not in MISSING and _as_number(t) is None for t in cells.texts]
    return DataError(
        f"Column '{shown}' of '{cells.table}' must hold numbers, got {cells.where(is_bad)}. "
        f"Correct these cells, leave them empty, or name it with --categorical-column {shown}."
    )


def _overview(columns: Sequence[Column], label: str) -> str:
    categorical = [column.name for column in columns if column.levels is not None]
    words = f", {len(categorical)} of categories ({listed(categorical)})" if categorical else ""
    return (
        f"Read as a table with {len(columns) - len(categorical)} columns of numbers{words}; "
        f"labels are in column '{printable(label)}'."
    )
