"""Draws stratified subsets that stay the same in every version of every library.

A sample's place in the draw is a pure function of (seed, its index): subsets of one seed are
nested up to rounding, and no generator's internals can change them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policysearch.errors import InvalidValueError
from policysearch.seeding import uniforms


def stratified(y: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Draws exactly `size` samples, each class in proportion to its share.

    Args:
      y: Class of each sample, `(n,)`, from 0.
      size: How many to draw, 0..n.
      seed: Seed of the draw.

    Returns:
      Sorted indices `(size,)`.
    """
    counts = np.bincount(y)
    sizes = shares(counts, size)
    keys = uniforms(seed, 0, np.arange(len(y)), 1)[:, 0]
    drawn = []
    for label, n in enumerate(sizes):
        members = np.flatnonzero(y == label)
        drawn.append(members[np.argsort(keys[members], kind="stable")][:n])
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def shares(counts: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """Splits `size` over classes in proportion to `counts`, by largest remainder.

    Ties go to the class with the lower number; no class gets more than it has.

    Examples:
      >>> shares(np.array([60, 30, 10]), 11).tolist()
      [7, 3, 1]
    """
    total = int(counts.sum())
    if not 0 <= size <= total:
        raise InvalidValueError(f"`size` must be in 0..{total}, got {size}.")
    if total == 0:
        return np.zeros(len(counts), dtype=np.int64)
    # Whole-number arithmetic: remainders are exact.
    scaled = counts.astype(np.int64) * size
    sizes = scaled // total
    order = np.argsort(-(scaled % total), kind="stable")
    sizes[order[: size - int(sizes.sum())]] += 1
    return sizes.astype(np.int64)
