"""Tables by what they hold: texts, or rows of numbers and categories.

The user says which with `--modality`; else a table with a column named like texts (`text`,
`review`, ...), or one named with `--text-column`, holds texts, and any other holds rows.
"""

from __future__ import annotations

from pathlib import Path

from policysearch.data.dataset import Source
from policysearch.data.split_tables import TableColumns, has_tables
from policysearch.data.tabular import load_tabular
from policysearch.data.text import holds_texts, load_text_table


def load_table(path: Path, modality: str | None, columns: TableColumns) -> Source:
    """Loads a table, or a folder with one for each split, as what it holds.

    Args:
      path: File or folder.
      modality: `text`, `tabular`, or `None`.
      columns: Which columns hold what.

    Raises:
      DataError: With the file, the lines or columns at fault and what to do.
    """
    is_named = modality == "text" or columns.text is not None
    if modality != "tabular" and (is_named or holds_texts(path)):
        return load_text_table(path, columns)
    return load_tabular(path, columns, is_said=modality == "tabular")


def is_table_folder(path: Path, modality: str | None) -> bool:
    """Whether a folder is to be read as tables."""
    return modality in (None, "text", "tabular") and has_tables(path)
