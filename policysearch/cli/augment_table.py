"""Augments the texts of a CSV or TSV file into another one, row by row.

What a row becomes depends on (policy, seed, its number, copy) and on nothing else, but for an
operation that draws from the words of all texts. The other columns stay as they are.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np

from policysearch.data.dataset import printable
from policysearch.data.split_tables import guessed_column
from policysearch.data.table_file import read_table
from policysearch.data.text import TEXT_COLUMNS
from policysearch.errors import InvalidValueError
from policysearch.files import write_atomic
from policysearch.modalities.text import MODALITY
from policysearch.policy import Policy
from policysearch.transform import PolicyTransform

SUFFIXES = {".csv": ",", ".tsv": "\t"}
_MANY = {"text": "texts", "tabular": "rows"}


def augment_table(
    policy: Policy,
    source: Path,
    target: Path,
    *,
    column: str | None,
    n_copies: int,
    seed: int,
    is_forced: bool,
) -> int:
    """Writes `n_copies` of every row with its text augmented; returns how many rows that are.

    Raises:
      InvalidValueError: When a name does not suit.
      DataError: When the table cannot be read.
    """
    check_files(source, target, "text", is_forced=is_forced)
    table = read_table(source)
    name = column or guessed_column(table, TEXT_COLUMNS, "texts", "--text-column")
    texts = table.column(name, "--text-column")
    place = table.columns.index(name)
    transform = PolicyTransform(policy.at_full_strength(), seed, MODALITY.settings(None))
    transform.fit(texts)
    index = np.arange(len(texts))
    copies = [transform(texts, index=index, epoch=copy) for copy in range(n_copies)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=SUFFIXES[target.suffix.lower()], lineterminator="\n")
    writer.writerow(table.columns)
    for i, row in enumerate(table.rows):
        for copy in copies:
            writer.writerow([*row[:place], copy[i], *row[place + 1 :]])
    write_atomic(target, text.getvalue())
    return len(texts) * n_copies


def check_files(source: Path, target: Path, modality: str, *, is_forced: bool) -> None:
    """Refuses names that are no tables, or would destroy one; raises `InvalidValueError`."""
    for name, path in (("SRC", source), ("DST", target)):
        if path.suffix.lower() not in SUFFIXES:
            raise InvalidValueError(
                f"{name} must be a .csv or .tsv file for a {modality} policy, got "
                f"'{printable(path)}'."
            )
    if not source.is_file():
        what = "is not a file" if source.exists() else "does not exist"
        raise InvalidValueError(f"SRC '{printable(source)}' {what}.")
    if not target.parent.is_dir():
        raise InvalidValueError(
            f"DST must name a file in an existing folder, got '{printable(target)}'."
        )
    if target.exists() and os.path.samefile(source, target):
        raise InvalidValueError(
            f"DST must not be SRC: the {_MANY[modality]} themselves would be lost."
        )
    if target.is_dir() or (target.exists() and not is_forced):
        raise InvalidValueError(
            f"DST '{printable(target)}' exists. Name another file, or add --force to replace it."
        )
