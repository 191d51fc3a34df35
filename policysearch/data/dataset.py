"""Labelled samples as values: what every loader yields and every later room consumes.

A `Dataset` owns no files and knows no augmentation. It is checked once, when it is made, so that
nobody downstream has to wonder about shapes, label ranges or lengths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policysearch.data.columns import Column, check_rows
from policysearch.errors import DataError

IMAGE_DTYPES = ("uint8", "uint16", "float32")


def printable(text: object, limit: int = 120) -> str:
    """A name fit for a message: control characters and undecodable bytes escaped, shortened."""
    raw = str(text)
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in raw)
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


def listed(items: Sequence[object], limit: int = 10) -> str:
    """Up to `limit` items joined by commas, then how many more there are.

    Examples:
      >>> listed(["a", "b", "c"], limit=2)
      'a, b and 1 more'
    """
    shown = ", ".join(printable(item) for item in items[:limit])
    rest = len(items) - limit
    return f"{shown} and {rest:,} more" if rest > 0 else shown


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples, all of one modality.

    Attributes:
      x: Samples along the first axis. Images: `(n, C, H, W)`, uint8, uint16, or float32 in [0, 1].
        Volumes: `(n, C, D, H, W)`, likewise.
        Series: `(n, C, L)`, float32; NaN is a missing value.
        Clips: `(n, C, T)`, float32, full scale from -1 to 1; silence behind their lengths.
        Texts: `(n,)`, strings.
        Rows: `(n, d)`, float64; NaN is a missing value, a category is its number.
      y: Class of each sample: `(n,)` int64 in 0 .. n_classes - 1.
      classes: Name of each class; `classes[y[i]]` names the class of sample `i`.
      groups: What each sample belongs to and must not be split from (track, patient, speaker):
        `(n,)` of integers or strings; `None` when samples are independent.
      names: A name per sample for messages (file names); `None` when there are none.
      modality: Kind of data; decides which operations and proxies apply.
      lengths: Steps of each sample that are data and no padding: `(n,)` int64 in 1 .. L; `None`:
        all of them.
      sample_rate: Samples per second of clips; `None` for other kinds of data.
      columns: What each column of rows holds; `None` for other kinds of data.

    Raises:
      DataError: When the parts do not fit together.
    """

    x: NDArray[Any]
    y: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[Any] | None = None
    names: tuple[str, ...] | None = None
    modality: str = "image"
    lengths: NDArray[np.int64] | None = None
    sample_rate: int | None = None
    columns: tuple[Column, ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.x)
        for name in ("y", "groups", "names", "lengths"):
            part = getattr(self, name)
            if part is not None and len(part) != n:
                raise DataError(
                    f"`{name}` must have one entry per sample, got {len(part)} for {n} samples."
                )
        if self.y.ndim != 1 or self.y.dtype != np.int64:
            raise DataError(
                f"`y` must be int64 of shape (n,), got {self.y.dtype} of {self.y.shape}."
            )
        if len(set(self.classes)) != len(self.classes):
            raise DataError(f"`classes` must differ, got {listed(self.classes)}.")
        if n and (int(self.y.min()) < 0 or int(self.y.max()) >= len(self.classes)):
            raise DataError(
                f"`y` must be in 0..{len(self.classes) - 1}, "
                f"got {int(self.y.min())}..{int(self.y.max())}."
            )
        if self.modality == "image":
            _check_images(self.x)
        if self.modality == "text":
            _check_texts(self.x)
        if self.modality == "series":
            _check_series(self.x, self.lengths)
        if self.modality == "audio":
            _check_clips(self.x, self.lengths, self.sample_rate)
        if self.modality == "tabular":
            check_rows(self.x, self.columns)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def n_classes(self) -> int:
        """Number of classes, whether or not each has samples here."""
        return len(self.classes)

    @property
    def n_channels(self) -> int:
        """Channels of a sample; 1 for kinds of data that have none.

        Rows have 2 where a column holds categories: there is more than numbers to change.
        """
        if self.columns is not None:
            return 2 if any(column.levels is not None for column in self.columns) else 1
        return int(self.x.shape[1]) if self.modality in ("image", "series", "audio") else 1

    @property
    def is_deep(self) -> bool:
        """Whether samples are volumes of more than one slice."""
        return self.modality == "image" and self.x.ndim == 5 and self.x.shape[2] > 1

    def name_of(self, index: int) -> str:
        """The name of a sample for messages: its file, or its number."""
        return self.names[index] if self.names is not None else f"sample {index}"

    def counts(self) -> NDArray[np.int64]:
        """Samples per class: `(n_classes,)`."""
        return np.bincount(self.y, minlength=self.n_classes).astype(np.int64)

    def take(self, indices: ArrayLike) -> Dataset:
        """The samples at `indices` `(m,)`, in that order, as a new dataset (a copy)."""
        index = np.asarray(indices, dtype=np.int64)
        return Dataset(
            x=self.x[index],
            y=self.y[index],
            classes=self.classes,
            groups=None if self.groups is None else self.groups[index],
            names=None if self.names is None else tuple(self.names[i] for i in index),
            modality=self.modality,
            lengths=None if self.lengths is None else self.lengths[index],
            sample_rate=self.sample_rate,
            columns=self.columns,
        )

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over samples, labels and class names, in order."""
        digest = hashlib.sha256(self.modality.encode())
        _feed(digest, self.x)
        _feed(digest, self.y)
        _feed(digest, np.array(self.classes, dtype=object))
        if self.lengths is not None:
            _feed(digest, self.lengths)
        if self.sample_rate is not None:
            digest.update(str(self.sample_rate).encode())
        if self.columns is not None:
            digest.update(repr([(c.name, c.levels) for c in self.columns]).encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Source:
    """What a loader found: a dataset with the splits that its makers gave it.

    Attributes:
      train: Samples to learn from.
      val: The makers' validation split, if any.
      test: The makers' test split, if any.
      notices: What the user should be told: conversions, resizing, skipped files.
      name: Short name for reports.
    """

    train: Dataset
    val: Dataset | None = None
    test: Dataset | None = None
    notices: tuple[str, ...] = ()
    name: str = "data"

    def parts(self) -> dict[str, Dataset]:
        """The splits that exist, by name: `train` and maybe `val`, `test`."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}


