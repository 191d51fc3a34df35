"""Operations that move through the depth of volumes `(n, C, D, H, W)`: z is the third last axis.

They, and all geometric operations that stand beside them in a chain of a sample, are composed:
maps are applied to coordinates, and the volume is resampled once, trilinear or nearest. Lengths
are counted in voxels: what is to turn as a body does must have voxels about as deep as wide. Thick
slices are better left to the operations in the plane.

References:
  Isensee et al., nnU-Net, 2021 (Nature Methods 18:203), supplementary note 4: rotations about all
  axes, in the plane only where voxels are three times as deep as wide; Pérez-García et al.,
  TorchIO, 2021 (arXiv:2003.04696), RandomAffine and RandomElasticDeformation; Choi & Lee,
  Injectivity conditions of 2D and 3D uniform cubic B-spline functions, Graphical Models 62, 2000:
  in three dimensions nothing folds below 1 / 2.4794 of the spacing, here a sixth of a side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from policysearch.ops.image_elastic import BELOW_LEVEL, FREE, Runs, displaced, mapped, spline
from policysearch.ops.kernel import (
    OP_NAMES,
    ImageSettings,
    OpRows,
    fill_value,
    to_device,
    truncated,
    working,
)
from policysearch.ops.noise import uniform_places

#: Coordinates x, y, z of one volume, `(1, D, H W)` each: pixel centres at halves.
_Map = tuple[Tensor, Tensor, Tensor]
_Size = tuple[int, int, int]  # width, height, depth


def warp(x: Tensor, stages: OpRows, runs: Runs, last: int, settings: ImageSettings) -> Tensor:
    """Applies to each volume the run that ends at stage `last`, in one resampling.

    Args:
      x: Shape `(n, C, D, H, W)`; any dtype where the interpolation is nearest.
      stages: All stages of these samples.
      runs: Of these samples.
      last: The stage at which a run of each of them ends.
      settings: Interpolation and fill.
    """
    return torch.cat(
        [  # one by one: coordinates of a volume take more memory than the volume
            _warped(x[i : i + 1], stages.take(np.array([i])), runs.number[i], last, settings)
            for i in range(len(x))
        ]
    )


def _warped(
    x: Tensor, stages: OpRows, run: np.ndarray, last: int, settings: ImageSettings
) -> Tensor:
    depth, height, width = x.shape[2:]
    size = (width, height, depth)
    column, row, level = (
        torch.arange(k, device=x.device, dtype=torch.float64) + 0.5 for k in size
    )
    shape = (1, depth, height, width)
    at = (
        column.expand(shape).flatten(2),
        row[:, None].expand(shape).flatten(2),
        level[:, None, None].expand(shape).flatten(2),
    )
    for stage in range(last, -1, -1):
        if run[stage] == run[last]:
            op = OpRows(stages.code[:, stage], stages.magnitude[:, stage], stages.draws[:, stage])
            at = _read_from(at, op, size)
    return _resampled(x, at, settings)


def _read_from(at: _Map, op: OpRows, size: _Size) -> _Map:
    """Where coordinates are read from under an operation, in the plane or not."""
    name = OP_NAMES[int(op.code[0])]
    if name in _MAPS:
        return _MAPS[name](at, op, size)
    in_plane = displaced if name == "elastic" else mapped
    return (*in_plane(at[:2], op, size[:2]), at[2])


def _rotate_x(at: _Map, op: OpRows, size: _Size) -> _Map:
    y, z = _turned(at[1], at[2], op, size[1:])
    return at[0], y, z


def _rotate_y(at: _Map, op: OpRows, size: _Size) -> _Map:
    x, z = _turned(at[0], at[2], op, (size[0], size[2]))
    return x, at[1], z


def _turned(
    first: Tensor, second: Tensor, op: OpRows, sides: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    angle = np.deg2rad(float(op.magnitude[0]))
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    a, b = first - sides[0] / 2, second - sides[1] / 2
    return cos * a - sin * b + sides[0] / 2, sin * a + cos * b + sides[1] / 2


def _translate_z(at: _Map, op: OpRows, size: _Size) -> _Map:
    return at[0], at[1], at[2] - float(op.magnitude[0]) * size[2]


def _scale_z(at: _Map, op: OpRows, size: _Size) -> _Map:
    m, middle = float(op.magnitude[0]), size[2] / 2
    step = 1 / (1 + m) if m >= 0 else 1 - m
    return at[0], at[1], (at[2] - middle) * step + middle


def _flip_depth(at: _Map, _op: OpRows, size: _Size) -> _Map:
    return at[0], at[1], size[2] - at[2]


def _elastic_3d(at: _Map, op: OpRows, size: _Size) -> _Map:
    """Adds what a lattice of 9 x 9 x 9 points says, 3 x 3 x 3 of which move."""
    seed = to_device((op.draws[:, 0] * 2.0**53).astype(np.int64), at[0])
    points = (uniform_places(seed, 3 * FREE**3) * 2 - 1).view(3, FREE, FREE, FREE)
    points = points * abs(float(op.magnitude[0]))
    weights = [
        [spline(values, side, i) for i in range(FREE)]
        for values, side in zip(at, size, strict=True)
    ]
    x, y, z = (at[axis] + size[axis] * _spread(points[axis], weights) for axis in range(3))
    return x, y, z


def _spread(points: Tensor, weights: list[list[Tensor]]) -> Tensor:
    """What points `(z, y, x)` of a lattice sum up to, by their weights along x, y and z."""
    total = torch.zeros_like(weights[0][0])
    for k in range(FREE):
        for j in range(FREE):
            row = sum(points[k, j, i] * weights[0][i] for i in range(FREE))
            total += row * (weights[1][j] * weights[2][k])
    return total


_MAPS: dict[str, Callable[[_Map, OpRows, _Size], _Map]] = {
    "rotate_x": _rotate_x,
    "rotate_y": _rotate_y,
    "translate_z": _translate_z,
    "scale_z": _scale_z,
    "flip_depth": _flip_depth,
    "elastic_3d": _elastic_3d,
}
OPS = frozenset(_MAPS)


def _resampled(x: Tensor, at: _Map, settings: ImageSettings) -> Tensor:
    channels, depth, height, width = x.shape[1:]
    size = (width, height, depth)
    is_outside = torch.stack(
        [(values < 0) | (values >= side) for values, side in zip(at, size, strict=True)]
    ).any(dim=0)
    is_outside = is_outside.view(1, 1, depth, height, width)
    fill = fill_value(x, settings.fill)
    if settings.interpolation == "nearest":
        column, row, level = (
            values.floor().long().clamp_(0, side - 1)
            for values, side in zip(at, size, strict=True)
        )
        index = ((level * height + row) * width + column).view(1, 1, -1)
        out = x.flatten(2).gather(2, index.expand(1, channels, -1)).view(x.shape)
        return out.masked_fill_(is_outside, fill)
    values = working(x)
    grid = torch.stack(
        [values * (2 / side) - 1 for values, side in zip(at, size, strict=True)], dim=-1
    ).view(1, depth, height, width, 3)
    out = torch.nn.functional.grid_sample(
        values, grid.to(values.dtype), "bilinear", padding_mode="border", align_corners=False
    )
    if x.dtype == torch.uint8:
        out = out.add_(BELOW_LEVEL)
    return truncated(out, x).masked_fill_(is_outside, fill)
