"""Colour operations that change each value by itself.

On `uint8` such an operation is a table of 256 values; the tables of all samples are looked up in
one gather. On floats the same formulas hold without rounding, with 255 levels to the range; most
are straight lines there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops.image_color import gray_values
from policysearch.ops.kernel import ImageSettings, OpRows, in_groups, per_sample, to_device

_Floats = NDArray[np.float64]
_Bytes = NDArray[np.uint8]

_LEVELS = np.arange(256)
# Below this an image has less than 255 pixels darker than its brightest: nothing to equalize.
MIN_EQUALIZED_PIXELS = 256
# Part of a level by which a float may miss the level it stands for.
_SLACK = 1e-3


def apply(x: Tensor, op: OpRows, _settings: ImageSettings) -> Tensor:
    """Applies to each sample its operation; see `image_kernels.apply_stages`."""
    if x.dtype == torch.uint8:
        return look_up(x, tables(x, op))
    return apply_float(x, op)


def look_up(x: Tensor, table: Tensor) -> Tensor:
    """Replaces every level by its entry.

    Args:
      x: Shape `(n, C, H, W)`, `uint8`.
      table: Shape `(n, C, 256)`, `uint8`.
    """
    n, channels = x.shape[:2]
    flat = table.reshape(n * channels, 256)
    return torch.gather(flat, 1, x.reshape(n * channels, -1).to(torch.int64)).view(x.shape)


def tables(x: Tensor, op: OpRows) -> Tensor:
    """Tables of all samples and channels, shape `(n, C, 256)`, `uint8`, on the device of `x`.

    Those that depend on the image are made where it lies: a device is not waited for.
    """
    n, channels = x.shape[:2]
    plain = np.empty((n, channels, 256), dtype=np.uint8)
    dependent = []
    for name, rows in op.groups():
        part = op.take(rows)
        if name in PLAIN_TABLES:
            plain[rows] = PLAIN_TABLES[name](part.magnitude[:, None])[:, None]
        elif name == "channel_shift":
            plain[rows] = channel_tables(part, channels)
        else:
            dependent.append((_IMAGE_TABLES[name], to_device(rows, x), part))
    table = to_device(plain, x)
    for make, chosen, part in dependent:
        table[chosen] = make(x.index_select(0, chosen), part)
    return table


def _nearest(values: _Floats) -> _Bytes:
    return np.floor(np.clip(values, 0, 255) + 0.5).astype(np.uint8)


def _blend(start: _Floats, magnitude: _Floats) -> _Bytes:
    """Pillow's `Image.blend` from a constant to the image, in its float32, fractions dropped."""
    begin = start.astype(np.float32)
    step = (1 + magnitude).astype(np.float32) * (_LEVELS.astype(np.float32) - begin)
    return np.clip(begin + step, 0, 255).astype(np.uint8)


def _brightness(m: _Floats) -> _Bytes:
    return _blend(np.zeros_like(m), m)


def _invert(m: _Floats) -> _Bytes:
    return np.broadcast_to(255 - _LEVELS, (len(m), 256)).astype(np.uint8)


def _posterize(m: _Floats) -> _Bytes:
    bits = np.rint(m).astype(np.int64)
    return ((_LEVELS >> bits) << bits).astype(np.uint8)


def _solarize(m: _Floats) -> _Bytes:
    return np.where(256 - m > _LEVELS, _LEVELS, 255 - _LEVELS).astype(np.uint8)


def _solarize_add(m: _Floats) -> _Bytes:
    return np.where(_LEVELS < 128, _nearest(_LEVELS + m), _LEVELS).astype(np.uint8)


def _exponent(m: _Floats) -> _Floats:
    return np.where(m >= 0, 1 + np.abs(m), 1 / (1 + np.abs(m)))


def _gamma(m: _Floats) -> _Bytes:
    return _nearest(255 * (_LEVELS / 255) ** _exponent(m))


PLAIN_TABLES: dict[str, Callable[[_Floats], _Bytes]] = {
    "brightness": _brightness,
    "invert": _invert,
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize_add": _solarize_add,
    "gamma": _gamma,
}


def _shifts(op: OpRows, channels: int) -> _Floats:
    """Offsets of a channel shift as a fraction of the range, shape `(n, C)`: draw per channel.

    Beyond the sixteenth channel the draws begin again.
    """
    draws = op.draws[:, np.arange(channels) % op.draws.shape[1]]
    return op.magnitude[:, None] * (2 * draws - 1)


def channel_tables(op: OpRows, channels: int) -> _Bytes:
    """Tables of a channel shift, shape `(n, C, 256)`."""
    return _nearest(_LEVELS + 255 * _shifts(op, channels)[:, :, None])


def _contrast(x: Tensor, op: OpRows) -> Tensor:
    """Towards or away from the mean gray, rounded to a level (`ImageEnhance.Contrast`)."""
    total = gray_values(x).sum(dim=(1, 2, 3), dtype=torch.float64)
    mean = torch.floor(total / (x.shape[2] * x.shape[3]) + 0.5).to(torch.float32)[:, None]
    factor = to_device((1 + op.magnitude).astype(np.float32), x)[:, None]
    levels = torch.arange(256, dtype=torch.float32, device=x.device)
    blended = ((levels - mean) * factor).add_(mean).clamp_(0, 255)
    return blended.to(torch.uint8)[:, None].expand(-1, x.shape[1], -1)


