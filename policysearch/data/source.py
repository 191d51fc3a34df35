"""The door to the data: from what the user names to a `Source`.

One function decides what kind of thing was named and hands it to the loader for that kind. A new
kind of file gets a loader of its own and a line here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policysearch.data.arrays import Layout
from policysearch.data.builtin import BUILTIN
from policysearch.data.dataset import Dataset, Source, printable
from policysearch.data.resize import check_image_size
from policysearch.data.split_tables import TableColumns
from policysearch.data.table_file import is_table
from policysearch.data.table_kinds import is_table_folder, load_table
from policysearch.data.text import holds_text_files, load_text_folder
from policysearch.errors import DataError, InvalidValueError, UnknownNameError, unknown_name
from policysearch.ops.registry import OPS_VERSIONS

__all__ = ["Source", "load_source"]

_CALLABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_KINDS = (
    "Give a folder of images, sound or .txt files by class, an .npz file, time series in .ts "
    "files, texts or rows in a .csv, .tsv, .jsonl or .parquet file, `digits`, `wine`, or "
    "package.module:function."
)
_PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def load_source(
    data: Any,
    *,
    modality: str | None = None,
    image_size: int | None = None,
    skip_bad: bool = False,
    group_pattern: str | None = None,
    group_column: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    categorical_columns: Sequence[str] = (),
    layout: Layout | None = None,
) -> Source:
    """Loads the data that `data` names.

    Args:
      data: `digits`, `wine`, `breast_cancer`; a folder of images, sounds or `.txt` files by
        class; an `.npz` file; time series in a `.ts` file or a folder of such files; texts or
        rows in a `.csv`, `.tsv`, `.jsonl` or `.parquet` table, or a folder with such a table for
        each split; `package.module:function`; or, from Python, what such a function may return,
        a `Dataset` or a `Source`.
      modality: Kind of data, such as `series`; `None` goes by the name of the file, and takes
        arrays for images, and a table for texts where a column is named like them (`text`,
        `review`, ...), else for rows.
      image_size: Side in pixels to resize to; `None` keeps images of one size up to 64 px and
        resizes others to at most 64 px.
      skip_bad: Leaves damaged files out instead of refusing.
      group_pattern: Regular expression for folders: its one group, found in each file's path
        below the class folder, names what must not straddle a split.
      group_column: Column of a table that names what must not straddle a split.
      text_column: Column of a table that holds the texts; `None` goes by the names of columns.
      label_column: Column of a table that holds the classes; likewise.
      categorical_columns: Columns of rows that hold categories, though they are numbers.
      layout: `NCHW` or `NHWC` for arrays whose shape does not tell.

    Raises:
      DataError: When the data cannot be read; the text says what to do.
      InvalidValueError: When an option is not valid or does not suit the data.

    Examples:
      >>> source = load_source("digits")
      >>> source.train.x.shape, len(source.test)
      ((997, 1, 8, 8), 800)
    """
    check_image_size(image_size)
    columns = TableColumns(text_column, label_column, group_column, tuple(categorical_columns))
    _check_options(modality, layout)
    is_named = isinstance(data, (str, os.PathLike))
    kind = _kind_of(data) if is_named else "value"
    if group_pattern is not None and kind not in ("folder", "missing"):
        raise InvalidValueError(
            "`group_pattern` is for folders of files, whose paths it is matched with. "
            "Give an array `groups` with the other arrays."
        )
    reading = _Reading(modality, image_size, skip_bad, group_pattern, columns, layout)
    source = _load_named(data, kind, reading) if is_named else _load_value(data, "data", reading)
    _check_kind(source, modality)
    _check_columns(source, columns)
    if image_size is not None and source.train.modality != "image":
        raise InvalidValueError(
            f"`image_size` is for images, got {image_size} for {source.train.modality} data."
        )
    return source


@dataclass(frozen=True)
class _Reading:
    """How the data are to be read; see `load_source`."""

    modality: str | None
    image_size: int | None
    skip_bad: bool
    group_pattern: str | None
    columns: TableColumns
    layout: Layout | None

    @property
    def array_kind(self) -> str:
        """What arrays hold, where nobody says."""
        return self.modality or "image"


def _check_kind(source: Source, modality: str | None) -> None:
    if modality not in (None, source.train.modality):
        raise InvalidValueError(
            f"`modality` is '{modality}', but {source.name} holds {source.train.modality} data. "
            "Leave it out."
        )


def _check_options(modality: object, layout: object) -> None:
    if modality is not None and modality not in OPS_VERSIONS:
        raise UnknownNameError(unknown_name("modality", modality, OPS_VERSIONS))
    if layout not in (None, "NCHW", "NHWC"):
        raise InvalidValueError(f"`layout` must be 'NCHW' or 'NHWC', got {layout!r}.")


def _check_columns(source: Source, columns: TableColumns) -> None:
    """Refuses names of columns for data that are no table, or a table of another kind."""
    modality = source.train.modality
    kinds = {"text": ("text",), "categorical": ("tabular",)}
    for name, value in dataclasses.asdict(columns).items():
        if value and modality not in kinds.get(name, ("text", "tabular")):
            raise InvalidValueError(
                f"`{name}_column` is for {' and '.join(kinds.get(name, ('tables',)))}, got "
                f"{value!r} for {modality} data. Leave it out; what belongs together is named by "
                "`group_pattern` in a folder, by an array `groups` in an .npz file."
            )


def _kind_of(data: str | os.PathLike[str]) -> str:
    """What a name stands for: `folder`, `file`, `builtin`, `function` or `missing`."""
    text = os.fspath(data)
    try:
        mode = os.stat(data).st_mode if text else 0
    except (OSError, ValueError):  # ValueError: a null byte
        mode = 0
    if mode and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise DataError(f"'{printable(text)}' is neither a folder nor a plain file. {_KINDS}")
    if mode:
        return "folder" if stat.S_ISDIR(mode) else "file"
    if text in BUILTIN:
        return "builtin"
    return "function" if _CALLABLE.fullmatch(text) else "missing"


def _load_named(data: str | os.PathLike[str], kind: str, reading: _Reading) -> Source:
    path = Path(data)
    text = os.fspath(data)
    if kind == "folder":
        return _load_folder(path, reading)
    if kind == "file":
        return _load_file(path, reading)
    if kind == "builtin":
        return resized(BUILTIN[text](), reading.image_size)
    if kind == "function":
        from policysearch.data.function import call_by_name

        return _load_value(call_by_name(text), text, reading)
    raise DataError(_missing(path, text))


def _load_folder(path: Path, reading: _Reading) -> Source:
    if reading.modality in (None, "series"):
        from policysearch.data.series_file import load_series_folder

        series = load_series_folder(path)
        if series is not None:
            if reading.group_pattern is not None:
                raise InvalidValueError("`group_pattern` is for samples in files of their own.")
            return series
    from policysearch.data.audio_folder import is_sound_folder, load_audio_folder

    if reading.modality == "audio" or (reading.modality is None and is_sound_folder(path)):
        return load_audio_folder(
            path, skip_bad=reading.skip_bad, group_pattern=reading.group_pattern
        )
    if is_table_folder(path, reading.modality):
        if reading.group_pattern is not None:
            raise InvalidValueError(
                "`group_pattern` is for folders of files, not for tables. Use `group_column`."
            )
        return load_table(path, reading.modality, reading.columns)
    if reading.modality == "text" or (reading.modality is None and holds_text_files(path)):
        return load_text_folder(
            path, skip_bad=reading.skip_bad, group_pattern=reading.group_pattern
        )
    if reading.modality not in (None, "image"):
        raise DataError(
            f"The folder '{printable(path)}' holds no {reading.modality} data that can be read. "
            f"{_KINDS}"
        )
    from policysearch.data.folder import load_folder
    from policysearch.data.nifti_folder import is_nifti_folder, load_nifti_folder

    load = load_nifti_folder if is_nifti_folder(path) else load_folder
    return load(
        path,
        image_size=reading.image_size,
        skip_bad=reading.skip_bad,
        group_pattern=reading.group_pattern,
    )


def _load_file(path: Path, reading: _Reading) -> Source:
    if path.suffix.lower() == ".npz":
        from policysearch.data.npz import load_npz

        return load_npz(
            path,
            modality=reading.array_kind,
            image_size=reading.image_size,
            layout=reading.layout,
        )
    if path.suffix.lower() == ".ts":
        from policysearch.data.series_file import load_ts

        return load_ts(path)
    if path.suffix.lower() == ".csv" and reading.modality in (None, "series"):
        from policysearch.data.series_csv import is_long_form, load_series_csv

        if reading.modality == "series" or is_long_form(path):
            return load_series_csv({"train": path}, path.stem)
    if is_table(path):
        return load_table(path, reading.modality, reading.columns)
    hint = _KINDS
    if path.suffix.lower() in _PACKED:
        hint = "Unpack it and give the folder."
    elif path.suffix.lower() == ".npy":
        hint = "Save images and labels together: numpy.savez(path, x_train=x, y_train=y)."
    raise DataError(f"'{printable(path)}' is not a kind of file that can be read. {hint}")


def _load_value(data: Any, name: str, reading: _Reading) -> Source:
    if isinstance(data, Source):
        return resized(data, reading.image_size)
    if isinstance(data, Dataset):
        return resized(Source(train=data, name=name), reading.image_size)
    from policysearch.data.function import source_from_value

    return source_from_value(
        data,
        name=name,
        modality=reading.array_kind,
        image_size=reading.image_size,
        layout=reading.layout,
    )


def resized(source: Source, image_size: int | None) -> Source:
    """The source with its images at `image_size`, or as it is when that is `None`."""
    if image_size is None or source.train.modality != "image":
        return source
    from dataclasses import replace

    from policysearch.data.resize import fit_arrays

    notices = list(source.notices)
    fitted = fit_arrays({k: part.x for k, part in source.parts().items()}, image_size, notices)
    parts = {name: replace(part, x=fitted[name]) for name, part in source.parts().items()}
    return Source(notices=tuple(notices), name=source.name, **parts)


def _missing(path: Path, text: str) -> str:
    """Says that nothing has this name, with the nearest one that exists."""
    parent = path.parent
    names: list[str] = []
    if os.path.isdir(parent):
        with contextlib.suppress(OSError):  # a hint is not worth an error
            names = [name for name in os.listdir(parent) if not name.startswith(".")]
    known = {name.lower(): str(parent / name) for name in names}
    if path.name == text:
        known |= {name: name for name in BUILTIN if name not in known}
    near = difflib.get_close_matches(path.name.lower(), list(known), n=1, cutoff=0.6)
    hint = f" Did you mean '{printable(known[near[0]])}'?" if near else ""
    if not hint and not os.path.isdir(parent):
        hint = f" The folder '{printable(parent)}' does not exist either."
    return f"'{printable(text)}' does not exist.{hint} {_KINDS}"
