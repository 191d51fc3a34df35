"""Operations on medical images that change values: artefacts of scanners, noise, windows.

They take any number of channels and every dtype of images, and are computed in floats from 0 to
1. Formulas are written with x from 0 to 1 and m the magnitude. Sources: TorchIO = Pérez-García
et al., 2021 (arXiv:2003.04696) and its code; nnU-Net = Isensee et al., 2021 (Nature Methods
18:203) and batchgeneratorsv2; MONAI = Cardoso et al., 2022 (arXiv:2211.02701).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from policysearch.ops.image_geometry import resample_bilinear
from policysearch.ops.kernel import ImageSettings as _Settings
from policysearch.ops.kernel import OpRows, in_groups, per_sample, rounded, to_device, top, working
from policysearch.ops.noise import normals, uniform_places

#: Degree of the polynomial of a bias field (TorchIO: order 3).
_BIAS_ORDER = 3
#: Fewest and most ghosts (TorchIO: 4 to 10), and the share of low frequencies that has none.
_GHOSTS, _KEPT_FREQUENCIES = (4, 10), 0.02
#: Shift of a movement beside a turn of one degree, in sides (TorchIO: 10 mm beside 10 degrees).
_SHIFT_PER_DEGREE = 0.005


def bias_field(x: Tensor, op: OpRows) -> Tensor:
    """`x exp(sum c_ij u^i v^j)`, u and v from -1 to 1 over the image, 1 <= i + j <= 3.

    The coefficients are uniform in -m to m, the same for all channels.

    References:
      TorchIO, RandomBiasField; Van Leemput et al., 1999 (IEEE TMI 18:885).
    """
    v, u = (torch.linspace(-1, 1, k, device=x.device, dtype=x.dtype) for k in x.shape[2:])
    terms = [
        (i, j) for i in range(_BIAS_ORDER + 1) for j in range(_BIAS_ORDER + 1 - i) if i + j > 0
    ]
    draws = uniform_places(_seeds(x, op), len(terms)).to(x.dtype) * 2 - 1
    total = torch.zeros((len(x), 1, *x.shape[2:]), device=x.device, dtype=x.dtype)
    for k, (i, j) in enumerate(terms):
        total += draws[:, k, None, None, None] * (v**j)[:, None] * u**i
    return x * (total * per_sample(op.magnitude, x)).exp()


def ghosting(x: Tensor, op: OpRows) -> Tensor:
    """Weakens every g-th frequency along one axis by the factor 1 - m: g ghosts, g from 4 to 10.

    Draw 0 chooses the axis, draw 1 the number; the lowest 2 % of the frequencies are kept.

    References:
      TorchIO, RandomGhosting.
    """
    low, high = _GHOSTS
    number = to_device(low + np.floor(op.draws[:, 1] * (high - low + 1)), x)
    amount = to_device(op.magnitude, x)

    def along(rows: np.ndarray[tuple[int], np.dtype[np.intp]], dim: int, part: Tensor) -> Tensor:
        side = part.shape[dim]
        spectrum = torch.fft.rfft(part, dim=dim)
        k = torch.arange(spectrum.shape[dim], device=part.device)
        place = to_device(rows, part)
        is_hit = (k % number[place, None] == 0) & (k > _KEPT_FREQUENCIES * side / 2)
        factor = torch.where(is_hit, 1 - amount[place, None], 1.0).to(part.dtype)
        shape = (len(rows), 1, -1, 1) if dim == 2 else (len(rows), 1, 1, -1)
        out: Tensor = torch.fft.irfft(spectrum * factor.view(shape), n=side, dim=dim)
        return out

    return _by_axis(x, op, along)


def motion(x: Tensor, op: OpRows) -> Tensor:
    """Frequencies along one axis come from the image, and, further out, from it moved twice.

    A movement turns by up to m degrees and shifts by up to m / 200 of each side. The image moves
    when a share t1, then t2 of the frequencies is read from the middle outwards; t1 is uniform in
    0.1 to 0.5, t2 in 0.5 to 0.9. Draw 0 chooses the axis, draw 1 is the seed of the rest.

    References:
      TorchIO, RandomMotion (two movements); Shaw et al., 2019 (MIDL).
    """
    draws = uniform_places(_seeds(x, op, 1), 8).cpu().numpy()
    moved = [_moved(x, op.magnitude, draws[:, 2 + 3 * k : 5 + 3 * k]) for k in range(2)]
    times = to_device(np.stack([0.1 + 0.4 * draws[:, 0], 0.5 + 0.4 * draws[:, 1]]), x)

    def along(rows: np.ndarray[tuple[int], np.dtype[np.intp]], dim: int, part: Tensor) -> Tensor:
        side, place = part.shape[dim], to_device(rows, part)
        spectra = [torch.fft.rfft(v, dim=dim) for v in (part, *(m[place] for m in moved))]
        n = spectra[0].shape[dim]
        share = torch.arange(n, device=part.device, dtype=torch.float64) / max(1, n - 1)
        shape = (len(rows), 1, -1, 1) if dim == 2 else (len(rows), 1, 1, -1)
        first, second = (share >= times[k][place, None] for k in range(2))
        out = torch.where(first.view(shape), spectra[1], spectra[0])
        out = torch.where(second.view(shape), spectra[2], out)
        result: Tensor = torch.fft.irfft(out, n=side, dim=dim)
        return result

    return _by_axis(x, op, along)


def rician_noise(x: Tensor, op: OpRows) -> Tensor:
    """`sqrt((x + m n1)^2 + (m n2)^2)` with normal n1 and n2 for every value.

    References:
      Gudbjartsson & Patz, 1995 (Magn. Reson. Med. 34:910); MONAI, RandRicianNoise.
    """
    noise = normals(_seeds(x, op), 2 * math.prod(x.shape[1:])).view(len(x), 2, *x.shape[1:])
    m = per_sample(op.magnitude, x)
    real, imaginary = noise[:, 0].to(x.dtype) * m + x, noise[:, 1].to(x.dtype) * m
    return (real.square() + imaginary.square()).sqrt()


def low_resolution(x: Tensor, op: OpRows) -> Tensor:
    """Reads every 1 / (1 - m)-th pixel, nearest, and interpolates linearly between these.

    References:
      nnU-Net, SimulateLowResolution: zoom 0.5 to 1, nearest down (and cubic up).
    """
    out = x
    for dim in (2, 3):
        side = out.shape[dim]
        step = to_device(1 / (1 - op.magnitude), x)[:, None]
        at = (torch.arange(side, device=x.device) + 0.5) / step - 0.5
        n_read = ((side - 0.5) / step).ceil().clamp_min(1)
        first = at.floor().clamp_min(0).minimum(n_read - 1)
        second = (first + 1).minimum(n_read - 1)
        share = (at - first).clamp(0, 1).to(x.dtype)
        shape = (len(x), 1, -1, 1) if dim == 2 else (len(x), 1, 1, -1)

        def read(
            place: Tensor, step: Tensor = step, side: int = side, dim: int = dim,
            shape: tuple[int, ...] = shape, before: Tensor = out,
        ) -> Tensor:  # fmt: skip
            source = ((place + 0.5) * step).floor().long().clamp(0, side - 1)
            index = source.view(shape).expand(before.shape)
            return before.gather(dim, index)

        weight = share.view(shape)
        left, right = read(first), read(second)
        out = torch.where(weight == 0, left, left + weight * (right - left))
    return out


def window_level(x: Tensor, op: OpRows) -> Tensor:
    """`(x - c) / w + 0.5`, cut: c uniform within m / 2 of 0.5, log w within log(1 + m) of 0.

    Draw 0 moves the level, draw 1 the width. The jitter of a window as radiologists set it.
    """
    level = 0.5 + (op.draws[:, 0] - 0.5) * op.magnitude
    width = (1 + op.magnitude) ** (2 * op.draws[:, 1] - 1)
    return (x - per_sample(level, x)) / per_sample(width, x) + 0.5


def gamma_retained(x: Tensor, op: OpRows) -> Tensor:
    """Gamma between the extremes of a channel, then its mean and deviation as they were.

    `y = ((x - low) / (high - low))^g (high - low) + low`, then `(y - mean y) std x / std y + mean
    x`, by channel; g is 1 + m, or 1 / (1 + m) where the sign is negative.

    References:
      nnU-Net, GammaTransform with `retain_stats`: g from 0.7 to 1.5.
    """
    flat = x.flatten(2)
    low, high = flat.amin(dim=2)[..., None, None], flat.amax(dim=2)[..., None, None]
    span = (high - low).clamp_min(1e-6)
    power = np.where(op.magnitude >= 0, 1 + op.magnitude, 1 / (1 + np.abs(op.magnitude)))
    y = ((x - low) / span).clamp_min(0) ** per_sample(power, x) * span + low
    (mean_x, std_x), (mean_y, std_y) = _statistics(x), _statistics(y)
    kept = (y - mean_y) * (std_x / std_y.clamp_min(1e-6)) + mean_x
    return torch.where(std_x > 0, kept, x)


KERNELS: dict[str, Callable[[Tensor, OpRows], Tensor]] = {
    "bias_field": bias_field,
    "ghosting": ghosting,
    "motion": motion,
    "rician_noise": rician_noise,
    "low_resolution": low_resolution,
    "window_level": window_level,
    "gamma_retained": gamma_retained,
}
OPS = frozenset(KERNELS)


def apply(x: Tensor, op: OpRows, _settings: _Settings) -> Tensor:
    """Applies to each sample its operation; see `image_kernels.apply_stages`."""

    def changed(name: str, rows: OpRows, part: Tensor) -> Tensor:
        values = working(part) / top(part)
        return rounded(KERNELS[name](values, rows) * top(part), part)

    groups = [
        (rows, functools.partial(changed, name, op.take(rows))) for name, rows in op.groups()
    ]
    return in_groups(x, groups)


def _seeds(x: Tensor, op: OpRows, draw: int = 0) -> Tensor:
    return to_device((op.draws[:, draw] * 2.0**53).astype(np.int64), x)


def _by_axis(x: Tensor, op: OpRows, along: Callable[..., Tensor]) -> Tensor:
    """Samples along rows or columns, as draw 0 chooses."""
    is_column = op.draws[:, 0] < 0.5
    groups = [
        (rows, functools.partial(along, rows, dim))
        for rows, dim in ((is_column.nonzero()[0], 2), ((~is_column).nonzero()[0], 3))
        if rows.size
    ]
    return in_groups(x, groups)


def _moved(x: Tensor, degrees: np.ndarray, draws: np.ndarray) -> Tensor:
    turn, right, down = (2 * draws.T - 1) * degrees
    height, width = x.shape[2:]
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    a, b = width / 2, height / 2
    c = a - cos * a - sin * b - right * _SHIFT_PER_DEGREE * width
    f = b + sin * a - cos * b - down * _SHIFT_PER_DEGREE * height
    return resample_bilinear(x, np.stack([cos, sin, c, -sin, cos, f]), 0.0)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, in doubles: sums do not depend on the batch."""
    flat = x.flatten(2).to(torch.float64)
    mean, std = flat.mean(dim=2), flat.std(dim=2, correction=0)
    return (mean[..., None, None].to(x.dtype), std[..., None, None].to(x.dtype))
