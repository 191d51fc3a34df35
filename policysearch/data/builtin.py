"""Datasets that need no file: those that scikit-learn ships, with a split that is part of them.

The split comes from a constant, not from the user's seed, so that figures from different runs are
about the same test samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from policysearch.data import digits
from policysearch.data.columns import Column
from policysearch.data.dataset import Dataset, Source
from policysearch.data.draw import stratified

_SPLIT_SEED = 20_240_601


def load_wine() -> Source:
    """178 wines of three growers, 13 numbers each: 100 to train on, 78 to test on."""
    from sklearn.datasets import load_wine as read

    return _table("wine", read(), n_test=78)


def load_breast_cancer() -> Source:
    """569 tumours, malignant or benign, 30 numbers each: 300 to train on, 269 to test on."""
    from sklearn.datasets import load_breast_cancer as read

    return _table("breast_cancer", read(), n_test=269)


def _table(name: str, raw: Any, n_test: int) -> Source:
    x = np.asarray(raw.data, dtype=np.float64)
    whole = Dataset(
        x=x,
        y=np.asarray(raw.target, dtype=np.int64),
        classes=tuple(str(label) for label in raw.target_names),
        names=tuple(f"row {i}" for i in range(len(x))),
        modality="tabular",
        columns=tuple(Column(str(column)) for column in raw.feature_names),
    )
    test = stratified(whole.y, n_test, _SPLIT_SEED)
    train = np.setdiff1d(np.arange(len(whole)), test)
    return Source(train=whole.take(train), test=whole.take(test), name=name)


#: Loaders by the name that a user gives.
BUILTIN: Mapping[str, Callable[[], Source]] = MappingProxyType(
    {digits.NAME: digits.load_digits, "wine": load_wine, "breast_cancer": load_breast_cancer}
)
