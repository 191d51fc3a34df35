"""Geometric image operations: a 2x3 matrix per sample, then one resampling for all of them.

A matrix maps the centre of an output pixel to the place in the input that it is read from, as
Pillow's `Image.transform(AFFINE)` has it: `x_in = a x + b y + c`, `y_in = d x + e y + f`, with
pixel centres at halves. Signs and centres are those of torchvision: shears keep the top-left
corner (AutoAugment passes `center=[0, 0]`), rotations and scales keep the middle of the image,
translations are cut to whole pixels, towards zero.

Nearest repeats Pillow's arithmetic, 16.16 fixed point where an axis is mixed and running sums of
doubles where none is, and equals it in every pixel. Bilinear on `uint8` equals it too in machine
code; the torch kernel below computes in float32 where Pillow uses doubles, and is within one
level. In both a pixel whose centre falls outside the image is
filled, and neighbours beyond the border repeat it. One difference to torchvision is left: it
sends a shear through degrees and back, so a centre that falls exactly on the border of the image
may lie a rounding error outside there; nearest does not see that, bilinear does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops.kernel import (
    ImageSettings,
    OpRows,
    fill_value,
    in_groups,
    to_device,
    truncated,
    working,
)

_Floats = NDArray[np.float64]
_Rows = NDArray[np.intp]
_Size = tuple[int, int]  # width, height
_ONE = 65536.0
# Largest image side whose 16.16 coordinates fit in 32 bits under every allowed magnitude.
MAX_SIDE_INT32 = 2000
# Added before fractions are dropped, so that float32 rounding does not turn 200 into 199.
_BELOW_LEVEL = 2.0**-8


def _shear_x(matrix: _Floats, rows: _Rows, op: OpRows, _size: _Size) -> None:
    matrix[1, rows] = op.magnitude


def _shear_y(matrix: _Floats, rows: _Rows, op: OpRows, _size: _Size) -> None:
    matrix[3, rows] = op.magnitude


def whole_pixels(fraction: _Floats, side: int) -> _Floats:
    """Pixels of a fraction of a side, cut towards zero; at most the whole side.

    A hundred-millionth of a pixel is added first, so that 3 px written as 3/28 is not cut to 2.
    More would lift torchvision's single-precision 15.999999 px to 16.
    """
    pixels = fraction * side
    return np.clip(np.trunc(pixels + np.copysign(1e-8, pixels)), -side, side)


def _translate_x(matrix: _Floats, rows: _Rows, op: OpRows, size: _Size) -> None:
    matrix[2, rows] = -whole_pixels(op.magnitude, size[0])


def _translate_y(matrix: _Floats, rows: _Rows, op: OpRows, size: _Size) -> None:
    matrix[5, rows] = -whole_pixels(op.magnitude, size[1])


def _to_15_digits(values: _Floats) -> _Floats:
    """Rounds as Pillow's `rotate` does, with Python: numpy may be off by one in the last digit."""
    return np.array([round(value, 15) for value in values.tolist()])


def _rotate(matrix: _Floats, rows: _Rows, op: OpRows, size: _Size) -> None:
    angle = -np.deg2rad(op.magnitude % 360.0)
    cos, sin = _to_15_digits(np.cos(angle)), _to_15_digits(np.sin(angle))
    x, y = size[0] / 2, size[1] / 2
    matrix[0, rows], matrix[1, rows], matrix[2, rows] = cos, sin, (cos * -x + sin * -y) + x
    matrix[3, rows], matrix[4, rows], matrix[5, rows] = -sin, cos, (-sin * -x + cos * -y) + y


def _scale(matrix: _Floats, rows: _Rows, op: OpRows, size: _Size) -> None:
    step = np.where(op.magnitude >= 0, 1 / (1 + np.abs(op.magnitude)), 1 + np.abs(op.magnitude))
    for diagonal, entry, side in ((0, 2, size[0]), (4, 5, size[1])):
        matrix[diagonal, rows] = step
        matrix[entry, rows] = step * (-side * 0.5) + side * 0.5


def _crop(matrix: _Floats, rows: _Rows, op: OpRows, size: _Size) -> None:
    for entry, draw, side in ((2, 0, size[0]), (5, 1, size[1])):
        pad = np.floor(op.magnitude * side + 0.5)
        matrix[entry, rows] = np.floor(op.draws[:, draw] * (2 * pad + 1)) - pad


def _flip_horizontal(matrix: _Floats, rows: _Rows, _op: OpRows, size: _Size) -> None:
    matrix[0, rows], matrix[2, rows] = -1.0, size[0]


def _flip_vertical(matrix: _Floats, rows: _Rows, _op: OpRows, size: _Size) -> None:
    matrix[4, rows], matrix[5, rows] = -1.0, size[1]


_MATRICES: dict[str, Callable[[_Floats, _Rows, OpRows, _Size], None]] = {
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "scale": _scale,
    "crop": _crop,
    "flip_horizontal": _flip_horizontal,
    "flip_vertical": _flip_vertical,
}
OPS = frozenset(_MATRICES)


def matrices(op: OpRows, size: _Size) -> _Floats:
    """Matrices of all samples for images of `size` (width, height).

    Shape `(6, n)`: rows a, b, c, d, e, f of the formula in the docstring of the module.
    """
    matrix = np.zeros((6, len(op.code)))
    matrix[0], matrix[4] = 1.0, 1.0
    for name, rows in op.groups():
        _MATRICES[name](matrix, rows, op.take(rows), size)
    return matrix


