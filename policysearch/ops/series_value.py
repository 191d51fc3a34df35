"""Operations on the values of time series; each step stays in its place."""

from __future__ import annotations

import torch
from torch import Tensor

from policysearch.ops.noise import normal_rows, uniform_places
from policysearch.ops.series_rows import SeriesRows, smooth_curve

#: Knots of a smooth curve: four within the series, and its ends.
N_KNOTS = 6
#: Knots of a drift, the first one at zero (tsaug: three drift points, and the end).
N_DRIFT_KNOTS = 5


def jitter(rows: SeriesRows) -> Tensor:
    """`x + m std n(0, 1)` for every value."""
    noise = normal_rows(rows.seeds(), *rows.x.shape[1:]).to(rows.x.dtype)
    return rows.x + rows.magnitude() * rows.std * noise


def scaling(rows: SeriesRows) -> Tensor:
    """`mean + f (x - mean)` with f = 1 + m, or 1 / (1 + m) where the sign is negative."""
    m = rows.magnitude()
    factor = torch.where(m >= 0, 1 + m, 1 / (1 + m.abs()))
    return rows.replaced(rows.x + (factor - 1) * rows.centred)


def magnitude_warp(rows: SeriesRows) -> Tensor:
    """`mean + exp(m c(t)) (x - mean)`; c is a smooth curve through normal knots per channel."""
    knots = normal_rows(rows.seeds(), rows.x.shape[1], N_KNOTS).to(rows.x.dtype)
    curve = smooth_curve(knots, rows.clock)
    return rows.replaced(rows.x + torch.expm1(rows.magnitude() * curve) * rows.centred)


def drift(rows: SeriesRows) -> Tensor:
    """`x + m std c(t)`; c is a smooth curve through a random walk from 0, its largest knot 1."""
    steps = normal_rows(rows.seeds(), rows.x.shape[1], N_DRIFT_KNOTS - 1).to(rows.x.dtype)
    walk = torch.nn.functional.pad(steps.cumsum(dim=2), (1, 0))
    walk = walk / walk.abs().amax(dim=2, keepdim=True)
    return rows.x + rows.magnitude() * rows.std * smooth_curve(walk, rows.clock)


def frequency_noise(rows: SeriesRows) -> Tensor:
    """Multiplies each Fourier coefficient but the first by `exp(m n1 + i m n2)`.

    Missing values count as the mean. The transform is over the true length of each series.
    """
    out = rows.centred.clone()
    for length in sorted(set(rows.lengths.tolist())):
        mine = (rows.lengths == length).nonzero()[:, 0]
        spectrum = torch.fft.rfft(rows.centred[mine, :, :length])
        shape = spectrum.shape[1:]
        m = rows.magnitude()[mine]
        gain, turn = (normal_rows(rows.seeds(i)[mine], *shape).to(m.dtype) * m for i in (0, 1))
        gain[..., 0], turn[..., 0] = 0.0, 0.0
        noisy = spectrum * torch.polar(gain.exp(), turn)
        out[mine, :, :length] = torch.fft.irfft(noisy, n=length)
    return rows.replaced(rows.mean + out)


def sign_flip(rows: SeriesRows) -> Tensor:
    """`mean - (x - mean)`."""
    return rows.replaced(rows.mean - rows.centred)


def channel_dropout(rows: SeriesRows) -> Tensor:
    """A channel becomes its mean where its own uniform number is below m, but for the largest."""
    u = uniform_places(rows.seeds(), rows.x.shape[1])
    is_dropped = (u < rows.magnitude(2)) & (u < u.amax(dim=1, keepdim=True))
    return rows.replaced(torch.where(is_dropped[:, :, None], rows.mean, rows.x))


def time_mask(rows: SeriesRows) -> Tensor:
    """Replaces `round(m length)` steps in a row by the mean of each channel."""
    lengths = rows.lengths[:, None]
    width = (rows.magnitude(2).to(torch.float64) * lengths).round().long()
    start = (rows.draw(0) * (lengths - width + 1)).long()
    is_masked = (rows.steps >= start) & (rows.steps < start + width)
    return rows.replaced(torch.where(is_masked[:, None], rows.mean, rows.x))


KERNELS = {
    "jitter": jitter,
    "scaling": scaling,
    "magnitude_warp": magnitude_warp,
    "drift": drift,
    "frequency_noise": frequency_noise,
    "sign_flip": sign_flip,
    "channel_dropout": channel_dropout,
    "time_mask": time_mask,
}
