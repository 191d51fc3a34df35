"""Brings series of many lengths to one padded array, with their classes: for all loaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.dataset import Dataset, Source, listed, printable
from policysearch.data.labels import array_groups, array_labels, sorted_labels
from policysearch.data.resize import check_memory
from policysearch.errors import DataError


@dataclass(frozen=True)
class RawSeries:
    """Series of one split as they were read.

    Attributes:
      samples: Each `(C, length)`, float32; NaN where a value is missing, never infinite.
      labels: Name of each one's class.
      names: A name of each for messages.
      groups: What each belongs to, or `None`.
    """

    samples: Sequence[NDArray[np.float32]]
    labels: Sequence[str]
    names: Sequence[str]
    groups: Sequence[str] | None = None


def source_from_series(
    parts: Mapping[str, RawSeries],
    *,
    name: str,
    classes: Sequence[str] = (),
    notices: Sequence[str] = (),
) -> Source:
    """Pads and stacks series; says in notices what is special about them.

    Args:
      parts: By split: `train` and maybe `val`, `test`.
      name: Where they come from.
      classes: Order of the classes; by default the sorted names. Those without training series
        are left out.
      notices: Notices collected so far.

    Raises:
      DataError: When channels differ in number, or a split has a class that training has not.
    """
    found = list(notices)
    if "train" not in parts:
        raise DataError(f"{name} must hold training series, found only: {listed(list(parts))}.")
    for part, raw in parts.items():
        if not raw.samples:
            raise DataError(f"The {part} split of {name} must hold series, found none.")
    _check_channels(parts, name)
    present = set(parts["train"].labels)
    order = tuple(c for c in (classes or sorted(present)) if c in present)
    for part, raw in parts.items():
        unknown = sorted(set(raw.labels) - present)
        if unknown:
            raise DataError(
                f"The {part} split of {name} must hold classes that the training split has, got "
                f"{listed(unknown)}."
            )
    longest = max(sample.shape[1] for raw in parts.values() for sample in raw.samples)
    found += _notices(parts, longest)
    datasets = {part: _padded(raw, longest, order, part) for part, raw in parts.items()}
    return Source(notices=tuple(found), name=name, **datasets)


def _check_channels(parts: Mapping[str, RawSeries], name: str) -> None:
    expected = len(parts["train"].samples[0])
    for part, raw in parts.items():
        for i, sample in enumerate(raw.samples):
            if len(sample) != expected:
                raise DataError(
                    f"All series must have the same channels, got {expected} in the first and "
                    f"{len(sample)} in {printable(raw.names[i])} of the {part} split ({name})."
                )
            if sample.shape[1] == 0:
                raise DataError(
                    f"A series must have at least one step, got none in "
                    f"{printable(raw.names[i])} of the {part} split ({name})."
                )


def _padded(raw: RawSeries, longest: int, classes: tuple[str, ...], part: str) -> Dataset:
    n, n_channels = len(raw.samples), len(raw.samples[0])
    check_memory(4 * n * n_channels * longest, f"The {part} split, padded to {longest} steps,")
    x = np.zeros((n, n_channels, longest), dtype=np.float32)
    lengths = np.array([sample.shape[1] for sample in raw.samples], dtype=np.int64)
    for i, sample in enumerate(raw.samples):
        x[i, :, : lengths[i]] = sample
    number = {label: i for i, label in enumerate(classes)}
    return Dataset(
        x=x,
        y=np.array([number[label] for label in raw.labels], dtype=np.int64),
        classes=tuple(printable(label) for label in classes),
        groups=None if raw.groups is None else np.array([str(g) for g in raw.groups]),
        names=tuple(raw.names),
        modality="series",
        lengths=None if (lengths == longest).all() else lengths,
    )


def _notices(parts: Mapping[str, RawSeries], longest: int) -> list[str]:
    samples = [sample for raw in parts.values() for sample in raw.samples]
    notices = []
    shortest = min(sample.shape[1] for sample in samples)
    if shortest < longest:
        notices.append(
            f"Series have {shortest:,} to {longest:,} steps; padding is neither augmented nor "
            "seen by the proxy."
        )
    n_missing = sum(bool(np.isnan(sample).any()) for sample in samples)
    if n_missing:
        notices.append(
            f"{n_missing:,} of {len(samples):,} series have missing values. They stay missing "
            "under augmentation; the proxy sees the channel's mean there."
        )
    return notices


def source_from_series_arrays(
    arrays: Mapping[str, NDArray[Any]], *, name: str, notices: Sequence[str] = ()
) -> Source:
    """Builds a source from arrays named as in an `.npz` file.

    Args:
      arrays: `x_train`, `(n, L)` or `(n, C, L)`, numbers, and `y_train`; optionally those of `val`
        and `test`; `groups` for training. Steps at the end that are NaN in all channels are
        padding.
      name: Where the arrays come from.
      notices: Notices collected so far.

    Raises:
      DataError: With the key, the rule, what was found and what to do.
    """
    parts = {}
    for part in ("train", "val", "test"):
        if f"x_{part}" in arrays:
            x = _series_array(arrays[f"x_{part}"], f"x_{part}", name)
            labels = array_labels(arrays[f"y_{part}"], len(x), f"y_{part}", name)
            groups = array_groups(arrays.get("groups"), len(x), name) if part == "train" else None
            names = [f"sample {i}" for i in range(len(x))]
            parts[part] = RawSeries(_unpadded(x), labels, names, groups)
    classes = sorted_labels({label for raw in parts.values() for label in raw.labels})
    return source_from_series(parts, name=name, classes=classes, notices=notices)


def _series_array(array: NDArray[Any], key: str, name: str) -> NDArray[np.float32]:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(
            f"`{key}` must be series (n, L) or (n, C, L), none of them 0, got shape "
            f"{array.shape} ({name})."
        )
    if array.dtype.kind not in "iuf":
        raise DataError(f"`{key}` must hold numbers, got dtype {array.dtype} ({name}).")
    with np.errstate(over="ignore"):
        x = array.astype(np.float32)
    bad = np.flatnonzero(np.isinf(x).reshape(len(x), -1).any(axis=1))
    if len(bad):
        raise DataError(
            f"`{key}` must be finite, or NaN where a value is missing, got infinity in "
            f"{len(bad):,} of {len(x):,} series, first in sample {bad[0]} ({name})."
        )
    return x if x.ndim == 3 else x[:, None]


def _unpadded(x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    is_there = np.logical_not(np.isnan(x).all(axis=1))
    ends = x.shape[2] - is_there[:, ::-1].argmax(axis=1)
    return [
        row[:, :end] if there.any() else row
        for row, end, there in zip(x, ends, is_there, strict=True)
    ]