def apply(x: Tensor, op: OpRows, settings: ImageSettings) -> Tensor:
    """Applies to each sample its geometric operation.

    Args:
      x: Shape `(n, C, H, W)`, `uint8` or float.
      op: Operations of this family; `crop` uses draws 0 (along x) and 1 (along y).
      settings: Interpolation and fill.

    Returns:
      A new tensor like `x`.
    """
    matrix = matrices(op, (x.shape[3], x.shape[2]))
    fill = fill_value(x, settings.fill)
    if settings.interpolation == "nearest":
        return resample_nearest(x, matrix, fill)
    is_whole = are_whole_moves(matrix)
    groups = [
        (rows, functools.partial(resample, matrix=matrix[:, rows], fill=fill))
        for rows, resample in (
            (is_whole.nonzero()[0], resample_nearest),
            ((~is_whole).nonzero()[0], resample_bilinear),
        )
        if rows.size
    ]
    return in_groups(x, groups)


def are_whole_moves(matrix: _Floats) -> NDArray[np.bool_]:
    """Which matrices flip and shift by whole pixels only: they need no weights, and are exact."""
    a, b, c, d, e, f = np.abs(matrix)
    return np.asarray((a == 1) & (e == 1) & (b == 0) & (d == 0) & (c % 1 + f % 1 == 0))


def _fixed(values: _Floats) -> _Floats:
    return np.floor(values * _ONE + 0.5)


def _running(start: _Floats, step: _Floats, count: int) -> _Floats:
    """Whole pixels of `start + i step`, summed one by one as Pillow does, in 16.16."""
    terms = np.repeat(step[:, None], count, axis=1)
    terms[:, 0] = start
    return np.asarray(np.floor(np.cumsum(terms, axis=1)) * _ONE)


def fixed_coordinates(matrix: _Floats, width: int, height: int) -> tuple[_Floats, ...]:
    """Input coordinates of `matrix`, shape `(6, n)`, in 16.16.

    Returns:
      The parts of x by column and by row, then those of y: `(n, W)`, `(n, H)`, `(n, W)`,
      `(n, H)`, whole numbers.
    """
    a, b, c, d, e, f = matrix
    column, row = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    a16, b16, _, d16, e16, _ = _fixed(matrix)[:, :, None]
    x_column = a16 * column + _fixed(c + a * 0.5 + b * 0.5)[:, None]
    x_row, y_column = b16 * row, d16 * column
    y_row = e16 * row + _fixed(f + d * 0.5 + e * 0.5)[:, None]
    straight = np.flatnonzero((b == 0) & (d == 0))
    if straight.size:
        a, c, e, f = a[straight], c[straight], e[straight], f[straight]
        x_column[straight] = _running(c + a * 0.5, a, width)
        y_row[straight] = _running(f + e * 0.5, e, height)
    return x_column, x_row, y_column, y_row


def resample_nearest(x: Tensor, matrix: _Floats, fill: float) -> Tensor:
    """Reads for each output pixel the input pixel that its centre falls into.

    Args:
      x: Shape `(n, C, H, W)`, any dtype.
      matrix: Shape `(6, n)`.
      fill: Value where the centre falls outside, in the scale of `x`.

    References:
      Pillow, `src/libImaging/Geometry.c`: `affine_fixed` and `ImagingScaleAffine`.
    """
    n, channels, height, width = x.shape
    whole = np.int32 if max(width, height) <= MAX_SIDE_INT32 else np.int64
    terms = fixed_coordinates(matrix, width, height)
    x_column, x_row, y_column, y_row = (to_device(t.astype(whole), x) for t in terms)
    # A rim of filled pixels takes whatever falls outside, and shifts all places by one.
    column = (x_column[:, None, :] + x_row[:, :, None]).__irshift__(16).clamp_(-1, width)
    row = (y_column[:, None, :] + y_row[:, :, None]).__irshift__(16).clamp_(-1, height)
    index = column.add_(row, alpha=width + 2).add_(width + 3).to(torch.int64).view(n, 1, -1)
    pixels = torch.nn.functional.pad(x, (1, 1, 1, 1), value=fill).view(n, channels, -1)
    return torch.gather(pixels, 2, index.expand(n, channels, height * width)).view(x.shape)


def resample_bilinear(x: Tensor, matrix: _Floats, fill: float) -> Tensor:
    """Weighs for each output pixel the four input pixels around its centre.

    Args:
      x: Shape `(n, C, H, W)`, `uint8` or float.
      matrix: Shape `(6, n)`.
      fill: Value where the centre falls outside, in the scale of `x`.

    References:
      Pillow, `src/libImaging/Geometry.c`: `bilinear_filter8`; fractions of a level are dropped.
    """
    height, width = x.shape[2], x.shape[3]
    column, row = np.arange(width) + 0.5, np.arange(height) + 0.5
    a, b, c, d, e, f = matrix[:, :, None]
    parts = (a * column, b * row, d * column, e * row, c[:, :, None], f[:, :, None])
    x_column, x_row, y_column, y_row, x_shift, y_shift = (to_device(t, x) for t in parts)
    # Pillow's order of summation: it decides which centres on the border lie outside.
    x_in = (x_column[:, None, :] + x_row[:, :, None]).add_(x_shift)
    y_in = (y_column[:, None, :] + y_row[:, :, None]).add_(y_shift)
    is_outside = (x_in < 0) | (x_in >= width) | (y_in < 0) | (y_in >= height)
    values = working(x)
    grid = torch.stack((x_in.mul_(2 / width).sub_(1), y_in.mul_(2 / height).sub_(1)), dim=-1)
    out = torch.nn.functional.grid_sample(
        values, grid.to(values.dtype), "bilinear", padding_mode="border", align_corners=False
    )
    if x.dtype == torch.uint8:
        out = out.add_(_BELOW_LEVEL)
    return truncated(out, x).masked_fill_(is_outside[:, None], fill)
