"""Elastic deformation of images, and operations that are resampled together.

A displacement is a cubic B-spline over a lattice of 9 x 9 points, 3 x 3 of which move, each by a
uniform part of m times the shorter side in x and y; the outer ones are still, so that nothing
moves at the border. Up to `m = 0.08` it never folds, whatever is drawn.

Geometric operations that stand next to an elastic one in a chain of a sample, or to one that moves
through the depth of a volume (`image_volume`), are composed with it: their maps are applied to
coordinates, and the image is resampled once. Without such a one every operation resamples by
itself, as the classic ones are defined.

References:
  Pérez-García et al., TorchIO, 2021 (arXiv:2003.04696), RandomElasticDeformation (control points,
  locked borders); Choi & Lee, Injectivity conditions of 2D and 3D uniform cubic B-spline
  functions, Graphical Models 62, 2000: no folding below 1 / 2.0464 of the spacing, here a sixth
  of a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops import image_geometry
from policysearch.ops.kernel import (
    OP_CODE,
    ImageSettings,
    OpRows,
    fill_value,
    to_device,
    truncated,
    working,
)
from policysearch.ops.noise import uniform_places
from policysearch.ops.registry import op_table

OPS = frozenset({"elastic"})

#: Points of the lattice along a side that move.
FREE = 3
_STILL = 3
_CELLS = FREE + 2 * _STILL - 3
_ELASTIC = OP_CODE["elastic"]
#: Codes of the operations that move through the depth of a volume.
DEEP = np.array([OP_CODE[s.name] for s in op_table("image").values() if s.needs_depth])
#: Codes of the operations that move pixels.
MOVING = np.array(sorted({*(OP_CODE[n] for n in image_geometry.OPS), _ELASTIC, *DEEP.tolist()}))
#: Those that all their neighbours are resampled with.
_COMPOSED = np.array([_ELASTIC, *DEEP.tolist()])
# Added before fractions are dropped, so that float32 rounding does not turn 200 into 199.
_BELOW_LEVEL = 2.0**-8

_Map = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Runs:
    """Stages that are resampled together.

    Attributes:
      number: Run that a stage of a sample belongs to, `(n, n_stages)`; 0: none.
      is_last: Whether it is the last stage of its run, `(n, n_stages)`.
      is_deep: Whether it is that of a run that moves through the depth, `(n, n_stages)`.
    """

    number: NDArray[np.int64]
    is_last: NDArray[np.bool_]
    is_deep: NDArray[np.bool_]

    def take(self, rows: NDArray[np.intp]) -> Runs:
        """Those of the given samples."""
        return Runs(self.number[rows], self.is_last[rows], self.is_deep[rows])


def find_runs(code: NDArray[np.int64]) -> Runs | None:
    """Runs of moving operations that are composed; `None` where there is none.

    Args:
      code: Operations of each sample, `(n, n_stages)`.
    """
    is_composed = np.isin(code, _COMPOSED)
    if not is_composed.any():
        return None
    is_active, is_moving = code >= 0, np.isin(code, MOVING)
    number = np.zeros(code.shape, dtype=np.int64)
    current = np.zeros(len(code), dtype=np.int64)
    is_open = np.zeros(len(code), dtype=np.bool_)
    for stage in range(code.shape[1]):
        current += is_moving[:, stage] & ~is_open
        is_open = np.where(is_active[:, stage], is_moving[:, stage], is_open)
        number[:, stage] = np.where(is_moving[:, stage], current, 0)
    is_last, is_deep = (np.zeros(code.shape, dtype=np.bool_) for _ in range(2))
    for run in range(1, int(number.max()) + 1):
        is_mine = number == run
        is_whole = (is_mine & is_composed).any(axis=1)
        number[is_mine & ~is_whole[:, None]] = 0
        rows = is_whole.nonzero()[0]
        last = code.shape[1] - 1 - is_mine[rows, ::-1].argmax(axis=1)
        is_last[rows, last] = True
        is_deep[rows, last] = (is_mine & np.isin(code, DEEP)).any(axis=1)[rows]
    return Runs(number, is_last, is_deep)


def warp(x: Tensor, stages: OpRows, runs: Runs, last: int, settings: ImageSettings) -> Tensor:
    """Applies to each sample the run that ends at stage `last`, in one resampling.

    Args:
      x: Shape `(n, C, H, W)`; any dtype where the interpolation is nearest.
      stages: All stages of these samples.
      runs: Of these samples.
      last: The stage at which a run of each of them ends.
      settings: Interpolation and fill.
    """
    height, width = x.shape[2:]
    row, column = (
        torch.arange(k, device=x.device, dtype=torch.float64) + 0.5 for k in (height, width)
    )
    at_x = column.expand(len(x), height, width).clone()
    at_y = row[:, None].expand(len(x), height, width).clone()
    is_fresh = np.ones(len(x), dtype=np.bool_)
    for stage in range(last, -1, -1):
        is_mine = runs.number[:, stage] == runs.number[:, last]
        for is_elastic in (False, True):
            chosen = is_mine & ((stages.code[:, stage] == _ELASTIC) == is_elastic)
            rows = chosen.nonzero()[0]
            if not rows.size:
                continue
            op = OpRows(*(v[rows, stage] for v in (stages.code, stages.magnitude, stages.draws)))
            place = to_device(rows, x)
            here = (at_x[place], at_y[place])
            if is_fresh[rows].all():  # columns and rows of the grid: weights need no more
                here = (column[None, None], row[None, :, None])
            is_fresh[rows] = False
            size = (width, height)
            moved = displaced(here, op, size) if is_elastic else _mapped(here, op, size)
            at_x[place], at_y[place] = moved
    return resampled(x, (at_x, at_y), settings)


def _mapped(at: _Map, op: OpRows, size: tuple[int, int]) -> _Map:
    matrix = image_geometry.matrices(op, size)
    a, b, c, d, e, f = (to_device(row.copy(), at[0])[:, None, None] for row in matrix)
    return a * at[0] + b * at[1] + c, d * at[0] + e * at[1] + f


def displaced(at: _Map, op: OpRows, size: tuple[int, int]) -> _Map:
    """Adds to coordinates, which may be broadcast to `(k, H, W)`, what the lattice says there."""
    seeds = to_device((op.draws[:, 0] * 2.0**53).astype(np.int64), at[0])
    amount = to_device(np.abs(op.magnitude) * min(size), at[0])[:, None]
    points = ((uniform_places(seeds, 2 * FREE**2) * 2 - 1) * amount).view(-1, 2, FREE, FREE)
    weights_x, weights_y = (
        [spline(values, side, i) for i in range(FREE)]
        for values, side in zip(at, size, strict=True)
    )
    shifted = []
    for k in range(2):
        total = at[k]
        for j in range(FREE):
            row = sum(points[:, k, j, i, None, None] * weights_x[i] for i in range(FREE))
            total = total + row * weights_y[j]
        shifted.append(total)
    return shifted[0], shifted[1]


def spline(values: Tensor, side: int, point: int) -> Tensor:
    """Cubic B-spline weight of a moving point at coordinates along a side."""
    t = ((values * (_CELLS / side)).clamp(0.0, float(_CELLS)) - (_STILL - 1 + point)).abs()
    near, far = (4 - 6 * t**2 + 3 * t**3) / 6, (2 - t).clamp_min(0) ** 3 / 6
    return torch.where(t < 1, near, far)


def resampled(x: Tensor, at: Sequence[Tensor], settings: ImageSettings) -> Tensor:
    """Reads images `(n, C, H, W)` or volumes `(n, C, D, H, W)` at coordinates x, y and z.

    Args:
      x: Any dtype where the interpolation is nearest.
      at: For each axis, x first, `(n, H, W)` or `(n, D, H, W)`: pixel centres at halves.
      settings: Interpolation and fill.
    """
    sides = x.shape[:1:-1]
    outside = [(values < 0) | (values >= side) for values, side in zip(at, sides, strict=True)]
    is_outside = torch.stack(outside).any(dim=0)[:, None]
    fill = fill_value(x, settings.fill)
    if settings.interpolation == "nearest":
        index = torch.zeros_like(at[0], dtype=torch.int64)
        for values, side in zip(reversed(at), reversed(sides), strict=True):
            index = index * side + values.floor().long().clamp_(0, side - 1)
        index = index.flatten(1)[:, None].expand(-1, x.shape[1], -1)
        return x.flatten(2).gather(2, index).view(x.shape).masked_fill_(is_outside, fill)
    values = working(x)
    grid = torch.stack([v * (2 / side) - 1 for v, side in zip(at, sides, strict=True)], dim=-1)
    out = torch.nn.functional.grid_sample(
        values, grid.to(values.dtype), "bilinear", padding_mode="border", align_corners=False
    )
    if x.dtype == torch.uint8:
        out = out.add_(_BELOW_LEVEL)
    return truncated(out, x).masked_fill_(is_outside, fill)
