"""Loads texts with a class each: a table, a folder of tables, or a folder of `.txt` by class.

A table is a `.csv`, `.tsv` or `.jsonl` file with a column of texts and one of labels. A folder may
hold `train.csv` (or `.tsv`, `.jsonl`) with `val` and `test` beside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policysearch.data.class_folder import find_classes
from policysearch.data.dataset import Dataset, Source, listed, printable
from policysearch.data.image_file import IMAGES
from policysearch.data.table_file import Table, columns_of, is_table, read_table
from policysearch.data.walk import SPLIT_NAMES, FileKind
from policysearch.errors import DataError

TEXT_FILES = FileKind(frozenset({".txt"}), ("TXT",), "text", "texts")
TEXT_COLUMNS = ("text", "sentence", "review", "content", "document", "comment", "tweet", "title")
LABEL_COLUMNS = ("label", "class", "category", "target", "sentiment", "y")
MAX_TEXT_BYTES = 1024 * 1024
_MAX_LISTED = 5
_MAX_SOUNDED = 5000


@dataclass(frozen=True)
class TextColumns:
    """Which columns of a table hold what; `None`: by their names.

    Attributes:
      text: The texts.
      label: Their classes.
      group: What must not straddle a split; `None`: nothing.
    """

    text: str | None = None
    label: str | None = None
    group: str | None = None


@dataclass
class _Part:
    """A split as it is read."""

    texts: list[str]
    labels: list[str]
    names: list[str]
    groups: list[str] | None


def holds_texts(path: Path) -> bool:
    """Whether a table, or the training table of a folder, has a column known to hold texts."""
    files = _tables_of(path).get("train", []) if path.is_dir() else [path]
    known = {column.lower() for file in files for column in columns_of(file)}
    return not known.isdisjoint(TEXT_COLUMNS)


def has_tables(path: Path) -> bool:
    """Whether a folder holds a table of training samples."""
    return "train" in _tables_of(path)


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


def _tables_of(folder: Path) -> dict[str, list[Path]]:
    """Tables in a folder by split."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        split = SPLIT_NAMES.get(file.stem.lower())
        if split and is_table(file) and file.is_file():
            found.setdefault(split, []).append(file)
    return found


def load_text_table(path: Path, columns: TextColumns = TextColumns()) -> Source:
    """Loads a table, or a folder with a table for each split.

    Raises:
      DataError: With the file, the lines or columns at fault and what to do.
    """
    files = {"train": path}
    if path.is_dir():
        tables = _tables_of(path)
        several = {split: found for split, found in tables.items() if len(found) > 1}
        if several:
            split, found = next(iter(several.items()))
            raise DataError(
                f"'{printable(path)}' must hold one {split} table, got "
                f"{listed([file.name for file in found])}."
            )
        files = {split: found[0] for split, found in tables.items()}
    notices = [f"'{printable(file.name)}' is the {split} split." for split, file in files.items()]
    parts = {}
    for split, file in files.items():
        table = read_table(file)
        parts[split], said = _part(table, columns, is_group_read=split == "train")
        notices += [notice for notice in said if notice not in notices]
    name = printable(path.resolve().name if path.is_dir() else path.stem)
    return _source(parts, name, notices if len(files) > 1 else notices[1:])


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


def _part(table: Table, columns: TextColumns, *, is_group_read: bool) -> tuple[_Part, list[str]]:
    """Texts, labels and groups of a table, and what was chosen by itself."""
    notices = []
    label = columns.label or guessed_column(table, LABEL_COLUMNS, "labels", "--label-column")
    text = columns.text or guessed_column(table, TEXT_COLUMNS, "texts", "--text-column", but=label)
    if columns.text is None or columns.label is None:
        notices.append(f"Texts are in column '{printable(text)}', labels in '{printable(label)}'.")
    labels = [cell.strip() for cell in table.column(label, "--label-column")]
    texts = table.column(text, "--text-column")
    groups = None
    if columns.group is not None and is_group_read:
        groups = table.column(columns.group, "--group-column")
    without = [line for line, cell in zip(table.lines, labels, strict=True) if not cell]
    if without:
        raise DataError(
            f"Every row of '{table.name}' must have a label, got none in column "
            f"'{printable(label)}' of {len(without):,} rows: lines "
            f"{listed(without, _MAX_LISTED)}. "
            "Remove them, or name another column with --label-column."
        )
    if not any(text.strip() for text in texts):
        raise DataError(
            f"Column '{printable(text)}' of '{table.name}' must hold texts, got only empty cells."
        )
    names = [f"{table.name}:{line}" for line in table.lines]
    return _Part(texts, labels, names, groups), notices


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


def _source(parts: Mapping[str, _Part], name: str, notices: Sequence[str]) -> Source:
    train = sorted_labels(set(parts["train"].labels))
    for split, part in parts.items():
        extra = sorted(set(part.labels) - set(train))
        if extra:
            raise DataError(
                f"The {split} split must have the labels of the training split, got besides: "
                f"{listed(extra)} ({name})."
            )
    if len(train) > max(100, len(parts["train"].labels) // 2):
        raise DataError(
            f"Labels must be classes, got {len(train):,} different ones in "
            f"{len(parts['train'].labels):,} rows, such as {listed(train, 3)} ({name}). Name the "
            "right column with --label-column."
        )
    number = {label: i for i, label in enumerate(train)}
    classes = tuple(printable(label) for label in train)
    datasets = {
        split: Dataset(
            x=_as_array(part.texts),
            y=np.array([number[label] for label in part.labels], dtype=np.int64),
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


def sorted_labels(labels: set[str]) -> list[str]:
    """Numbers by size, names by letter."""
    is_numeric = all(re.fullmatch(r"-?[0-9]{1,18}", label) for label in labels)
    return sorted(labels, key=int) if is_numeric else sorted(labels)
