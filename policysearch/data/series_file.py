"""Reads time series in sktime's `.ts` format: a file, or a folder with `*_TRAIN.ts`, `*_TEST.ts`.

The format is text: comments (`#`), a header of `@` lines, then after `@data` one line per sample:
the channels separated by `:`, the values of a channel by `,`, the label last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policysearch.data.dataset import Source, printable
from policysearch.data.resize import check_memory
from policysearch.data.series import RawSeries, source_from_series
from policysearch.data.series_csv import is_long_form, load_series_csv
from policysearch.errors import DataError

SUFFIX = ".ts"
_PARTS = ("TRAIN", "TEST", "VAL")
_MISSING = frozenset({"?", "nan"})
_MAX_PROBLEMS = 10
#: Bytes of a file per value, at the least: a digit and a comma.
_BYTES_PER_VALUE = 2


def load_series_folder(path: Path) -> Source | None:
    """Loads the series that a folder holds: `*_TRAIN.ts`, or `train.csv` in long form.

    Returns:
      `None` for a folder that holds neither.
    """
    if _files(path, "TRAIN"):
        return load_ts(path)
    tables = {part.lower(): path / f"{part.lower()}.csv" for part in _PARTS}
    if not is_long_form(tables["train"]):
        return None
    files = {part: file for part, file in tables.items() if file.is_file()}
    return load_series_csv(files, path.name)


def load_ts(path: Path) -> Source:
    """Loads a `.ts` file, or the folder of a dataset in that format.

    A file alone is training data; its neighbour `NAME_TEST.ts` is read as well when the file is
    called `NAME_TRAIN.ts`.

    Raises:
      DataError: Naming the lines that are wrong, up to ten of them.
    """
    files = _parts_of(path)
    notices = [f"'{printable(file.name)}' is the {part} split." for part, file in files.items()]
    header, parts = _Header(), {}
    for part, file in files.items():
        parts[part], found = _read(file)
        header = header if part != "train" else found
    return source_from_series(
        parts,
        name=printable(path.name if path.is_dir() else path.stem),
        classes=header.classes,
        notices=notices if len(files) > 1 else [],
    )


@dataclass(frozen=True)
class _Header:
    """What a file says about itself."""

    n_channels: int | None = None
    classes: tuple[str, ...] = ()
    lines: dict[str, str] = field(default_factory=dict)


def _files(folder: Path, part: str) -> list[Path]:
    return sorted(
        file for file in folder.glob(f"*{SUFFIX}") if file.stem.upper().endswith(f"_{part}")
    )


def _parts_of(path: Path) -> dict[str, Path]:
    if path.is_dir():
        found = {part.lower(): _files(path, part) for part in _PARTS}
        for part, files in found.items():
            if len(files) > 1:
                names = ", ".join(printable(file.name) for file in files)
                raise DataError(
                    f"'{printable(path)}' holds several {part} splits: {names}. Give one dataset."
                )
        return {part: files[0] for part, files in found.items() if files}
    stem = path.stem
    if not stem.upper().endswith("_TRAIN"):
        return {"train": path}
    of_name = {
        part.lower(): [
            file
            for file in _files(path.parent, part)
            if file.stem[: -len(part)] == stem[: -len("TRAIN")]
        ]
        for part in _PARTS
    }
    return {part: files[0] for part, files in of_name.items() if files}


def _read(path: Path) -> tuple[RawSeries, _Header]:
    name = printable(path.name)
    try:
        check_memory(path.stat().st_size // _BYTES_PER_VALUE * 8, f"'{name}'")
        with path.open(encoding="utf-8") as file:
            lines = enumerate(file, start=1)
            header = _read_header(lines, name)
            return _read_samples(lines, header, name), header
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{printable(path)}' is not text in UTF-8: byte {error.start} cannot be decoded."
        ) from error
    except OSError as error:
        raise DataError(f"'{printable(path)}' cannot be read: {error.strerror}.") from error


def _read_header(lines: Iterator[tuple[int, str]], name: str) -> _Header:
    fields: dict[str, str] = {}
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, _, value = text.partition(" ")
        if key.lower() == "@data":
            return _checked_header(fields, name)
        if not key.startswith("@"):
            raise DataError(
                f"'{name}' line {number} comes before `@data` and must begin with `@` or `#`, "
                f"got '{printable(text, 40)}'. Is it a file in sktime's .ts format?"
            )
        fields[key[1:].lower()] = value.strip()
    raise DataError(f"'{name}' must hold a line `@data` with the series below it, found none.")


def _checked_header(fields: dict[str, str], name: str) -> _Header:
    label, *classes = fields.get("classlabel", "false").split()
    if label.lower() != "true":
        hint = " Targets of a regression are not supported." if "targetlabel" in fields else ""
        raise DataError(
            f"'{name}' must say `@classLabel true` with the names of the classes.{hint}"
        )
    if fields.get("timestamps", "false").lower() == "true":
        raise DataError(
            f"'{name}' has time stamps (`@timeStamps true`), which are not supported. Resample "
            "the series to equal steps and save them without."
        )
    n_channels = None
    if fields.get("dimensions", "").isdecimal():
        n_channels = int(fields["dimensions"])
    elif fields.get("univariate", "").lower() == "true":
        n_channels = 1
    return _Header(n_channels, tuple(classes), fields)


def _read_samples(lines: Iterator[tuple[int, str]], header: _Header, name: str) -> RawSeries:
    samples: list[NDArray[np.float32]] = []
    labels: list[str] = []
    problems: list[str] = []
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        *channels, label = text.split(":")
        try:
            samples.append(_sample(channels, header, len(samples[0]) if samples else None))
            labels.append(_label(label, header))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            if len(problems) == _MAX_PROBLEMS:
                break
    if problems:
        lines_text = "\n  ".join(problems)
        raise DataError(f"'{name}' has series that cannot be read:\n  {lines_text}")
    if not samples:
        raise DataError(f"'{name}' must hold series below `@data`, found none.")
    return RawSeries(samples, labels, [f"series {i}" for i in range(len(samples))], None)


def _sample(channels: Sequence[str], header: _Header, n_before: int | None) -> NDArray[np.float32]:
    n_channels = header.n_channels or n_before
    if not channels:
        raise ValueError("there must be values, then `:` and the label.")
    if n_channels is not None and len(channels) != n_channels:
        raise ValueError(f"there must be {n_channels} channels, got {len(channels)}.")
    values = [_values(text) for text in channels]
    lengths = {len(channel) for channel in values}
    if len(lengths) > 1:
        shown = ", ".join(map(str, sorted(lengths)))
        raise ValueError(f"all channels of a series must have one length, got {shown}.")
    return np.array(values, dtype=np.float32)


def _values(text: str) -> list[float]:
    values = []
    for cell in text.split(","):
        word = cell.strip()
        value = float("nan") if word.lower() in _MISSING else _number(word)
        values.append(value)
    return values


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise ValueError(
            f"a value must be a number, or ? where it is missing, got '{printable(word, 20)}'."
        ) from None
    if not abs(value) < 3e38:  # beyond float32
        raise ValueError(f"a value must be finite, got '{printable(word, 20)}'.")
    return value


def _label(text: str, header: _Header) -> str:
    label = text.strip()
    if header.classes and label not in header.classes:
        known = ", ".join(header.classes[:10])
        raise ValueError(
            f"the label must be one of those of `@classLabel` ({printable(known)}), got "
            f"'{printable(label, 20)}'."
        )
    if not label:
        raise ValueError("the label after the last `:` is missing.")
    return label
