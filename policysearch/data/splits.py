"""Who may see which samples, decided once.

Objectives receive `SearchData`, which has no test field: during a search the test split cannot be
read, not even by mistake. `FinalData` is for the final comparison. Search-validation comes out of
the training data: K folds when it is small, one split when it is large. A group never straddles a
split. Every decision follows from one seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policysearch.data.dataset import Dataset, Source, join, listed, printable
from policysearch.data.draw import shares, stratified
from policysearch.data.held_out import hold_out, k_folds
from policysearch.data.subsets import draw_subsets, subset_notices
from policysearch.errors import DataError, InvalidValueError
from policysearch.seeding import derive_seed

Indices = NDArray[np.int64]
Fold = tuple[Indices, Indices]

FOLDS_UP_TO = 2_000
DEFAULT_FOLDS = 3
DEFAULT_VAL_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class SearchData:
    """What a search may see.

    Attributes:
      train: All training samples.
      folds: Pairs of (training, validation) indices into `train`, int64: for the search.
      confirm_folds: Pairs drawn anew for each seed of the confirmation, as many for each, one
        seed after the other: a policy which was lucky with one division of the data has to show
        itself on others.
    """

    train: Dataset
    folds: tuple[Fold, ...]
    confirm_folds: tuple[Fold, ...] = ()

    def fold(self, number: int) -> Fold:
        """Folds of the search, then those of the confirmation; beyond them, from the first on."""
        if number < len(self.folds):
            return self.folds[number]
        anew = self.confirm_folds or self.folds
        return anew[(number - len(self.folds)) % len(anew)]


@dataclass(frozen=True, eq=False)
class FinalData:
    """What the final comparison trains on and is measured with.

    Attributes:
      subsets: Training sets drawn anew, one per replicate; empty: `train` for all of them.
      overlap: Share of a subset that another one has in common with it, in expectation.
    """

    train: Dataset
    test: Dataset
    subsets: tuple[Dataset, ...] = ()
    overlap: float = 0.0

    def training(self, number: int) -> Dataset:
        """What replicate `number` trains on."""
        return self.subsets[number] if self.subsets else self.train


@dataclass(frozen=True, eq=False)
class Splits:
    """The splits of one run.

    Attributes:
      search: For objectives: without the test split.
      final: For the final comparison. `final.train` is `search.train`.
      notices: What the user should be told about the splits.
      kind: How validation is held out, in words.
    """

    search: SearchData
    final: FinalData
    notices: tuple[str, ...] = ()
    kind: str = "validation"

    def describe(self) -> str:
        """One line: sizes and the kind of validation."""
        train = self.final.train
        form = " x ".join(str(n) for n in train.x.shape[1:]) + f" {train.x.dtype}"
        if train.modality == "text":
            form = "texts"
        grouped = ""
        if train.groups is not None:
            grouped = f" in {len(np.unique(train.groups)):,} groups"
        return (
            f"{len(train):,} training samples{grouped} ({train.n_classes} classes, "
            f"{form}), {self.kind}, "
            f"{len(self.final.test):,} test samples"
        )


def make_splits(
    source: Source,
    *,
    seed: int,
    train_size: int | None = None,
    val_share: float | None = None,
    test_share: float = 0.2,
    n_folds: int | None = None,
    n_confirm: int | None = None,
    n_subsets: int | None = None,
) -> Splits:
    """Splits a source into training data with search-validation, and a test split.

    Args:
      source: What a loader gave; its own test and validation splits are kept.
      seed: Decides every draw.
      train_size: Size of a stratified training subset, validation included; `None` takes all.
      val_share: Share of the training data held out once for validation, in (0, 1); `None` gives
        K folds up to 2,000 samples and one split of 0.25 beyond.
      test_share: Share held out for the test when the source has no test split, in (0, 1).
      n_folds: Number of folds, at least 2; `None` chooses. Not together with `val_share`.
      n_confirm: Seeds of the confirmation, each with folds of its own; `None`: enough for six
        trainings of a policy.
      n_subsets: Number of training sets of `train_size` to draw anew for the final comparison.

    Raises:
      InvalidValueError: When an option is not valid.
      DataError: When the data do not allow the splits; names classes, counts, the minimum.
    """
    _check_options(train_size, val_share, test_share, n_folds)
    _check_source(source)
    notices: list[str] = []
    pool, test = source.train, source.test
    if test is None:
        pool, test = _held_out_test(pool, test_share, seed)
        notices.append(f"No test split was given: {len(test):,} samples were held out for it.")
    n_train = len(pool)
    if source.val is not None:
        pool = join(pool, source.val)
        if val_share is not None or n_folds is not None:
            notices.append("The data's own validation split is used: no `val_share`, `n_folds`.")
    is_val = np.arange(len(pool)) >= n_train
    subsets: tuple[Dataset, ...] = ()
    overlap = 0.0
    if n_subsets is not None:
        drawn, overlap = draw_subsets(pool, n_subsets, train_size, seed)
        subsets = tuple(pool.take(indices) for indices in drawn)
        notices.extend(subset_notices(pool, overlap))
    if train_size is not None:
        subset = _subset(pool, is_val, train_size, derive_seed(seed, "splits", "subset"))
        pool, is_val = pool.take(subset), is_val[subset]
    if source.val is not None:
        folds, kind = _own_fold(pool, is_val)
        confirm_folds = folds
    else:
        folds, kind = _folds(pool, seed, val_share, n_folds)
        confirm_folds = tuple(
            fold
            for i in range(n_confirm or math.ceil(6 / len(folds)))
            for fold in _folds(
                pool, derive_seed(seed, "splits", "confirmation", i), val_share, n_folds
            )[0]
        )
    notices.extend(_group_notices(pool, test))
    search = SearchData(pool, folds, confirm_folds)
    final = FinalData(pool, test, subsets, overlap)
    return Splits(search, final, tuple(notices), kind)


def _held_out_test(pool: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    kept, held = hold_out(pool, share, derive_seed(seed, "splits", "test"), "the test")
    return pool.take(kept), pool.take(held)


def _check_options(
    train_size: int | None, val_share: float | None, test_share: float, n_folds: int | None
) -> None:
    for name, share in (("val_share", val_share), ("test_share", test_share)):
        if share is not None and not 0.0 < share < 1.0:
            raise InvalidValueError(f"`{name}` must lie between 0 and 1, got {share!r}.")
    if train_size is not None and train_size < 1:
        raise InvalidValueError(f"`train_size` must be at least 1, got {train_size!r}.")
    if n_folds is not None and n_folds < 2:
        raise InvalidValueError(
            f"`n_folds` must be at least 2, got {n_folds!r}. For one split give `val_share`."
        )
    if n_folds is not None and val_share is not None:
        raise InvalidValueError(
            f"Give `n_folds` (got {n_folds}) or `val_share` (got {val_share}), not both."
        )


def _check_source(source: Source) -> None:
    train = source.train
    for name, part in source.parts().items():
        if part.classes != train.classes:
            differ = sorted(set(part.classes) ^ set(train.classes))
            raise DataError(
                f"The {name} split must have the classes of the training split, got a difference "
                f"in {listed(differ) or 'their order'}."
            )
        if part.x.shape[1:] != train.x.shape[1:] or part.x.dtype != train.x.dtype:
            raise DataError(
                f"The {name} split must have the sample shape and dtype of the training split, "
                f"got {part.x.shape[1:]} {part.x.dtype} against {train.x.shape[1:]} "
                f"{train.x.dtype}."
            )
        if len(part) == 0:
            raise DataError(f"The {name} split must not be empty.")
    if train.n_classes < 2:
        raise DataError(
            f"There must be at least 2 classes, got only '{listed(train.classes)}'. "
            "A classifier has nothing to learn from one."
        )
    empty = [train.classes[i] for i in np.flatnonzero(train.counts() == 0)]
    if empty:
        raise DataError(f"Every class must have training samples, got none for {listed(empty)}.")


def _subset(pool: Dataset, is_val: NDArray[np.bool_], size: int, seed: int) -> Indices:
    """Draws exactly `size` samples; an own validation split keeps its share of them."""
    if size > len(pool):
        raise DataError(
            f"`train_size` must be at most {len(pool):,}, the number of training samples, "
            f"got {size:,}."
        )
    n_val = int(is_val.sum())
    if n_val == 0:
        return stratified(pool.y, size, seed)
    sizes = shares(np.array([len(pool) - n_val, n_val]), size)
    parts = [np.flatnonzero(~is_val), np.flatnonzero(is_val)]
    drawn = [
        part[stratified(pool.y[part], int(n), derive_seed(seed, i))]
        for i, (part, n) in enumerate(zip(parts, sizes, strict=True))
    ]
    return np.concatenate(drawn).astype(np.int64)


def _own_fold(pool: Dataset, is_val: NDArray[np.bool_]) -> tuple[tuple[Fold, ...], str]:
    fold = (np.flatnonzero(~is_val).astype(np.int64), np.flatnonzero(is_val).astype(np.int64))
    if len(fold[1]) == 0:
        raise DataError("The validation split must not be empty. Choose a larger `train_size`.")
    counts = np.bincount(pool.y[fold[0]], minlength=pool.n_classes)
    if (counts == 0).any():
        empty = [pool.classes[i] for i in np.flatnonzero(counts == 0)]
        raise DataError(
            f"Every class must have training samples beside the validation split, got none for "
            f"{listed(empty)}. Choose a larger `train_size`."
        )
    return (fold,), f"the data's own validation split of {len(fold[1]):,}"


def _folds(
    pool: Dataset, seed: int, val_share: float | None, n_folds: int | None
) -> tuple[tuple[Fold, ...], str]:
    how = "stratified" if pool.groups is None else "grouped"
    fold_seed = derive_seed(seed, "splits", "validation")
    if n_folds is None and (val_share is not None or len(pool) > FOLDS_UP_TO):
        share = DEFAULT_VAL_SHARE if val_share is None else val_share
        fold = hold_out(pool, share, fold_seed, "the validation")
        return (fold,), f"one {how} validation split of {len(fold[1]):,}"
    n = n_folds or DEFAULT_FOLDS
    return k_folds(pool, n, fold_seed), f"{n} {how} folds for validation"


def _group_notices(train: Dataset, test: Dataset) -> Sequence[str]:
    if train.groups is None or test.groups is None:
        return []
    shared = np.intersect1d(train.groups.astype(str), test.groups.astype(str))
    if not len(shared):
        return []
    shown = listed([printable(group) for group in shared], 5)
    return [f"{len(shared):,} groups are in both the training and the test split: {shown}."]
