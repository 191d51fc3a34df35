"""Loads texts with a class each: a table, a folder of tables, or a folder of `.txt` by class.

A table is a `.csv`, `.tsv` or `.jsonl` file with a column of texts and one of labels. A folder may
hold `train.csv` (or `.tsv`, `.jsonl`) with `val` and `test` beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policysearch.data.class_folder import find_classes
from policysearch.data.dataset import Dataset, Source, printable
from policysearch.data.image_file import IMAGES
from policysearch.data.labels import numbered
from policysearch.data.split_tables import (
    TableColumns,
    guessed_column,
    label_cells,
    label_column,
    read_tables,
    tables_of,
)
from policysearch.data.table_file import Table, columns_of
from policysearch.data.walk import FileKind
from policysearch.errors import DataError

TEXT_FILES = FileKind(frozenset({".txt"}), ("TXT",), "text", "texts")
TEXT_COLUMNS = ("text", "sentence", "review", "content", "document", "comment", "tweet", "title")
MAX_TEXT_BYTES = 1024 * 1024
_MAX_SOUNDED = 5000


@dataclass
class _Part:
    """A split as it is read."""

    texts: list[str]
    labels: list[str]
    names: list[str]
    groups: list[str] | None


def holds_texts(path: Path) -> bool:
    """Whether a table, or the training table of a folder, has a column known to hold texts."""
    files = tables_of(path).get("train", []) if path.is_dir() else [path]
    known = {column.lower() for file in files for column in columns_of(file)}
    return not known.isdisjoint(TEXT_COLUMNS)


def holds_text_files(path: Path) -> bool:
    """Whether `.txt` files lie in several folders below one, and no images among the first."""
    n_seen, n_folders = 0, 0
    for folder, _, names in os.walk(path):
        suffixes = {os.path.splitext(name)[1].lower() for name in names[:_MAX_SOUNDED]}
        if suffixes & IMAGES.suffixes:
            return False
        n_folders += Path(folder) != path and ".txt" in suffixes
        n_seen += len(names)
        if n_seen > _MAX_SOUNDED:
            break
    return n_folders > 1


def load_text_table(path: Path, columns: TableColumns) -> Source:
    """Loads a table, or a folder with a table for each split.

    Raises:
      DataError: With the file, the lines or columns at fault and what to do.
    """
    tables, notices = read_tables(path)
    parts = {}
    for split, table in tables.items():
        parts[split], said = _part(table, columns, is_group_read=split == "train")
        notices += [notice for notice in said if notice not in notices]
    name = printable(path.resolve().name if path.is_dir() else path.stem)
    return _source(parts, name, notices)


def load_text_folder(
    root: Path, *, skip_bad: bool = False, group_pattern: str | None = None
) -> Source:
    """Loads a folder of `.txt` files by class, with or without `train`, `val`, `test` above.

    Raises:
      DataError: With the files or folders at fault and what to do.
    """
    notices: list[str] = []
    found = find_classes(root, TEXT_FILES, group_pattern, notices)
    results = [_read_text(Path(item.path)) for item in found.items]
    found, texts = found.readable(results, skip_bad, notices)
    parts = found.parts(_as_array([text.value for text in texts]), modality="text")
    return Source(notices=tuple(notices), name=found.name, **parts)


@dataclass(frozen=True)
class _Text:
    """The content of a file; a plain string would be a reason why there is none."""

    value: str


def _read_text(path: Path) -> _Text | str:
    try:
        if os.path.getsize(path) > MAX_TEXT_BYTES:
            return f"larger than {MAX_TEXT_BYTES:,} bytes"
        return _Text(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return f"no UTF-8 text (byte {error.start})"
    except OSError as error:
        return error.strerror or str(error)


def _part(table: Table, columns: TableColumns, *, is_group_read: bool) -> tuple[_Part, list[str]]:
    """Texts, labels and groups of a table, and what was chosen by itself."""
    notices = []
    label = label_column(table, columns)
    text = columns.text or guessed_column(table, TEXT_COLUMNS, "texts", "--text-column", but=label)
    if columns.text is None or columns.label is None:
        notices.append(f"Texts are in column '{printable(text)}', labels in '{printable(label)}'.")
        if len(table.columns) > 2 and columns.text is None:
            notices[-1] += " If it is a table of columns: --modality tabular."
    labels = label_cells(table, label)
    texts = table.column(text, "--text-column")
    groups = None
    if columns.group is not None and is_group_read:
        groups = table.column(columns.group, "--group-column")
    if not any(text.strip() for text in texts):
        raise DataError(
            f"Column '{printable(text)}' of '{table.name}' must hold texts, got only empty cells."
        )
    names = [f"{table.name}:{line}" for line in table.lines]
    return _Part(texts, labels, names, groups), notices


def _source(parts: Mapping[str, _Part], name: str, notices: Sequence[str]) -> Source:
    y, classes = numbered({split: part.labels for split, part in parts.items()}, name)
    datasets = {
        split: Dataset(
            x=_as_array(part.texts),
            y=y[split],
            classes=classes,
            groups=None if part.groups is None else np.array(part.groups, dtype=object),
            names=tuple(part.names),
            modality="text",
        )
        for split, part in parts.items()
    }
    return Source(notices=tuple(notices), name=name, **datasets)


def _as_array(texts: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array
