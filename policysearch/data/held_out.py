"""Holds samples out: stratified by class, whole groups where there are groups.

scikit-learn makes the cuts; what it would leave to chance or only warn about (a class that is
missing on one side) is checked here and becomes an error that names the classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from policysearch.data.dataset import Dataset, printable
from policysearch.data.draw import stratified
from policysearch.errors import DataError
from policysearch.seeding import derive_seed

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]

_MAX_PIECES = 10
_ATTEMPTS = 10
_MANY_GROUPS = 2000


def hold_out(data: Dataset, share: float, seed: int, what: str) -> Fold:
    """Splits off a share of the samples.

    Args:
      data: Samples to split.
      share: Share to hold out, in (0, 1).
      seed: Decides the draw.
      what: Names the held-out part in errors, such as `the test`.

    Returns:
      Sorted indices of the kept and of the held-out samples; every class is on both sides.
    """
    if data.groups is not None:
        return _hold_out_groups(data, share, seed, what)
    _require(data, data.counts(), 2, _noun(data), f"{what} split of {share:g}")
    size = min(max(round(share * len(data)), data.n_classes), len(data) - data.n_classes)
    held = stratified(data.y, size, seed)
    held = _with_every_class(data.y, held, data.n_classes)
    return np.setdiff1d(np.arange(len(data)), held), held


def k_folds(data: Dataset, n_folds: int, seed: int) -> tuple[Fold, ...]:
    """K folds; each sample is validated once, and every class is in each training part."""
    if data.groups is not None:
        return _grouped_folds(data, n_folds, seed)
    from sklearn.model_selection import StratifiedKFold

    _require(data, data.counts(), n_folds, _noun(data), f"{n_folds} folds")
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed % 2**32)
    return tuple(_sorted(fold) for fold in splitter.split(np.zeros(len(data)), data.y))


def _noun(data: Dataset) -> str:
    return "images" if data.modality == "image" else "samples"


def _with_every_class(
    y: NDArray[np.int64], held: NDArray[np.int64], n_classes: int
) -> NDArray[np.int64]:
    """Moves single samples so that each class has at least one on either side.

    Proportional shares leave rare classes out of a small part, or take all they have.
    """
    is_held = np.zeros(len(y), dtype=bool)
    is_held[held] = True
    for label in range(n_classes):
        members = np.flatnonzero(y == label)
        if not is_held[members].any():
            is_held[members[0]] = True
        elif is_held[members].all():
            is_held[members[0]] = False
    return np.flatnonzero(is_held).astype(np.int64)


def _hold_out_groups(data: Dataset, share: float, seed: int, what: str) -> Fold:
    """Cuts into small grouped pieces and holds out the run of pieces nearest to the share."""
    n_groups, per_class = _groups_per_class(data)
    _require(data, per_class, 2, "groups", f"{what} split by groups")
    n_pieces = min(_MAX_PIECES, n_groups)
    n_held = min(max(1, round(share * n_pieces)), n_pieces - 1)
    for pieces in _attempts(data, n_pieces, seed):
        best: NDArray[np.int64] | None = None
        for start in range(n_pieces):
            run = [pieces[(start + i) % n_pieces] for i in range(n_held)]
            held = np.sort(np.concatenate(run))
            if not _both_sides_complete(data, held):
                continue
            if best is None or _miss(held, data, share) < _miss(best, data, share):
                best = held
        if best is not None:
            return np.setdiff1d(np.arange(len(data)), best), best
    raise _cannot_group(data, per_class, f"{what} split")


def _grouped_folds(data: Dataset, n_folds: int, seed: int) -> tuple[Fold, ...]:
    n_groups, per_class = _groups_per_class(data)
    if n_groups < n_folds:
        raise DataError(
            f"{n_folds} folds need at least {n_folds} groups, got {n_groups}. "
            "Choose fewer folds, or a finer grouping."
        )
    _require(data, per_class, 2, "groups", f"{n_folds} folds by groups")
    everyone = np.arange(len(data))
    for pieces in _attempts(data, n_folds, seed):
        folds = tuple((np.setdiff1d(everyone, piece), np.sort(piece)) for piece in pieces)
        if all(len(val) and _complete(data, train) for train, val in folds):
            return folds
    raise _cannot_group(data, per_class, f"{n_folds} folds")


def _attempts(data: Dataset, n_pieces: int, seed: int) -> Iterator[list[NDArray[np.int64]]]:
    """Partitions into grouped, nearly stratified pieces, from different derived seeds."""
    group = np.unique(_group_text(data), return_inverse=True)[1]
    cut = _cut_many_groups if group.max() >= _MANY_GROUPS else _cut_groups
    for attempt in range(_ATTEMPTS):
        random_state = derive_seed(seed, "attempt", attempt) % 2**32
        with warnings.catch_warnings():
            # It warns when a class has fewer samples than pieces; completeness is checked later.
            warnings.simplefilter("ignore")
            try:
                yield cut(data.y, group, n_pieces, random_state)
            except ValueError:  # no class has as many samples as there are pieces
                return


def _cut_groups(
    y: NDArray[np.int64], group: NDArray[np.int64], n_pieces: int, random_state: int
) -> list[NDArray[np.int64]]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(n_pieces, shuffle=True, random_state=random_state)
    return [held.astype(np.int64) for _, held in splitter.split(y, y, group)]


def _cut_many_groups(
    y: NDArray[np.int64], group: NDArray[np.int64], n_pieces: int, random_state: int
) -> list[NDArray[np.int64]]:
    """Cuts the groups as if they were samples of their most frequent class.

    `StratifiedGroupKFold` weighs every group against every piece, in Python: 20 seconds for 48,000
    groups. Among that many the sizes even out by themselves.
    """
    from sklearn.model_selection import StratifiedKFold

    n_groups, n_classes = int(group.max()) + 1, int(y.max()) + 1
    counts = np.bincount(group * n_classes + y, minlength=n_groups * n_classes)
    main_class = counts.reshape(n_groups, n_classes).argmax(axis=1)
    splitter = StratifiedKFold(n_pieces, shuffle=True, random_state=random_state)
    pieces = splitter.split(main_class, main_class)
    return [np.flatnonzero(np.isin(group, held)).astype(np.int64) for _, held in pieces]


def _group_text(data: Dataset) -> NDArray[np.str_]:
    if data.groups is None:  # then each sample stands for itself
        return np.arange(len(data)).astype(str)
    return data.groups.astype(str)


def _groups_per_class(data: Dataset) -> tuple[int, NDArray[np.int64]]:
    """Number of groups, and in how many of them each class occurs."""
    names, group = np.unique(_group_text(data), return_inverse=True)
    pairs = np.unique(np.stack([data.y, group], axis=1), axis=0)
    return len(names), np.bincount(pairs[:, 0], minlength=data.n_classes).astype(np.int64)


def _complete(data: Dataset, indices: NDArray[np.int64]) -> bool:
    return len(np.unique(data.y[indices])) == data.n_classes


def _both_sides_complete(data: Dataset, held: NDArray[np.int64]) -> bool:
    kept = np.setdiff1d(np.arange(len(data)), held)
    return _complete(data, held) and _complete(data, kept)


def _miss(held: NDArray[np.int64], data: Dataset, share: float) -> float:
    return abs(len(held) / len(data) - share)


def _sorted(fold: tuple[NDArray[np.integer], NDArray[np.integer]]) -> Fold:
    return np.sort(fold[0]).astype(np.int64), np.sort(fold[1]).astype(np.int64)


def _require(data: Dataset, counts: NDArray[np.int64], minimum: int, unit: str, what: str) -> None:
    short = np.flatnonzero(counts < minimum)
    if len(short):
        shown = _class_counts(data, counts, short)
        raise DataError(
            f"Every class must have at least {minimum} {unit} for {what}, got {shown}. "
            f"Add {unit} to these classes or leave the classes out; a larger training subset or "
            "fewer folds may help."
        )


def _class_counts(data: Dataset, counts: NDArray[np.int64], labels: NDArray[np.int64]) -> str:
    shown = [f"{printable(data.classes[i])!r}: {counts[i]}" for i in labels[:10]]
    rest = f" and {len(labels) - 10:,} more classes" if len(labels) > 10 else ""
    return ", ".join(shown) + rest


def _cannot_group(data: Dataset, per_class: NDArray[np.int64], what: str) -> DataError:
    rare = np.argsort(per_class, kind="stable")[:5].astype(np.int64)
    return DataError(
        f"No cut along groups leaves every class on both sides ({what}). Groups of the classes "
        f"with the fewest: {_class_counts(data, per_class, rare)}. Use a finer grouping or fewer "
        "folds."
    )
