"""The built-in dataset: scikit-learn's handwritten digits, which need no download.

The split is part of the dataset: it comes from a constant, not from the user's seed, so that
figures from different runs are about the same 800 test images.
"""

from __future__ import annotations

import numpy as np

from policysearch.data.dataset import Dataset, Source
from policysearch.data.draw import stratified

NAME = "digits"
N_TEST = 800
_SPLIT_SEED = 20_240_601


def load_digits() -> Source:
    """1,797 images `(1, 8, 8)` uint8 of 10 classes: 997 to train on, 800 to test on.

    The source holds 0..16 per pixel; here it is `round(v * 255 / 16)`.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    raw = sklearn_digits()
    x = np.round(raw.images * (255 / 16)).astype(np.uint8)[:, None]
    whole = Dataset(
        x=x,
        y=raw.target.astype(np.int64),
        classes=tuple(str(i) for i in range(10)),
        names=tuple(f"digit {i}" for i in range(len(x))),
    )
    test = stratified(whole.y, N_TEST, _SPLIT_SEED)
    train = np.setdiff1d(np.arange(len(whole)), test)
    return Source(train=whole.take(train), test=whole.take(test), name=NAME)
