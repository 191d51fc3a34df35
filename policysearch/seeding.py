"""The one place where random generators and derived seeds are made.

Two kinds of randomness live here. `derive_seed` and `generator` serve sequential code (splits,
samplers, weight initialisation). `uniforms` is counter-based: the numbers of a sample are a pure
function of (seed, epoch, sample index), so an augmentation does not depend on batch size, order
or the number of loader workers.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MASK63 = (1 << 63) - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def derive_seed(root: int, *names: int | str) -> int:
    """Derives a seed in [0, 2**63) from a root seed and a path of names.

    Different paths give independent seeds; the same path always gives the same one.

    Examples:
      >>> derive_seed(0, "trial", 3) == derive_seed(0, "trial", 3)
      True
      >>> derive_seed(0, "trial", 3) == derive_seed(0, "trial", 4)
      False
    """
    parts = (f"{type(n).__name__}:{n}".replace("\\", "\\\\").replace("/", "\\/") for n in names)
    text = "/".join([str(int(root)), *parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") & _MASK63


def rung_seed(root: int, rung: str, i: int) -> int:
    """Training seed `i` of a rung; other rungs have other seeds."""
    return derive_seed(root, rung, i) % 2**31


def generator(root: int, *names: int | str) -> np.random.Generator:
    """Makes the numpy generator that belongs to a path of names (see `derive_seed`)."""
    return np.random.default_rng(derive_seed(root, *names))


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    z ^= z >> np.uint64(31)
    return z


@functools.lru_cache(maxsize=64)
def _root_key(seed: int) -> NDArray[np.uint64]:
    return _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64) + _GOLDEN)


@functools.lru_cache(maxsize=64)
def _counter(n_draws: int) -> NDArray[np.uint64]:
    return np.asarray(np.arange(1, n_draws + 1, dtype=np.uint64) * _GOLDEN)


def uniforms(
    seed: int, epochs: ArrayLike, indices: ArrayLike, n_draws: int
) -> NDArray[np.float64]:
    """Draws `n_draws` uniform numbers for every sample, as a function of (seed, epoch, index).

    Args:
      seed: Seed of the stream, any integer; taken modulo 2**64.
      epochs: Epoch of each sample: a scalar or shape `(n,)`, integers.
      indices: Index of each sample in its dataset: shape `(n,)`, integers.
      n_draws: Numbers per sample.

    Returns:
      Shape `(n, n_draws)`, in [0, 1), 53 random bits each. Sample `i` gets the same row in
      whatever batch it stands.

    References:
      SplitMix64 finaliser: Steele, Lea & Flood, Fast Splittable Pseudorandom Number Generators,
      OOPSLA 2014, figure 17.
    """
    epoch = np.atleast_1d(np.asarray(epochs)).astype(np.uint64)
    index = np.atleast_1d(np.asarray(indices)).astype(np.uint64)
    key = _mix(_root_key(int(seed)) ^ _mix(epoch * _GOLDEN + np.uint64(1)))
    key = _mix(key ^ _mix(index * _GOLDEN + np.uint64(2)))
    bits = _mix(key[:, None] + _counter(n_draws))
    result: NDArray[np.float64] = (bits >> np.uint64(11)).astype(np.float64)
    result *= 1.0 / (1 << 53)
    return result
