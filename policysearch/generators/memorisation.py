"""Whether a generator gives its training samples away: how near to them its own samples lie.

A first look and no proof: what is near in numbers need not look alike, and a generator can leak
in ways that no distance shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.errors import GeneratorError
from policysearch.generators.base import Generator
from policysearch.generators.encoding import Encoding
from policysearch.generators.samples import FitData
from policysearch.seeding import derive_seed

_QUANTILE = 0.05
_COPY = 0.01  # nearer than this share of the usual distance: a copy

_Vector = NDArray[np.float64]


def memorisation_report(
    generator: Generator, train: FitData, held: FitData, n: int = 200, seed: int = 0
) -> dict[str, Any]:
    """Compares distances to the nearest training sample of the class.

    Synthetic samples are drawn at temperature 1, of classes as frequent as among the held-out
    ones. Distances are Euclidean, in standard deviations of the training channel or column; two
    categories that differ add 2 to the square.

    Args:
      generator: Fitted to `train`.
      train: Its training samples.
      held: Samples it was not fitted to, of the same kind.
      n: Synthetic samples.
      seed: Of the samples.

    Returns:
      Plain data: `n_synthetic`, `n_held`; `median` and `quantile_05` of both distances;
      `share_nearer`, of synthetic samples nearer than 95 % of the held-out ones (about 0.05 where
      nothing is memorised); `share_copies`, nearer than 1 % of the median of the held-out ones;
      `probability_nearer`, that a synthetic sample is nearer than a held-out one (0.5 where both
      are alike); `is_suspicious`; and a `sentence`.

    Raises:
      GeneratorError: Where no class has both training and held-out samples.
    """
    if not generator.n_classes == train.n_classes == held.n_classes:
        raise GeneratorError(
            "Generator, training and held-out samples must have the same classes, got "
            f"{generator.n_classes}, {train.n_classes} and {held.n_classes}."
        )
    usable = generator.known & train.frame.known
    rows = np.flatnonzero(usable[held.y])
    if not len(rows) or n < 1:
        raise GeneratorError(
            "A report on memorisation needs held-out samples of classes that were trained on, and "
            f"`n` of at least 1; got {len(rows)} samples and {n}."
        )
    encoding = Encoding.fit(train)
    # Evenly over the held-out samples in order of class, whatever their number.
    ordered = np.sort(held.y[rows])
    labels = ordered[(np.arange(n) * len(rows)) // n]
    seeds = np.array([derive_seed(seed, "memorisation", i) for i in range(n)], np.int64)
    synthetic = generator.sample(labels, np.ones(n), seeds)
    near = _nearest(encoding, train, synthetic, labels)
    usual = _nearest(encoding, train, held.x[rows], held.y[rows])
    limit, median = float(np.quantile(usual, _QUANTILE)), float(np.median(usual))
    share = float((near < limit).mean())
    copies = float((near <= _COPY * median).mean())
    nearer = _probability_less(near, usual)
    is_suspicious = bool(share > _QUANTILE + 3 * _spread(n, len(rows)) or copies > 0)
    return {
        "n_synthetic": n,
        "n_held": len(rows),
        "median": {"synthetic": float(np.median(near)), "held": median},
        "quantile_05": {"synthetic": float(np.quantile(near, _QUANTILE)), "held": limit},
        "share_nearer": share,
        "share_copies": copies,
        "probability_nearer": nearer,
        "is_suspicious": is_suspicious,
        "sentence": _sentence(share, copies, nearer, is_suspicious),
    }


def _nearest(
    encoding: Encoding, train: FitData, x: NDArray[np.float32], labels: NDArray[np.int64]
) -> _Vector:
    """Distance of each sample to the nearest training sample of its class, `(n,)`."""
    from sklearn.neighbors import NearestNeighbors

    points = encoding.encode(x).numpy().astype(np.float64)
    known = encoding.encode(train.x).numpy().astype(np.float64)
    found = np.empty(len(x))
    for label in np.unique(labels):
        mine = labels == label
        search = NearestNeighbors(n_neighbors=1).fit(known[train.y == label])
        found[mine] = search.kneighbors(points[mine])[0][:, 0]
    return found


def _probability_less(a: _Vector, b: _Vector) -> float:
    """Probability that one of `a` is less than one of `b`; ties count half."""
    ordered = np.sort(b)
    less = len(b) - np.searchsorted(ordered, a, side="right")
    ties = np.searchsorted(ordered, a, side="right") - np.searchsorted(ordered, a, side="left")
    return float((less + 0.5 * ties).mean() / len(b))


def _spread(n: int, n_held: int) -> float:
    """Standard error of the share where nothing is memorised, from both samples."""
    return float(np.sqrt(_QUANTILE * (1 - _QUANTILE) * (1 / n + 1 / n_held)))


def _sentence(share: float, copies: float, nearer: float, is_suspicious: bool) -> str:
    measured = (
        f"{share:.0%} of the synthetic samples lie nearer to a training sample of their class "
        f"than 95% of held-out samples do (5% where nothing is memorised), and a synthetic sample "
        f"is nearer than a held-out one with probability {nearer:.2f} (0.50 where both are alike)"
    )
    if copies > 0:
        return f"{copies:.0%} of the synthetic samples are copies of training samples; {measured}."
    if is_suspicious:
        return (
            f"{measured}: the generator may give training samples away, or its samples are "
            "plainer than real ones. Look at the nearest pairs before sharing it."
        )
    return f"{measured}: no sign of memorisation, which is no proof that there is none."
