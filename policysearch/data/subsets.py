"""Training sets drawn anew: what a comparison needs to speak about more than one of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policysearch.data.dataset import Dataset, listed
from policysearch.data.draw import stratified
from policysearch.errors import DataError
from policysearch.seeding import derive_seed, uniforms

#: Sets that share more than half of their samples say little about others.
MAX_OVERLAP = 0.5


def draw_subsets(
    pool: Dataset, n: int, size: int | None, seed: int
) -> tuple[tuple[NDArray[np.int64], ...], float]:
    """Draws `n` stratified subsets: disjoint where there are enough samples, else independent.

    Args:
      pool: All training samples.
      n: How many to draw.
      size: Samples of each.
      seed: Decides the draw.

    Returns:
      Indices of each subset, and the share of it that another one contains in expectation.

    Raises:
      DataError: When the subsets would have more than half of their samples in common, or one
        would lack a class.
    """
    limit = int(MAX_OVERLAP * len(pool))
    if size is None or size > limit:
        raise DataError(
            f"{n} training subsets need a `train_size` of at most {limit:,}, half of the "
            f"{len(pool):,} training samples, got {'none' if size is None else f'{size:,}'}. "
            "Give --train-size, or compare over seeds only, without --subsets."
        )
    seed = derive_seed(seed, "splits", "subsets")
    if n * size <= len(pool):
        order = _in_proportion(pool.y, seed)
        drawn = [np.sort(order[i * size : (i + 1) * size]) for i in range(n)]
        overlap = 0.0
    else:
        drawn = [stratified(pool.y, size, derive_seed(seed, i)) for i in range(n)]
        overlap = size / len(pool)
    for indices in drawn:
        lacking = np.setdiff1d(np.arange(pool.n_classes), pool.y[indices])
        if len(lacking):
            names = listed([pool.classes[i] for i in lacking])
            raise DataError(
                f"A training subset of {size:,} samples would hold none of class {names}. "
                "Choose a larger --train-size, or fewer --subsets."
            )
    return tuple(drawn), overlap


def subset_notices(pool: Dataset, overlap: float) -> list[str]:
    """What the user should know about the subsets of a pool."""
    notices = []
    if overlap:
        notices.append(
            f"The training subsets have {overlap:.0%} of their samples in common: the intervals "
            "are wider for it. A smaller --train-size or fewer --subsets makes them disjoint."
        )
    if pool.groups is not None:
        notices.append(
            "Training subsets are drawn by sample: the intervals hold for new training samples "
            "of the same groups."
        )
    return notices


def _in_proportion(y: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """All samples in a random order of which every stretch has about the shares of the classes."""
    keys = uniforms(seed, 0, np.arange(len(y)), 1)[:, 0]
    place = np.empty(len(y))
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        ranks = np.argsort(np.argsort(keys[members], kind="stable"), kind="stable")
        place[members] = (ranks + 0.5) / len(members)
    return np.lexsort((keys, place)).astype(np.int64)
