"""Tables as data come in: one file, or a folder with one for each split; and which column is what.

A folder may hold `train.csv` (or `.tsv`, `.jsonl`, `.parquet`) with `val` and `test` beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from policysearch.data.dataset import listed, printable
from policysearch.data.table_file import Table, is_table, read_table
from policysearch.data.walk import SPLIT_NAMES
from policysearch.errors import DataError

LABEL_COLUMNS = ("label", "class", "category", "target", "sentiment", "y")
_MAX_LISTED = 5


@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table hold what; `None`: by their names.

    Attributes:
      text: The texts, of a table of texts.
      label: The classes.
      group: What must not straddle a split; `None`: nothing.
      categorical: Columns of categories though their cells are numbers, or all different.
    """

    text: str | None = None
    label: str | None = None
    group: str | None = None
    categorical: tuple[str, ...] = ()


def tables_of(folder: Path) -> dict[str, list[Path]]:
    """Tables in a folder by split."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        split = SPLIT_NAMES.get(file.stem.lower())
        if split and is_table(file) and file.is_file():
            found.setdefault(split, []).append(file)
    return found


def has_tables(path: Path) -> bool:
    """Whether a folder holds a table of training samples."""
    return "train" in tables_of(path)


def read_tables(path: Path) -> tuple[dict[str, Table], list[str]]:
    """A table, or those of a folder by split, and what was taken for which split.

    Raises:
      DataError: With the file, the lines or columns at fault and what to do.
    """
    if not path.is_dir():
        return {"train": read_table(path)}, []
    files = tables_of(path)
    several = {split: found for split, found in files.items() if len(found) > 1}
    if several:
        split, found = next(iter(several.items()))
        raise DataError(
            f"'{printable(path)}' must hold one {split} table, got "
            f"{listed([file.name for file in found])}."
        )
    if "train" not in files:
        raise DataError(
            f"'{printable(path)}' must hold a table of training rows, such as train.csv, got "
            f"none of {listed(list(files)) or 'any split'}."
        )
    notices = []
    if len(files) > 1:
        notices = [f"'{printable(f[0].name)}' is the {split} split." for split, f in files.items()]
    return {split: read_table(found[0]) for split, found in files.items()}, notices


def guessed_column(
    table: Table, known: Sequence[str], what: str, option: str, but: str | None = None
) -> str:
    """The column that by its name holds texts or labels, or the only one that is left."""
    lower = {column.lower(): column for column in table.columns}
    found = [lower[name] for name in known if name in lower and lower[name] != but]
    if found:
        return found[0]
    left = [column for column in table.columns if column != but]
    if but is not None and len(left) == 1:
        return left[0]
    raise DataError(
        f"'{table.name}' has no column of {what} that is known by its name "
        f"({', '.join(known)}); its columns are {listed(table.columns)}. Name one with {option}."
    )


def label_column(table: Table, columns: TableColumns) -> str:
    """The column of labels: the one that is named, or known by its name."""
    return columns.label or guessed_column(table, LABEL_COLUMNS, "labels", "--label-column")


def label_cells(table: Table, label: str) -> list[str]:
    """The labels of a table; raises `DataError` naming the lines that have none."""
    labels = [cell.strip() for cell in table.column(label, "--label-column")]
    without = [line for line, cell in zip(table.lines, labels, strict=True) if not cell]
    if without:
        raise DataError(
            f"Every row of '{table.name}' must have a label, got none in column "
            f"'{printable(label)}' of {len(without):,} rows: lines "
            f"{listed(without, _MAX_LISTED)}. "
            "Remove them, or name another column with --label-column."
        )
    return labels
