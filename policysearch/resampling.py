"""Which other test samples there might have been: bootstrap weights for a test split.

The same weights serve every arm and every seed, so that differences between arms stay paired.
What is drawn are independent units: samples, or whole groups (speakers, patients), because the
samples of one group err together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from policysearch.seeding import generator

#: A variance from so many resamples is known to a tenth: sqrt(2 / 199).
N_RESAMPLES = 200
#: Weights that are held at a time.
_MAX_WEIGHTS = 1_000_000


def resample_weights(
    y: NDArray[np.int64], groups: NDArray[np.generic] | None = None
) -> Iterator[NDArray[np.float64]]:
    """Weights of the samples in each resample, in blocks `(b, n)`, 200 rows in all.

    Stratified: classes are as frequent in every resample as in the test split, so that rare ones
    are always there. Groups are drawn within their class where each holds only one, else all
    together. Of the m units of a stratum m - 1 are drawn with replacement and weighted by
    m / (m - 1), which makes the variance of a mean unbiased also where m is small. Equal
    arguments give equal weights.

    Args:
      y: Classes, `(n,)`.
      groups: What each sample belongs to, `(n,)`; `None` when samples are independent.

    References:
      Rao & Wu, Resampling inference with complex survey data, JASA 83, 1988, section 2.
    """
    unit = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    strata = _strata(unit, y)
    n_units = int(unit.max()) + 1
    rng = generator(0, "test resamples", len(y), n_units)
    block = max(1, _MAX_WEIGHTS // len(y))
    for first in range(0, N_RESAMPLES, block):
        n_rows = min(block, N_RESAMPLES - first)
        drawn = np.ones((n_rows, n_units))
        for members in strata:
            drawn[:, members] = _drawn(len(members), n_rows, rng)
        yield drawn[:, unit]


def _drawn(m: int, n_rows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Weights of the units of one stratum; a single unit has no variance to show."""
    if m == 1:
        return np.ones((n_rows, 1))
    picks = rng.integers(0, m, (n_rows, m - 1)) + m * np.arange(n_rows)[:, None]
    counts = np.bincount(picks.ravel(), minlength=m * n_rows).reshape(n_rows, m)
    return counts.astype(np.float64) * (m / (m - 1))


def _strata(unit: NDArray[np.int64], y: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Units by class; classes with a single unit form one stratum together."""
    pairs = np.unique(np.stack([unit, y]), axis=1)
    if pairs.shape[1] > len(np.unique(unit)):  # a group of several classes
        return [np.unique(unit)]
    by_class = [pairs[0, pairs[1] == label] for label in np.unique(y)]
    single = [members for members in by_class if len(members) == 1]
    strata = [members for members in by_class if len(members) > 1]
    if len(single) == 1 and strata:
        smallest = min(range(len(strata)), key=lambda i: len(strata[i]))
        strata[smallest] = np.concatenate([strata[smallest], single[0]])
    elif single:
        strata.append(np.concatenate(single))
    return strata
