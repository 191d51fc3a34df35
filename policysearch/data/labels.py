"""From the labels that a user has to numbered classes: for tables and for arrays."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.dataset import listed, printable
from policysearch.errors import DataError

_MOST_CLASSES = 100


def sorted_labels(labels: Collection[str]) -> list[str]:
    """Numbers by size, names by letter."""
    is_numeric = all(re.fullmatch(r"-?[0-9]{1,18}", label) for label in labels)
    return sorted(labels, key=int) if is_numeric else sorted(labels)


def numbered(
    labels: Mapping[str, Sequence[str]], name: str
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Class number of each label by split, and the names of the classes.

    Args:
      labels: By split: `train` and maybe `val`, `test`.
      name: Of the data, for messages.

    Raises:
      DataError: When a split has a label that training has not, or labels are no classes.
    """
    train = sorted_labels(set(labels["train"]))
    for split, found in labels.items():
        extra = sorted(set(found) - set(train))
        if extra:
            raise DataError(
                f"The {split} split must have the labels of the training split, got besides: "
                f"{listed(extra)} ({name})."
            )
    if len(train) > max(_MOST_CLASSES, len(labels["train"]) // 2):
        raise DataError(
            f"Labels must be classes, got {len(train):,} different ones in "
            f"{len(labels['train']):,} rows, such as {listed(train, 3)} ({name}). Name the "
            "right column with --label-column."
        )
    number = {label: i for i, label in enumerate(train)}
    y = {
        split: np.array([number[label] for label in found], dtype=np.int64)
        for split, found in labels.items()
    }
    return y, tuple(printable(label) for label in train)


def array_labels(y: NDArray[Any], n: int, key: str, name: str) -> list[str]:
    """Labels in an array as text; raises `DataError` unless it holds one class per sample."""
    if y.shape != (n,) or y.dtype.kind not in "biuU":
        is_whole = y.dtype.kind == "f" and np.isfinite(y).all() and (y == np.round(y)).all()
        if y.shape != (n,) or not is_whole:
            raise DataError(
                f"`{key}` must hold one class per sample, whole numbers or names of shape ({n},), "
                f"got {y.dtype} of {y.shape} ({name})."
            )
        y = y.astype(np.int64)
    return [str(label) for label in y.tolist()]


def array_groups(groups: NDArray[Any] | None, n: int, name: str) -> list[str] | None:
    """Groups in an array as text; raises `DataError` unless it holds one per sample."""
    if groups is None:
        return None
    if groups.shape != (n,) or groups.dtype.kind not in "iuU":
        raise DataError(
            f"`groups` must hold one integer or string per training sample, shape ({n},), "
            f"got {groups.dtype} of shape {groups.shape} ({name})."
        )
    return [str(group) for group in groups.tolist()]
