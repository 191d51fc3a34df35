"""Reads time series from CSV in long form: one row per step, or per step and channel.

Columns by name, in any order: `series` (which one the row belongs to), `step` (a number that the
rows of a series are ordered by; steps are taken to be equally long), `label`; if wanted `group`
and `split` (`train`, `val`, `test`). Every other column is a channel, unless there are columns
`channel` and `value`. sktime's names `case_id`, `reading_id` and `dim_id` are known, too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from policysearch.data.dataset import Source, listed, printable
from policysearch.data.resize import check_memory
from policysearch.data.series import RawSeries, source_from_series
from policysearch.errors import DataError

_ALIASES = {
    "id": "series",
    "case_id": "series",
    "time": "step",
    "reading_id": "step",
    "dim_id": "channel",
    "dim": "channel",
    "class": "label",
}
_NEEDED = ("series", "step", "label")
_OTHERS = ("group", "split", "channel", "value")
_SPLITS = ("train", "val", "test")
_MISSING = frozenset({"", "?", "nan", "na"})
_MAX_PROBLEMS = 10


def is_long_form(path: Path) -> bool:
    """Whether a CSV file has the columns of series in long form."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            columns = _known(next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return set(_NEEDED) <= set(columns)


def load_series_csv(files: Mapping[str, Path], name: str) -> Source:
    """Loads series in long form.

    Args:
      files: By split, `train` at least; a single file may have a column `split` instead.
      name: For reports.

    Raises:
      DataError: Naming the lines that are wrong, up to ten of them.
    """
    parts: dict[str, RawSeries] = {}
    for split, path in files.items():
        for found, raw in _read(path, split, may_split=len(files) == 1).items():
            parts[found] = raw
    return source_from_series(parts, name=printable(name))


@dataclass
class _Series:
    """The rows of one series, as they were read."""

    label: str
    group: str
    split: str
    values: dict[tuple[float, str], float] = field(default_factory=dict)


def _known(columns: Sequence[str]) -> list[str]:
    """Names of columns in lower case, as this module calls them."""
    names = [column.strip().lower() for column in columns]
    return [_ALIASES.get(name, name) for name in names]


def _read(path: Path, split: str, *, may_split: bool) -> dict[str, RawSeries]:
    name = printable(path.name)
    try:
        check_memory(path.stat().st_size * 8, f"'{name}'")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            table = _Table(_known(next(rows, [])), split, name, may_split=may_split)
            found = table.read(rows)
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{printable(path)}' is not text in UTF-8: byte {error.start} cannot be decoded."
        ) from error
    except csv.Error as error:
        raise DataError(f"'{printable(path)}' is not readable CSV: {error}.") from error
    except OSError as error:
        raise DataError(f"'{printable(path)}' cannot be read: {error.strerror}.") from error
    return {
        part: _raw(found, part, table.has_groups)
        for part in dict.fromkeys(series.split for series in found.values())
    }


class _Table:
    """The columns of a file, and how its rows become series."""

    def __init__(self, columns: list[str], split: str, name: str, *, may_split: bool) -> None:
        missing = [column for column in _NEEDED if column not in columns]
        if missing:
            raise DataError(
                f"'{name}' must have the columns {', '.join(_NEEDED)}; missing: "
                f"{', '.join(missing)}; found: {listed(columns) or 'none'}."
            )
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise DataError(f"'{name}' must name each column once, got twice: {listed(twice)}.")
        self._columns = columns
        self._split = split
        self._name = name
        self._may_split = may_split
        self._is_long = "channel" in columns and "value" in columns
        plain = [c for c in columns if c not in (*_NEEDED, "group", "split")]
        self._channels = [] if self._is_long else plain
        if self._is_long and len(plain) > 2:
            extra = [c for c in plain if c not in _OTHERS]
            raise DataError(
                f"'{name}' has `channel` and `value`, so these columns say nothing: "
                f"{listed(extra)}. Leave them out."
            )
        if not plain:
            raise DataError(f"'{name}' must have a column of values, such as `value`.")
        self.has_groups = "group" in columns

    def read(self, rows: Iterator[list[str]]) -> dict[str, _Series]:
        """All series of the file by name, in the order of their first rows."""
        found: dict[str, _Series] = {}
        problems: list[str] = []
        for number, row in enumerate(rows, start=2):
            if not any(cell.strip() for cell in row):
                continue
            try:
                self._add(row, found)
            except ValueError as error:
                problems.append(f"line {number}: {error}")
                if len(problems) == _MAX_PROBLEMS:
                    break
        if problems:
            text = "\n  ".join(problems)
            raise DataError(f"'{self._name}' has rows that cannot be read:\n  {text}")
        if not found:
            raise DataError(f"'{self._name}' must hold series, found no rows.")
        return found

    def _add(self, row: list[str], found: dict[str, _Series]) -> None:
        if len(row) != len(self._columns):
            raise ValueError(f"there must be {len(self._columns)} cells, got {len(row)}.")
        cells = dict(zip(self._columns, (cell.strip() for cell in row), strict=True))
        series = found.setdefault(
            cells["series"],
            _Series(cells["label"], cells.get("group", ""), self._split_of(cells)),
        )
        if not cells["label"]:
            raise ValueError("the label is missing.")
        if cells["label"] != series.label:
            raise ValueError(
                f"series '{printable(cells['series'], 20)}' must have one label, got "
                f"'{printable(series.label, 20)}' and '{printable(cells['label'], 20)}'."
            )
        step = _number(cells["step"], "step")
        pairs = (
            [(cells["channel"], cells["value"])]
            if self._is_long
            else [(channel, cells[channel]) for channel in self._channels]
        )
        for channel, text in pairs:
            if (step, channel) in series.values:
                raise ValueError(
                    f"series '{printable(cells['series'], 20)}' has step {step:g} twice."
                )
            is_missing = text.lower() in _MISSING
            series.values[step, channel] = np.nan if is_missing else _number(text, channel)

    def _split_of(self, cells: Mapping[str, str]) -> str:
        if not self._may_split or "split" not in cells:
            return self._split
        split = cells["split"].lower()
        if split not in _SPLITS:
            raise ValueError(
                f"`split` must be one of {', '.join(_SPLITS)}, got '{printable(split, 20)}'."
            )
        return split


def _number(text: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.inf
    if not abs(value) < 3e38:  # beyond float32; NaN too
        raise ValueError(
            f"`{printable(column, 20)}` must be a finite number, got '{printable(text, 20)}'."
        )
    return value


def _raw(found: Mapping[str, _Series], split: str, has_groups: bool) -> RawSeries:
    mine = {name: series for name, series in found.items() if series.split == split}
    channels = sorted({channel for series in found.values() for _, channel in series.values})
    samples = []
    for series in mine.values():
        steps = sorted({step for step, _ in series.values})
        values = [
            [series.values.get((step, channel), np.nan) for step in steps] for channel in channels
        ]
        samples.append(np.array(values, dtype=np.float32))
    return RawSeries(
        samples,
        [series.label for series in mine.values()],
        [f"series '{name}'" for name in mine],
        [series.group for series in mine.values()] if has_groups else None,
    )
