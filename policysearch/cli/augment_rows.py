"""Augments the rows of a CSV or TSV file into another one.

The operations learn from the rows of the file itself, which should be the training rows. What a
row becomes depends on (policy, seed, its number, copy) and these rows. Labels, groups, cells that
do not change and columns that operations know nothing of stay as they are written.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from policysearch.cli.augment_table import SUFFIXES, check_files
from policysearch.data.columns import categorical_of
from policysearch.data.split_tables import TableColumns
from policysearch.data.table_file import read_table
from policysearch.data.tabular import load_tabular
from policysearch.files import write_atomic
from policysearch.modalities.tabular import MODALITY
from policysearch.policy import Policy
from policysearch.transform import PolicyTransform


def augment_rows(
    policy: Policy,
    source: Path,
    target: Path,
    *,
    columns: TableColumns,
    n_copies: int,
    seed: int,
    is_forced: bool,
) -> int:
    """Writes `n_copies` of every row augmented; returns how many rows that are.

    Raises:
      InvalidValueError: When a name does not suit.
      DataError: When the table cannot be read.
    """
    check_files(source, target, "tabular", is_forced=is_forced)
    train = load_tabular(source, columns, is_said=True).train
    table = read_table(source)
    known = train.columns or ()
    places = [table.columns.index(column.name) for column in known]
    categorical = np.flatnonzero(categorical_of(known)).tolist()
    settings = MODALITY.settings(None, categorical=categorical)
    transform = PolicyTransform(policy.at_full_strength(), seed, settings).fit(train.x, train.y)
    index = np.arange(len(train))
    copies = [transform(train.x, train.y, index=index, epoch=k)[0] for k in range(n_copies)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=SUFFIXES[target.suffix.lower()], lineterminator="\n")
    writer.writerow(table.columns)
    for i, row in enumerate(table.rows):
        for copy in copies:
            cells = list(row)
            for j in np.flatnonzero(copy[i] != train.x[i]).tolist():
                if not np.isnan(copy[i, j]):
                    levels = known[j].levels
                    value = copy[i, j]
                    cells[places[j]] = f"{value:.10g}" if levels is None else levels[int(value)]
            writer.writerow(cells)
    write_atomic(target, text.getvalue())
    return len(train) * n_copies
