"""Colour operations that mix the channels of a pixel, and the gray value they share.

The gray value of three channels is Pillow's `L`; of one channel, the channel; of any other
number of channels, their mean. On one channel every operation here is the identity, so gray
images stay gray; `hue` is the identity on anything but three channels.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops.kernel import (
    ImageSettings,
    OpRows,
    in_groups,
    per_sample,
    rounded,
    to_device,
    truncated,
    working,
)
from policysearch.ops.noise import normals

OPS = frozenset({"color", "gray", "hue", "channel_shuffle"})

_MAX_LISTED_CHANNELS = 6


def apply(x: Tensor, op: OpRows, _settings: ImageSettings) -> Tensor:
    """Applies to each sample its operation; see `image_kernels.apply_stages`."""
    if x.shape[1] == 1:
        return x.clone()
    groups = [
        (rows, functools.partial(_apply_one, name, op.take(rows))) for name, rows in op.groups()
    ]
    return in_groups(x, groups)


def _apply_one(name: str, op: OpRows, x: Tensor) -> Tensor:
    if name == "color":
        return saturation(x, 1 + op.magnitude)
    if name == "gray":
        return saturation(x, 1 - op.magnitude)
    if name == "hue":
        return hue(x, op.magnitude)
    return channel_shuffle(x, op.draws)


def gray_values(x: Tensor) -> Tensor:
    """Gray value of every pixel: shape `(n, 1, H, W)`, float in the scale of `x`.

    On `uint8` these are whole levels: `(19595 R + 38470 G + 7471 B + 32768) >> 16` on three
    channels, exact in float32 because the sums stay below 2**24.
    """
    values = working(x)
    channels = x.shape[1]
    if channels == 1:
        return values
    if channels == 3:
        red, green, blue = values[:, 0:1], values[:, 1:2], values[:, 2:3]
        gray = (red * 19595 + green * 38470).add_(blue * 7471)
        gray = gray.mul_(1 / 65536)
    else:
        gray = values.sum(dim=1, keepdim=True).div_(channels)
    return gray.add_(0.5).floor_() if x.dtype == torch.uint8 else gray


def saturation(x: Tensor, factor: NDArray[np.float64]) -> Tensor:
    """Scales the distance of each pixel to its gray value; equals Pillow's `ImageEnhance.Color`.

    Args:
      x: Shape `(n, C, H, W)`, `uint8` or float.
      factor: Shape `(n,)`: 0 is gray, 1 the image.
    """
    values, gray = working(x), gray_values(x)
    return truncated((values - gray).mul_(per_sample(factor, values)).add_(gray), x)


def hue(x: Tensor, turn: NDArray[np.float64]) -> Tensor:
    """Turns the hue of the HSV colour of each pixel by a fraction of the full circle.

    Saturation and value stay. Red turns to green at one third, to blue at two thirds.

    References:
      Smith, Color gamut transform pairs, SIGGRAPH 1978; the closed form of the way back is
      `V - V S max(0, min(k, 4 - k, 1))` with `k = (n + H / 60) mod 6` and n = 5, 3, 1.
    """
    if x.shape[1] != 3:
        return x.clone()
    values = working(x)
    red, green, blue = values[:, 0:1], values[:, 1:2], values[:, 2:3]
    high = values.amax(dim=1, keepdim=True)
    spread = high - values.amin(dim=1, keepdim=True)
    divisor = torch.where(spread > 0, spread, 1.0)
    sector = torch.where(
        high == red,
        (green - blue) / divisor,
        torch.where(high == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    start = torch.tensor([5.0, 3.0, 1.0], dtype=values.dtype, device=x.device).view(1, 3, 1, 1)
    k = torch.remainder(sector + per_sample(6 * turn, values) + start, 6)
    return rounded(high - spread * torch.minimum(k, 4 - k).clamp(0, 1), x)


def channel_shuffle(x: Tensor, draws: NDArray[np.float64]) -> Tensor:
    """Puts the channels in another order, see `channel_orders`."""
    n, channels = x.shape[:2]
    order = to_device(channel_orders(draws, channels), x)
    return torch.gather(x, 1, order.view(n, channels, 1, 1).expand_as(x))


def channel_orders(draws: NDArray[np.float64], channels: int) -> NDArray[np.int64]:
    """Channel that each channel is taken from: shape `(n, C)`, for at least two channels.

    All orders but the given one are equally likely, drawn with draw 0. Above six channels the
    order is that of hashed numbers, and may by chance be the old one.
    """
    if channels <= _MAX_LISTED_CHANNELS:
        orders = _other_orders(channels)
        return orders[(draws[:, 0] * len(orders)).astype(np.int64)]
    seeds = (draws[:, 0] * 2.0**53).astype(np.int64)
    order: NDArray[np.int64] = normals(torch.from_numpy(seeds), channels).argsort(dim=1).numpy()
    return order


@functools.cache
def _other_orders(channels: int) -> NDArray[np.int64]:
    count = math.factorial(channels)
    orders = np.array(list(itertools.permutations(range(channels))), dtype=np.int64)
    return orders.reshape(count, channels)[1:]
