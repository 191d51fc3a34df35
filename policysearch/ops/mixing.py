"""Mixing samples of a batch: kernels that give values and the share that came from the partner.

Images are `(k, C, H, W)` or `(k, C, D, H, W)` in any dtype, others floating. A kernel never
changes what it is given. The share is counted from what was really replaced, so that targets are
right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from policysearch.ops.noise import normals, uniform_places
from policysearch.ops.stages import StageGroup

_Shares = NDArray[np.float64]
#: Decay of the spectrum of FMix masks: a share of low frequencies (FMix, section 4).
DECAY = 3.0


@dataclass(frozen=True)
class Pairs:
    """Samples that get the same mixing operation, each with its partner.

    Attributes:
      x: Shape `(k, ...)`.
      partner: Of the same shape and dtype.
      group: Magnitudes and draws; the first draw has chosen the partner.
      lengths: Steps of each sample and of each partner that are no padding, `(k,)` int64 each;
        `None`: all.
      is_categorical: Columns of categories of a table, `(d,)` bool; `None`: none.
      rounded: Turns averages into values of a dtype.
    """

    x: Tensor
    partner: Tensor
    group: StageGroup
    lengths: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    is_categorical: Tensor | None
    rounded: Callable[[Tensor, torch.dtype], Tensor]


def mixup(pairs: Pairs) -> tuple[Tensor, _Shares]:
    """`(1 - m) x + m z`; where only one of both is known or inside its length, that of `x`.

    A category becomes that of the partner with chance m, from the seed of the sample.
    """
    share = pairs.group.magnitude
    x, z = pairs.x, pairs.partner
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    factor = torch.from_numpy(share).to(x.device, dtype).view(-1, *[1] * (x.ndim - 1))
    values = torch.lerp(x.to(dtype), z.to(dtype), factor)
    out = pairs.rounded(values, x.dtype)
    if pairs.is_categorical is not None:
        uniform = uniform_places(torch.from_numpy(pairs.group.seeds(0)), x.shape[1])
        is_hit = uniform.to(x.device) < factor
        swapped = torch.where(is_hit, z, x)
        out = torch.where(pairs.is_categorical, swapped, out)
    if x.dtype.is_floating_point and pairs.lengths is None and not bool(out.isnan().any()):
        return out, share
    if x.dtype.is_floating_point:
        out = torch.where(z.isnan() | x.isnan(), x, out)
    if pairs.lengths is not None:
        mine, others = pairs.lengths
        both = np.minimum(mine, others)
        steps = torch.arange(x.shape[-1], device=x.device)
        is_both = steps < torch.from_numpy(both).to(x.device)[:, None, None]
        out = torch.where(is_both, out, x)
        share = share * both / np.maximum(mine, 1)
    return out, share


def cutmix(pairs: Pairs) -> tuple[Tensor, _Shares]:
    """A rectangle of the partner at its own place; sides are in proportion to the image's."""
    is_inside, share = _rectangles(pairs)
    return torch.where(_over_channels(is_inside, pairs.x), pairs.partner, pairs.x), share


def resizemix(pairs: Pairs) -> tuple[Tensor, _Shares]:
    """The whole partner, bilinearly resized into the rectangle that `cutmix` would paste."""
    is_inside, share = _rectangles(pairs)
    out = pairs.x.clone()
    for i in range(len(out)):
        rows, columns = (is_inside[i].any(dim=d).nonzero()[:, 0] for d in (1, 0))
        if not len(rows):
            continue
        top, left, h, w = int(rows[0]), int(columns[0]), len(rows), len(columns)
        whole = pairs.partner[i].flatten(0, -3)[None].to(torch.float32)
        small = F.interpolate(whole, (h, w), mode="bilinear", antialias=True)
        small = small.reshape(*out.shape[1:-2], h, w)
        out[i, ..., top : top + h, left : left + w] = pairs.rounded(small, out.dtype)
    return out, share


def fmix(pairs: Pairs) -> tuple[Tensor, _Shares]:
    """The partner where low-frequency noise is among the highest m of its values."""
    h, w = pairs.x.shape[-2:]
    noise = normals(torch.from_numpy(pairs.group.seeds(1)), 2 * h * (w // 2 + 1)).double()
    spectrum = torch.view_as_complex(noise.reshape(-1, h, w // 2 + 1, 2).contiguous())
    y, x = torch.fft.fftfreq(h)[:, None], torch.fft.rfftfreq(w)[None]
    frequency = (y.double() ** 2 + x.double() ** 2).sqrt().clamp_min(1 / max(h, w))
    clouds = torch.fft.irfft2(spectrum / frequency**DECAY, s=(h, w)).flatten(1)
    n_taken = np.floor(pairs.group.magnitude * h * w + 0.5).astype(np.int64)
    rank = clouds.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    is_inside = (rank < torch.from_numpy(n_taken)[:, None]).reshape(-1, h, w)
    out = torch.where(_over_channels(is_inside, pairs.x), pairs.partner, pairs.x)
    return out, n_taken / (h * w)


Kernel = Callable[[Pairs], tuple[Tensor, _Shares]]
KERNELS: dict[str, Kernel] = {
    "mixup": mixup,
    "cutmix": cutmix,
    "resizemix": resizemix,
    "fmix": fmix,
}


def _rectangles(pairs: Pairs) -> tuple[Tensor, _Shares]:
    """Where a rectangle of m of the area lies, `(k, H, W)` bool, and its share of the pixels."""
    h, w = pairs.x.shape[-2:]
    side = np.sqrt(pairs.group.magnitude)
    heights, widths = (np.floor(side * n + 0.5).astype(np.int64) for n in (h, w))
    tops = np.floor(pairs.group.draws[:, 1] * (h - heights + 1)).astype(np.int64)
    lefts = np.floor(pairs.group.draws[:, 2] * (w - widths + 1)).astype(np.int64)
    y, x = np.arange(h)[:, None], np.arange(w)[None]

    def column(values: NDArray[np.int64]) -> NDArray[np.int64]:
        return values[:, None, None]

    is_inside = (y >= column(tops)) & (y < column(tops + heights))
    is_inside = is_inside & (x >= column(lefts)) & (x < column(lefts + widths))
    return torch.from_numpy(is_inside), heights * widths / (h * w)


def _over_channels(is_inside: Tensor, x: Tensor) -> Tensor:
    return is_inside.to(x.device).view(len(x), *[1] * (x.ndim - 3), *is_inside.shape[1:])