def _autocontrast(x: Tensor, _op: OpRows) -> Tensor:
    """Lowest level to 0, highest to 255, fractions dropped (`ImageOps.autocontrast`)."""
    low = x.amin(dim=(2, 3)).to(torch.float64)[:, :, None]
    high = x.amax(dim=(2, 3)).to(torch.float64)[:, :, None]
    # A number over a tensor would be the number times its reciprocal, rounded twice.
    slope = torch.full_like(low, 255) / (high - low).clamp_min(1)
    levels = torch.arange(256, dtype=torch.float64, device=x.device)
    stretched = (levels * slope).add_(-low * slope).clamp_(0, 255)
    return torch.where(high > low, stretched, levels).to(torch.uint8)


def histograms(x: Tensor) -> Tensor:
    """Pixels per level of each sample and channel: `(n, C, 256)`, int64, of a `uint8` image."""
    n, channels = x.shape[:2]
    levels = x.reshape(n * channels, -1).to(torch.int64)
    ones = torch.ones((1, 1), dtype=torch.int32, device=x.device).expand_as(levels)
    counts = torch.zeros((n * channels, 256), dtype=torch.int32, device=x.device)
    return counts.scatter_add_(1, levels, ones).view(n, channels, 256).to(torch.int64)


def _equalize(x: Tensor, _op: OpRows) -> Tensor:
    """Spreads the levels evenly over the pixels (`ImageOps.equalize`)."""
    if x.shape[2] * x.shape[3] < MIN_EQUALIZED_PIXELS:
        levels = torch.arange(256, dtype=torch.uint8, device=x.device)
        return levels.expand(*x.shape[:2], 256)
    return equalize_table(histograms(x))


def equalize_table(counts: Tensor) -> Tensor:
    """Table that equalizes a histogram; shape `(..., 256)` in and out, `uint8`.

    It is the identity where less than 255 pixels are darker than the brightest level.
    """
    levels = torch.arange(256, device=counts.device)
    last = torch.where(counts > 0, levels, 0).amax(dim=-1, keepdim=True)
    step = (counts.sum(dim=-1, keepdim=True) - counts.gather(-1, last)) // 255
    before = counts.cumsum(dim=-1) - counts
    spread = ((step // 2 + before) // step.clamp_min(1)).clamp_max(255)
    return torch.where(step > 0, spread, levels).to(torch.uint8)


_IMAGE_TABLES: dict[str, Callable[[Tensor, OpRows], Tensor]] = {
    "contrast": _contrast,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}


def apply_float(x: Tensor, op: OpRows) -> Tensor:
    """The same operations on floats in [0, 1]; see `apply`."""
    groups = [
        (rows, functools.partial(_apply_float_one, name, op.take(rows)))
        for name, rows in op.groups()
    ]
    return in_groups(x, groups)


def _apply_float_one(name: str, op: OpRows, x: Tensor) -> Tensor:
    if name in _CURVES:
        return _CURVES[name](x, op.magnitude).clamp_(0, 1)
    slope, offset = _line(name, x, op)
    return (x * slope).add_(offset).clamp_(0, 1)


def _line(name: str, x: Tensor, op: OpRows) -> tuple[Tensor, Tensor]:
    """Slope and offset of a straight operation, shapes `(n, 1 or C, 1, 1)`."""
    factor = per_sample(1 + op.magnitude, x)
    if name == "brightness":
        return factor, torch.zeros_like(factor)
    if name == "invert":
        return torch.full_like(factor, -1), torch.ones_like(factor)
    if name == "channel_shift":
        shift = to_device(_shifts(op, x.shape[1]), x).to(x.dtype)[:, :, None, None]
        return torch.ones_like(shift), shift
    if name == "contrast":
        return factor, (1 - factor) * gray_values(x).mean(dim=(1, 2, 3), keepdim=True)
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    slope = torch.where(high > low, 1 / (high - low).clamp_min(1e-12), 1.0)
    return slope, torch.where(high > low, -low * slope, 0.0)


def _posterize_float(x: Tensor, m: _Floats) -> Tensor:
    bits = np.rint(m)
    step = per_sample(2.0**bits / 255, x)
    coarse = torch.floor((x + _SLACK / 255) / step) * step
    return torch.where(per_sample(bits, x) > 0, coarse, x)


def _solarize_float(x: Tensor, m: _Floats) -> Tensor:
    return torch.where(x >= per_sample((256 - m - _SLACK) / 255, x), 1 - x, x)


def _solarize_add_float(x: Tensor, m: _Floats) -> Tensor:
    return torch.where(x < (128 - _SLACK) / 255, x + per_sample(m / 255, x), x)


def _gamma_float(x: Tensor, m: _Floats) -> Tensor:
    return x.clamp(0, 1) ** per_sample(_exponent(m), x)


def _equalize_float(x: Tensor, _m: _Floats) -> Tensor:
    """Equalizes the image rounded to 256 levels; leaves it unrounded where that is identity."""
    levels = (x.nan_to_num(0).clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    table = equalize_table(histograms(levels))
    unchanged = torch.arange(256, dtype=torch.uint8, device=x.device)
    is_plain = (table == unchanged).all(dim=2)[:, :, None, None]
    equal = look_up(levels, table).to(x.dtype) / 255
    return torch.where(is_plain | x.isnan(), x, equal)


_CURVES: dict[str, Callable[[Tensor, _Floats], Tensor]] = {
    "posterize": _posterize_float,
    "solarize": _solarize_float,
    "solarize_add": _solarize_add_float,
    "gamma": _gamma_float,
    "equalize": _equalize_float,
}

OPS = frozenset(PLAIN_TABLES) | frozenset(_IMAGE_TABLES) | {"channel_shift"}
