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
#: Waves over an image up to which the noise has any: of nine, a 700th of the amplitude is left.
MOST_WAVES = 8


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
        out = torch.where(pairs.is_categorical.to(x.device), swapped, out)
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
    rectangles = _Rectangles(pairs)
    is_inside = _over_channels(rectangles.is_inside(), pairs.x)
    return torch.where(is_inside, pairs.partner, pairs.x), rectangles.share


def resizemix(pairs: Pairs) -> tuple[Tensor, _Shares]:
    """The whole partner, bilinearly resized into the rectangle that `cutmix` would paste."""
    rectangles = _Rectangles(pairs)
    x = pairs.x
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    whole = pairs.partner.to(dtype).flatten(1, -3)
    places = rectangles.places().to(x.device, dtype)
    small = F.grid_sample(whole, places, padding_mode="border", align_corners=False)
    pasted = pairs.rounded(small.reshape(x.shape), x.dtype)
    return torch.where(_over_channels(rectangles.is_inside(), x), pasted, x), rectangles.share


def fmix(pairs: Pairs) -> tuple[Tensor, _Shares]:
    """The partner where low-frequency noise is among the highest m of its values."""
    h, w = pairs.x.shape[-2:]
    most_y, most_x = min(MOST_WAVES, (h - 1) // 2), min(MOST_WAVES, w // 2)
    y, x = torch.arange(-most_y, most_y + 1), torch.arange(most_x + 1)
    noise = normals(torch.from_numpy(pairs.group.seeds(1)), 2 * len(y) * len(x))
    waves = torch.view_as_complex(noise.reshape(-1, len(y), len(x), 2).contiguous())
    frequency = ((y[:, None] / h) ** 2 + (x / w) ** 2).sqrt().clamp_min(1 / max(h, w))
    spectrum = torch.zeros(len(noise), h, w // 2 + 1, dtype=waves.dtype)
    spectrum[:, y % h, : len(x)] = waves / frequency**DECAY
    clouds = torch.fft.irfft2(spectrum, s=(h, w)).flatten(1)
    n_taken = np.floor(pairs.group.magnitude * h * w + 0.5).astype(np.int64)
    rising = np.sort(clouds.numpy(), axis=1)  # several times as fast as torch
    last = np.minimum(h * w - n_taken, h * w - 1)
    lowest = np.where(n_taken > 0, rising[np.arange(len(clouds)), last], np.inf)
    is_inside = clouds >= torch.from_numpy(lowest.astype(np.float32))[:, None]
    share = is_inside.double().mean(dim=1).numpy()
    inside = _over_channels(is_inside.reshape(-1, h, w), pairs.x)
    return torch.where(inside, pairs.partner, pairs.x), share


Kernel = Callable[[Pairs], tuple[Tensor, _Shares]]
KERNELS: dict[str, Kernel] = {
    "mixup": mixup,
    "cutmix": cutmix,
    "resizemix": resizemix,
    "fmix": fmix,
}


class _Rectangles:
    """A rectangle of m of the area in each image, wholly inside.

    Attributes:
      share: Of the pixels that lie in it, `(k,)`.
    """

    def __init__(self, pairs: Pairs) -> None:
        h, w = pairs.x.shape[-2:]
        side = np.sqrt(pairs.group.magnitude)
        heights, widths = (np.floor(side * n + 0.5).astype(np.int64) for n in (h, w))
        tops = np.floor(pairs.group.draws[:, 1] * (h - heights + 1)).astype(np.int64)
        lefts = np.floor(pairs.group.draws[:, 2] * (w - widths + 1)).astype(np.int64)
        self.share = heights * widths / (h * w)
        self._rows, self._columns = np.arange(h) - tops[:, None], np.arange(w) - lefts[:, None]
        self._heights, self._widths = heights[:, None], widths[:, None]

    def is_inside(self) -> Tensor:
        """Which pixels lie in it, `(k, H, W)` bool."""
        rows = (self._rows >= 0) & (self._rows < self._heights)
        columns = (self._columns >= 0) & (self._columns < self._widths)
        return torch.from_numpy(rows[:, :, None] & columns[:, None, :])

    def places(self) -> Tensor:
        """Where each pixel looks so that a whole image fills it, `(k, H, W, 2)` as (x, y)."""
        y = 2 * (self._rows + 0.5) / np.maximum(self._heights, 1) - 1
        x = 2 * (self._columns + 0.5) / np.maximum(self._widths, 1) - 1
        shape = (*y.shape, x.shape[1])
        both = [np.broadcast_to(v, shape) for v in (x[:, None, :], y[:, :, None])]
        return torch.from_numpy(np.stack(both, axis=-1))


def _over_channels(is_inside: Tensor, x: Tensor) -> Tensor:
    return is_inside.to(x.device).view(len(x), *[1] * (x.ndim - 3), *is_inside.shape[1:])
