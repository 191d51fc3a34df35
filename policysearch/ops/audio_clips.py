"""What audio kernels share: clips of unequal lengths in a batch, and what a policy leaves open.

Parameters are made on the host with numpy, where a small array costs little; samples stay in
torch, on the device they came on. Kernels see `float32` and `float64` only.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Clips:
    """A batch of clips.

    Attributes:
      x: Shape `(n, C, T)`, floating; silence (0) from the length of a clip on. `T` is the room
        that every clip has: one that becomes longer goes on up to there.
      lengths: Shape `(n,)`, 0 to `T`: samples of each clip.
    """

    x: Tensor
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def room(self) -> int:
        """Samples that a clip may have."""
        return int(self.x.shape[2])

    def take(self, rows: NDArray[np.intp]) -> Clips:
        """The given clips only."""
        return Clips(self.x.index_select(0, to_device(rows, self.x)), self.lengths[rows])

    def with_samples(self, x: Tensor) -> Clips:
        """The same lengths with other samples, silent past them."""
        return replace(self, x=silent_past(x, self.lengths))

    def power(self) -> Tensor:
        """Mean square of each clip within its length: shape `(n, 1, 1)`; 0 for an empty one."""
        total = self.x.square().sum(dim=(1, 2))
        counts = np.maximum(self.lengths, 1) * self.x.shape[1]
        return (total / to_device(counts, self.x).to(total.dtype))[:, None, None]


@dataclass(frozen=True, slots=True)
class AudioSettings:
    """What a policy in natural units needs to know of the audio it is applied to.

    Attributes:
      sample_rate: Samples per second.
      background: Recordings that `background_mix` adds, such as a user's noises; `None`: other
        clips of the batch.
    """

    sample_rate: int
    background: Clips | None = None


def to_device(values: NDArray[np.generic], like: Tensor) -> Tensor:
    """Moves an array of parameters to the device of `like`; dtype is kept."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(like.device)


def per_clip(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """Shapes one number per clip `(n,)` so that it multiplies `(n, C, T)`."""
    return to_device(np.asarray(values, dtype=np.float64), like).to(like.dtype)[:, None, None]


def positions(like: Tensor) -> Tensor:
    """Index of every sample of a clip: shape `(T,)`, int64."""
    return torch.arange(like.shape[-1], device=like.device)


def silent_past(x: Tensor, lengths: NDArray[np.int64]) -> Tensor:
    """The clips with silence from their lengths on; NaN that lies there goes too."""
    if (lengths >= x.shape[-1]).all():
        return x
    is_past = positions(x) >= to_device(lengths, x)[:, None]
    return x.masked_fill(is_past[:, None], 0.0)


@functools.lru_cache(maxsize=256)
def fast_length(n: int) -> int:
    """Smallest even product of twos, threes and fives from `n` on: lengths that transform fast.

    Examples:
      >>> fast_length(8001), fast_length(1)
      (8100, 2)
    """
    best = 2
    while best < n:
        best *= 2
    for fives in (5**k for k in range(14)):
        for odd in (fives * 3**k for k in range(14)):
            length = 2 * odd
            while length < n:
                length *= 2
            best = min(best, length)
    return best