def join(first: Dataset, second: Dataset) -> Dataset:
    """Concatenates two datasets of one form; groups and names stay if both have them."""
    is_alike = first.x.shape[1:] == second.x.shape[1:] and first.columns == second.columns
    if first.classes != second.classes or not is_alike:
        raise DataError(
            "Datasets to join must have the same classes and sample shape, got "
            f"{first.n_classes} and {second.n_classes} classes, "
            f"{first.x.shape[1:]} and {second.x.shape[1:]}."
        )
    groups = None
    if first.groups is not None and second.groups is not None:
        groups = np.concatenate([first.groups, second.groups])
    names = None
    if first.names is not None and second.names is not None:
        names = first.names + second.names
    return Dataset(
        x=np.concatenate([first.x, second.x]),
        y=np.concatenate([first.y, second.y]),
        classes=first.classes,
        groups=groups,
        names=names,
        modality=first.modality,
        lengths=_joined_lengths(first, second),
        sample_rate=first.sample_rate,
        columns=first.columns,
    )


def _joined_lengths(first: Dataset, second: Dataset) -> NDArray[np.int64] | None:
    if first.lengths is None and second.lengths is None:
        return None
    whole = [
        np.full(len(part), part.x.shape[-1]) if part.lengths is None else part.lengths
        for part in (first, second)
    ]
    return np.concatenate(whole).astype(np.int64)


def _check_images(x: NDArray[Any]) -> None:
    if x.ndim not in (4, 5) or 0 in x.shape[1:]:
        raise DataError(
            f"Images must have shape (n, C, H, W), volumes (n, C, D, H, W), none of them 0, got "
            f"{x.shape}."
        )
    if x.dtype.name not in IMAGE_DTYPES:
        raise DataError(f"Images must be one of {', '.join(IMAGE_DTYPES)}, got {x.dtype.name}.")


def _check_texts(x: NDArray[Any]) -> None:
    if x.ndim != 1 or x.dtype != object or not all(isinstance(text, str) for text in x):
        raise DataError(
            f"Texts must be an array of strings (n,) of dtype object, got {x.dtype} of {x.shape}."
        )


def _check_series(x: NDArray[Any], lengths: NDArray[np.int64] | None) -> None:
    if x.ndim != 3 or 0 in x.shape[1:]:
        raise DataError(f"Series must have shape (n, C, L), none of them 0, got {x.shape}.")
    if x.dtype != np.float32:
        raise DataError(f"Series must be float32, got {x.dtype.name}.")
    if np.isinf(x).any():
        raise DataError("Series must be finite, or NaN where a value is missing, got infinity.")
    _check_lengths(x, lengths)


def _check_clips(
    x: NDArray[Any], lengths: NDArray[np.int64] | None, sample_rate: int | None
) -> None:
    if x.ndim != 3 or 0 in x.shape[1:]:
        raise DataError(f"Clips must have shape (n, C, T), none of them 0, got {x.shape}.")
    if x.dtype != np.float32:
        raise DataError(f"Clips must be float32, got {x.dtype.name}.")
    if not np.isfinite(x).all():
        raise DataError("Clips must be finite, got NaN or infinity.")
    if sample_rate is None or sample_rate < 1:
        raise DataError(f"Clips must have a `sample_rate` in Hz, got {sample_rate}.")
    _check_lengths(x, lengths)


def _check_lengths(x: NDArray[Any], lengths: NDArray[np.int64] | None) -> None:
    if lengths is None or not len(lengths):
        return
    if lengths.dtype != np.int64 or lengths.min() < 1 or lengths.max() > x.shape[2]:
        raise DataError(
            f"`lengths` must be int64 in 1..{x.shape[2]}, got {lengths.dtype} in "
            f"{lengths.min()}..{lengths.max()}."
        )


def _feed(digest: hashlib._Hash, array: NDArray[Any]) -> None:
    """Hashes shape, dtype and content; ragged or text samples entry by entry."""
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    if array.dtype != object:
        # No cast of the whole array to bytes: blocks keep the extra memory small.
        for start in range(0, len(array), 4096):
            digest.update(np.ascontiguousarray(array[start : start + 4096]).tobytes())
        return
    for item in array.ravel():
        if isinstance(item, np.ndarray):
            _feed(digest, item)
        else:
            raw = str(item).encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "little") + raw)
