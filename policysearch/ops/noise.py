"""Random numbers as a function of a seed and a place, on any device, for kernels that need many.

A draw gives an operation a few uniform numbers per sample. One that needs a number per value makes
them here from a seed, so that they depend on the sample's own draw and the place in the sample,
never on the batch, nor on how far its neighbours are padded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# SplitMix64 (see policysearch.seeding) as signed 64-bit numbers, which torch can multiply.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX2 = 0x94D049BB133111EB - (1 << 64)
_ROW = 1 << 32  # places of a row: more than any series has steps


def normals(seeds: Tensor, count: int) -> Tensor:
    """Standard normal numbers as a function of (seed, place): shape `(n, count)`, float32.

    Args:
      seeds: Shape `(n,)`, int64.
      count: Numbers per seed. The first half of the places gets the cosines, the second half the
        sines of the same pairs.

    References:
      SplitMix64 (Steele, Lea & Flood, OOPSLA 2014); Box & Muller, 1958.
    """
    half = (count + 1) // 2
    radius, angle = _polar(_bits(seeds, torch.arange(1, half + 1, device=seeds.device)))
    return torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)[:, :count]


def normal_rows(seeds: Tensor, n_rows: int, n_steps: int) -> Tensor:
    """Standard normal numbers as a function of (seed, row, step), however many steps there are.

    Args:
      seeds: Shape `(n,)`, int64.
      n_rows: Rows of a sample, such as the channels of a series.
      n_steps: Steps of a row.

    Returns:
      Shape `(n, n_rows, n_steps)`, float32.
    """
    pairs = torch.arange(1, (n_steps + 1) // 2 + 1, device=seeds.device)
    rows = torch.arange(n_rows, device=seeds.device) * _ROW
    radius, angle = _polar(_bits(seeds, rows[:, None] + pairs))
    both = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)
    return both.flatten(-2)[..., :n_steps]


def uniform_places(seeds: Tensor, n_places: int) -> Tensor:
    """Uniform numbers in [0, 1) as a function of (seed, place): `(n, n_places)`, float64."""
    bits = _bits(seeds, torch.arange(1, n_places + 1, device=seeds.device))
    return ((bits >> 11) & ((1 << 53) - 1)).to(torch.float64) * 2.0**-53


def _bits(seeds: Tensor, places: Tensor) -> Tensor:
    """64 random bits for every seed and place: `(n, *places.shape)`, int64."""
    keys = _mix(seeds + _GOLDEN).view(-1, *[1] * places.ndim)
    return _mix(keys + places * _GOLDEN)


def _polar(bits: Tensor) -> tuple[Tensor, Tensor]:
    """Radius and angle of pairs of normal numbers, float32."""
    radius_bits, angle_bits = (bits >> 40) & 0xFFFFFF, bits & 0xFFFFFF
    uniform = (radius_bits.to(torch.float32) + 0.5) * 2.0**-24
    radius = uniform.log_().mul_(-2).sqrt_()
    return radius, angle_bits.to(torch.float32) * (2 * math.pi * 2.0**-24)


def _mix(z: Tensor) -> Tensor:
    # The shift of a signed number drags its sign along; the mask makes it logical.
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _MIX1
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _MIX2
    return z ^ ((z >> 31) & ((1 << 33) - 1))
