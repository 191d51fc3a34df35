"""Image operations that look at neighbours, or draw per pixel, or cover a part of the image."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops.kernel import (
    ImageSettings,
    OpRows,
    fill_value,
    in_groups,
    per_sample,
    rounded,
    to_device,
    top,
    truncated,
    working,
)
from policysearch.ops.noise import normals

OPS = frozenset({"sharpness", "blur", "gaussian_noise", "cutout"})

_BLUR_REACH = 3.0


def apply(x: Tensor, op: OpRows, settings: ImageSettings) -> Tensor:
    """Applies to each sample its filter or mask; see `image_kernels.apply_stages`."""
    groups = [
        (rows, functools.partial(_apply_one, name, op.take(rows), settings))
        for name, rows in op.groups()
    ]
    return in_groups(x, groups)


def _apply_one(name: str, op: OpRows, settings: ImageSettings, x: Tensor) -> Tensor:
    if name == "sharpness":
        return sharpness(x, op.magnitude)
    if name == "blur":
        return blur(x, op.magnitude)
    if name == "gaussian_noise":
        return gaussian_noise(x, op.magnitude, op.draws)
    return cutout(x, op.magnitude, op.draws, settings.fill)


def sharpness(x: Tensor, magnitude: NDArray[np.float64]) -> Tensor:
    """Moves from a smoothed image through the image and beyond: factor 1 + m.

    The smoothed image is the 3x3 mean with the middle counted five times; border pixels are
    copied, and an image narrower than 3 pixels is left as it is.

    References:
      Pillow, `ImageEnhance.Sharpness` over `ImageFilter.SMOOTH`; equal on `uint8`.
    """
    if min(x.shape[2:]) < 3:
        return x.clone()
    values = working(x)
    rows = values[:, :, :-2] + values[:, :, 1:-1] + values[:, :, 2:]
    middle = values[:, :, 1:-1, 1:-1]
    total = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).add_(middle * 4)
    smooth = total.mul_(1 / 13)
    if x.dtype == torch.uint8:
        # Thirteenths are never near a half, so float32 rounds them as Pillow does.
        smooth = smooth.add_(0.5).floor_()
    out = x.clone()
    blend = smooth + per_sample(1 + magnitude, values) * (middle - smooth)
    out[:, :, 1:-1, 1:-1] = truncated(blend, x)
    return out


def blur(x: Tensor, magnitude: NDArray[np.float64]) -> Tensor:
    """Gaussian blur, standard deviation m pixels, cut at 3 m, rows and columns in turn.

    Border pixels are repeated outside. Multiplications and additions are separate calls, so the
    result does not depend on the batch, nor on whether a device fuses them.
    """
    values = working(x)
    taps = [per_sample(w, values) for w in blur_taps(magnitude).T]
    return rounded(_blur_along(_blur_along(values, taps, 3), taps, 2), x)


def blur_taps(magnitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of a blur from the middle outwards, shape `(n, reach + 1)`; the longest decides."""
    sigma = np.abs(magnitude)
    reach = np.maximum(np.ceil(_BLUR_REACH * sigma), 1)
    offsets = np.arange(int(reach.max()) + 1)
    weights = np.exp(-0.5 * (offsets / np.maximum(sigma, 1e-6)[:, None]) ** 2)
    weights *= offsets <= reach[:, None]
    weights /= 2 * weights.sum(axis=1, keepdims=True) - weights[:, :1]
    return weights


def _blur_along(values: Tensor, taps: list[Tensor], dim: int) -> Tensor:
    side, reach = values.shape[dim], len(taps) - 1
    place = torch.arange(-reach, side + reach, device=values.device).clamp_(0, side - 1)
    padded = values.index_select(dim, place)
    out = values * taps[0]
    for k in range(1, reach + 1):
        pair = padded.narrow(dim, reach - k, side) + padded.narrow(dim, reach + k, side)
        out += pair.mul_(taps[k])
    return out


def gaussian_noise(
    x: Tensor, magnitude: NDArray[np.float64], draws: NDArray[np.float64]
) -> Tensor:
    """Adds independent normal numbers with standard deviation m of the range to every value.

    The numbers are a function of draw 0 and the place in the image (see `noise.normals`).
    """
    seeds = (draws[:, 0] * 2.0**53).astype(np.int64)
    noise = normals(to_device(seeds, x), math.prod(x.shape[1:])).view(x.shape)
    values = working(x)
    return rounded(values + noise.to(values.dtype) * per_sample(magnitude * top(x), values), x)


def cutout(
    x: Tensor, magnitude: NDArray[np.float64], draws: NDArray[np.float64], fill: float
) -> Tensor:
    """Fills a square of side m times the shorter side, rounded to whole pixels.

    Its centre is uniform over the pixels (draw 0 along x, draw 1 along y), so a part of it may
    lie outside the image. An even side reaches one pixel further to the left and to the top.

    References:
      DeVries & Taylor, 2017 (arXiv:1708.04552).
    """
    box = cutout_box(magnitude, draws, (x.shape[2], x.shape[3]))
    left, top_row, right, bottom = (to_device(edge.copy(), x)[:, None] for edge in box.T)
    column = torch.arange(x.shape[3], device=x.device)
    row = torch.arange(x.shape[2], device=x.device)
    is_column = (column >= left) & (column < right)
    is_row = (row >= top_row) & (row < bottom)
    is_covered = is_column[:, None, None, :] & is_row[:, None, :, None]
    return x.masked_fill(is_covered, fill_value(x, fill))


def cutout_box(
    magnitude: NDArray[np.float64], draws: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.int64]:
    """Place of a cutout in images of `size` (height, width).

    Returns:
      Shape `(n, 4)`: first column, first row, one past the last column, one past the last row;
      inside the image.
    """
    height, width = size
    side = np.floor(magnitude * min(height, width) + 0.5)
    starts = [
        np.floor(draws[:, k] * length) - side // 2 for k, length in enumerate((width, height))
    ]
    ends = [start + side for start in starts]
    limits = (width, height, width, height)
    edges = [np.clip(edge, 0, limit) for edge, limit in zip(starts + ends, limits, strict=True)]
    return np.stack(edges, axis=1).astype(np.int64)
