"""Operations on the time of series: all channels are read at other times, in step."""

from __future__ import annotations

import torch
from torch import Tensor

from policysearch.ops.noise import normal_rows, uniform_places
from policysearch.ops.series_rows import SeriesRows, smooth_curve
from policysearch.ops.series_value import N_KNOTS


def time_warp(rows: SeriesRows) -> Tensor:
    """Reads at times whose speed is `exp(m c(t))`; c is a smooth curve through normal knots."""
    knots = normal_rows(rows.seeds(), 1, N_KNOTS).to(torch.float64)
    curve = smooth_curve(knots, rows.clock)[:, 0]
    speed = torch.exp(rows.magnitude(2).to(torch.float64) * curve)
    way = torch.nn.functional.pad((speed[:, 1:] + speed[:, :-1]).cumsum(dim=1), (1, 0))
    whole = way.gather(1, rows.lengths[:, None] - 1)
    return rows.at(way / torch.where(whole > 0, whole, 1.0))


def window_slice(rows: SeriesRows) -> Tensor:
    """Reads from a random stretch of `1 - m` of the time."""
    m = rows.magnitude(2).to(torch.float64)
    return rows.at(rows.draw(0) * m + rows.clock * (1 - m))


def window_warp(rows: SeriesRows) -> Tensor:
    """A stretch of `m` of the time takes twice as long, or half where the sign is negative."""
    m = rows.magnitude(2).to(torch.float64)
    width, slowness = m.abs(), torch.where(m >= 0, 2.0, 0.5)
    start = rows.draw(0) * (1 - width)
    now = rows.clock * (1 + width * (slowness - 1))
    within = start + (now - start) / slowness
    after = now - width * (slowness - 1)
    time = torch.where(now < start, now, torch.minimum(within, start + width))
    return rows.at(torch.where(now > start + width * slowness, after, time))


def permutation(rows: SeriesRows) -> Tensor:
    """Cuts into `round(m)` segments of equal length, at most one per step, in random order."""
    n_most = int(rows.magnitude(1).max().round())
    n = rows.magnitude(2).round().long().clamp_min(1).minimum(rows.lengths[:, None])
    segments = torch.arange(n_most + 1, device=rows.x.device)
    edges = (rows.lengths[:, None] * segments.minimum(n)) // n
    sizes = edges.diff(dim=1)
    keys = uniform_places(rows.seeds(), n_most)
    order = torch.where(segments[:-1] < n, keys, 2.0).argsort(dim=1, stable=True)
    ends = sizes.gather(1, order).cumsum(dim=1)
    steps = rows.steps.expand(len(n), -1).contiguous()
    which = torch.searchsorted(ends, steps, right=True).clamp_max(n_most - 1)
    offset = steps - (ends - sizes.gather(1, order)).gather(1, which)
    source = edges.gather(1, order.gather(1, which)) + offset
    return rows.step(source.clamp(0, rows.x.shape[2] - 1))


KERNELS = {
    "time_warp": time_warp,
    "window_slice": window_slice,
    "window_warp": window_warp,
    "permutation": permutation,
}
