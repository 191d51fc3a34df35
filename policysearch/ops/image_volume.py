"""Operations that move through the depth of volumes `(n, C, D, H, W)`: z is the third last axis.

They, and all geometric operations that stand beside them in a chain of a sample, are composed:
maps are applied to coordinates, and the volume is resampled once, trilinear or nearest. Lengths
are counted in voxels: what is to turn as a body does must have voxels about as deep as wide. Thick
slices are better left to the operations in the plane.

References:
  Isensee et al., nnU-Net, 2021 (Nature Methods 18:203): rotations about all axes, in the plane
  only where voxels are three times as deep as wide; Pérez-García et al., TorchIO, 2021
  (arXiv:2003.04696), RandomAffine and RandomElasticDeformation; Choi & Lee, Injectivity conditions
  of 2D and 3D uniform cubic B-spline functions, Graphical Models 62, 2000: in three dimensions
  nothing folds below 1 / 2.4794 of the spacing, here a sixth of a side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops import image_geometry
from policysearch.ops.image_elastic import FREE, Runs, displaced, resampled, spline
from policysearch.ops.kernel import (
    OP_NAMES,
    ImageSettings,
    OpRows,
    fill_value,
    to_device,
)
from policysearch.ops.noise import uniform_places

#: Coordinates x, y, z of one volume, `(1, D, H W)` each: voxel centres at halves.
_Map = tuple[Tensor, Tensor, Tensor]
_Size = tuple[int, int, int]  # width, height, depth
#: Where (x, y, z, 1) is read from, `(4, 4)`.
_Matrix = NDArray[np.float64]


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
    x: Tensor, stages: OpRows, run: NDArray[np.int64], last: int, settings: ImageSettings
) -> Tensor:
    """Matrices are multiplied; where something bends, they are applied to coordinates before."""
    depth, height, width = x.shape[2:]
    size = (width, height, depth)
    at: _Map | None = None
    matrix = np.eye(4)
    for stage in range(last, -1, -1):
        if run[stage] != run[last]:
            continue
        op = OpRows(stages.code[:, stage], stages.magnitude[:, stage], stages.draws[:, stage])
        name = OP_NAMES[int(op.code[0])]
        if name == "elastic_3d" and at is None and np.array_equal(matrix, np.eye(4)):
            at = _bent_grid(op, size, x.device)
        elif name in _BENDS:
            at = _BENDS[name](_moved(at, matrix, size, x.device), op, size)
            matrix = np.eye(4)
        else:
            matrix = _matrix(name, op, size) @ matrix
    if at is None and _is_whole(matrix):
        return _shifted(x, matrix, fill_value(x, settings.fill))
    places = _moved(at, matrix, size, x.device)
    return resampled(x, [values.view(1, depth, height, width) for values in places], settings)


def _moved(at: _Map | None, matrix: _Matrix, size: _Size, device: torch.device) -> _Map:
    """A matrix applied to coordinates; `None`: to those of the voxels themselves."""
    rows = [row.tolist() for row in matrix[:3]]
    if at is None:
        width, height, depth = size
        column, row, level = (
            torch.arange(k, device=device, dtype=torch.float64) + 0.5 for k in size
        )
        x, y, z = (
            ((b * row + d)[:, None] + a * column + (c * level)[:, None, None]).view(
                1, depth, height * width
            )
            for a, b, c, d in rows
        )
        return x, y, z
    if np.array_equal(matrix, np.eye(4)):
        return at
    x, y, z = (a * at[0] + b * at[1] + c * at[2] + d for a, b, c, d in rows)
    return x, y, z


def _matrix(name: str, op: OpRows, size: _Size) -> _Matrix:
    """The map of an operation; turns by +90 degrees are `rot90` about the two axes that mix.

    `y_in = cos y - sin z`, `z_in = sin y + cos z` about the middle for `rotate_x`, likewise x and
    z for `rotate_y`. `translate_z` reads m sides before; `scale_z` m > 0 from 1 / (1 + m) as far.
    """
    m, matrix = float(op.magnitude[0]), np.eye(4)
    if name in ("rotate_x", "rotate_y"):
        axis = 1 if name == "rotate_x" else 0
        angle = np.deg2rad(m)
        cos, sin = np.round(np.cos(angle), 15), np.round(np.sin(angle), 15)
        a, b = size[axis] / 2, size[2] / 2
        matrix[axis, [axis, 2, 3]] = cos, -sin, a - cos * a + sin * b
        matrix[2, [axis, 2, 3]] = sin, cos, b - sin * a - cos * b
    elif name == "translate_z":
        matrix[2, 3] = -m * size[2]
    elif name == "scale_z":
        step = 1 / (1 + m) if m >= 0 else 1 - m
        matrix[2, 2:] = step, size[2] / 2 * (1 - step)
    elif name == "flip_depth":
        matrix[2, 2:] = -1, size[2]
    else:
        a, b, c, d, e, f = image_geometry.matrices(op, size[:2])[:, 0]
        matrix[:2] = (a, b, 0, c), (d, e, 0, f)
    return matrix


def _is_whole(matrix: _Matrix) -> bool:
    """Whether axes are mirrored and shifted by whole voxels only: exact, and needs no weights."""
    turn, shift = matrix[:3, :3], matrix[:3, 3]
    return bool((np.abs(turn) == np.eye(3)).all() and (shift % 1 == 0).all())


def _shifted(x: Tensor, matrix: _Matrix, fill: float) -> Tensor:
    """Reads whole rows of voxels along each axis."""
    for axis in range(3):
        dim = x.ndim - 1 - axis
        side = x.shape[dim]
        place = np.floor(matrix[axis, axis] * (np.arange(side) + 0.5) + matrix[axis, 3])
        is_outside = (place < 0) | (place >= side)
        index = to_device(np.clip(place, 0, side - 1).astype(np.int64), x)
        x = x.index_select(dim, index)
        if is_outside.any():
            x.index_fill_(dim, to_device(is_outside.nonzero()[0], x), fill)
    return x


def _elastic(at: _Map, op: OpRows, size: _Size) -> _Map:
    return (*displaced(at[:2], op, size[:2]), at[2])


def _elastic_3d(at: _Map, op: OpRows, size: _Size) -> _Map:
    """Adds what a lattice of 9 x 9 x 9 points says, 3 x 3 x 3 of which move."""
    points = _points(op, at[0].device)
    weights = [
        [spline(values, side, i) for i in range(FREE)]
        for values, side in zip(at, size, strict=True)
    ]
    x, y, z = (at[axis] + size[axis] * _spread(points[axis], weights) for axis in range(3))
    return x, y, z


def _points(op: OpRows, device: torch.device) -> Tensor:
    """Moves of the points as fractions of each side: along x, y, z, by place `(3, z, y, x)`."""
    seed = torch.from_numpy((op.draws[:, 0] * 2.0**53).astype(np.int64)).to(device)
    points = (uniform_places(seed, 3 * FREE**3) * 2 - 1).view(3, FREE, FREE, FREE)
    return points * abs(float(op.magnitude[0]))


def _bent_grid(op: OpRows, size: _Size, device: torch.device) -> _Map:
    """`_elastic_3d` of the voxels themselves: weights need only be known along each axis."""
    grid = _moved(None, np.eye(4), size, device)
    along = []
    for side in size:
        places = torch.arange(side, device=device, dtype=torch.float64) + 0.5
        along.append(torch.stack([spline(places, side, i) for i in range(FREE)]))
    moves = torch.einsum("akji,ix,jy,kz->azyx", _points(op, device), *along).flatten(2)
    x, y, z = (grid[axis] + size[axis] * moves[None, axis] for axis in range(3))
    return x, y, z


def _spread(points: Tensor, weights: list[list[Tensor]]) -> Tensor:
    """What points `(z, y, x)` of a lattice sum up to, by their weights along x, y and z."""
    total = torch.zeros_like(weights[0][0])
    for k in range(FREE):
        for j in range(FREE):
            row = sum(points[k, j, i] * weights[0][i] for i in range(FREE))
            total += row * (weights[1][j] * weights[2][k])
    return total


_BENDS: dict[str, Callable[[_Map, OpRows, _Size], _Map]] = {
    "elastic": _elastic,
    "elastic_3d": _elastic_3d,
}
