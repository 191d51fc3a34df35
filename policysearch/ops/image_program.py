"""Operations drawn for a batch, compiled: for every sample the list of what machine code does.

All stages of all samples are compiled at once, so that the cost in Python depends on the
operations that occur and neither on the number of samples nor on that of stages. The parameters
are those of the torch kernels, from the same functions.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.errors import InvalidValueError
from policysearch.ops import image_native as native
from policysearch.ops.image_color import channel_orders
from policysearch.ops.image_filter import blur_taps, cutout_box
from policysearch.ops.image_geometry import OPS as GEOMETRIC_OPS
from policysearch.ops.image_geometry import are_whole_moves, fixed_coordinates, matrices
from policysearch.ops.image_table import MIN_EQUALIZED_PIXELS, PLAIN_TABLES, channel_tables
from policysearch.ops.kernel import OP_NAMES, ImageSettings, OpRows, fill_value
from policysearch.ops.threads import in_threads

_Rows = NDArray[np.intp]
_Shape = tuple[int, int, int]  # C, H, W

N_NUMBERS = 4
# A program takes about a kilobyte per sample, more than an image of 16 x 16 pixels.
SAMPLES_AT_ONCE = 512
# Values that are worth a thread of their own: about half a millisecond, several times what it
# takes to wake one.
VALUES_PER_THREAD = 1_000_000
PARTS_PER_THREAD = 4

_IS_GEOMETRIC = np.array([name in GEOMETRIC_OPS for name in OP_NAMES] + [False])


class Program:
    """What `image_native._run` reads; its docstring gives the shapes of the arrays.

    Args:
      stages: Operations by sample and stage.
      like: A batch of images of the shape that the program is for.
      settings: Interpolation and fill.
    """

    def __init__(self, stages: OpRows, like: Tensor, settings: ImageSettings) -> None:
        channels, height, width = like.shape[1:]
        rows = stages.flat()
        n = len(rows.code)
        self.shape: _Shape = (channels, height, width)
        self.kinds = np.zeros(n, np.int8)
        self.slots = np.zeros(n, np.int32)
        self.numbers = np.zeros((n, N_NUMBERS))
        self.coordinates = np.zeros((0, 0), np.int32)
        self.matrices = np.zeros((0, 6))
        self.taps = np.zeros((0, 1), np.float32)
        self.orders = np.zeros((0, channels), np.int64)
        self._tables: list[NDArray[np.uint8]] = [np.zeros((0, 256), np.uint8)]
        self._n_tables = 0
        geometric = _IS_GEOMETRIC[rows.code].nonzero()[0]
        if geometric.size:
            self._resample(geometric, rows.take(geometric), settings)
        for name, chosen in rows.groups():
            if name not in GEOMETRIC_OPS:
                _COMPILE[name](self, chosen, rows.take(chosen))
        self._arguments = (
            np.uint8(fill_value(like, settings.fill)),
            self.kinds.reshape(stages.code.shape),
            self.slots.reshape(stages.code.shape),
            self.numbers.reshape(*stages.code.shape, N_NUMBERS),
            np.concatenate(self._tables),
            self.coordinates,
            self.matrices,
            self.taps,
            self.orders,
        )

    def run(self, x: Tensor, first: int = 0) -> Tensor:
        """Applies the stages of samples `first` and following to the images of `x`."""
        if tuple(x.shape[1:]) != self.shape:  # machine code does not look
            wanted = ", ".join(map(str, self.shape))
            raise InvalidValueError(f"`x` must have shape (n, {wanted}), got {tuple(x.shape)}.")
        x, step = _in_order(x)
        result = torch.empty_like(x)
        work = self.on(_as_rows(x, step), _as_rows(result, step), step, first)
        n_threads = _useful_threads(x)
        in_threads(work, len(x), n_threads, 1 if n_threads == 1 else PARTS_PER_THREAD * n_threads)
        return result

    def on(
        self, source: NDArray[np.uint8], result: NDArray[np.uint8], step: int, first: int = 0
    ) -> Callable[[int, int], None]:
        """What applies the program to some of the images: see `image_native._run`."""
        channels, height, width = self.shape
        size = (height, width, channels, step)
        return functools.partial(
            native.machine_code(), source, result, size, *self._arguments, first
        )

    def _resample(self, rows: _Rows, op: OpRows, settings: ImageSettings) -> None:
        _, height, width = self.shape
        matrix = matrices(op, (width, height))
        is_whole = are_whole_moves(matrix)
        is_shift = is_whole & (matrix[0] + matrix[4] == 2)
        is_near = ~is_shift & (is_whole | (settings.interpolation == "nearest"))
        self.kinds[rows] = np.where(is_shift, native.SHIFT, native.BILINEAR)
        self.numbers[rows, 0], self.numbers[rows, 1] = matrix[2], matrix[5]
        if is_near.any():
            chosen = rows[is_near]
            self.kinds[chosen] = native.NEAREST
            self.slots[chosen] = np.arange(len(chosen))
            parts = fixed_coordinates(matrix[:, is_near], width, height)
            self.coordinates = np.concatenate(parts, axis=1).astype(np.int32)
        if not (is_shift | is_near).all():
            self.slots[rows[~is_near]] = np.arange(len(rows) - np.count_nonzero(is_near))
            self.matrices = np.ascontiguousarray(matrix[:, ~is_near].T)

    def add_tables(self, rows: _Rows, kind: int, tables: NDArray[np.uint8]) -> None:
        """Adds tables of shape `(rows, k, 256)`, k the same for all rows of the kind."""
        n_each = tables.shape[1]
        self.kinds[rows] = kind
        self.slots[rows] = self._n_tables + n_each * np.arange(len(rows))
        self._tables.append(np.ascontiguousarray(tables).reshape(-1, 256))
        self._n_tables += n_each * len(rows)

    def add_number(self, rows: _Rows, kind: int, number: NDArray[np.float64]) -> None:
        """Adds an operation with one number per row."""
        self.kinds[rows] = kind
        self.numbers[rows, 0] = number


_Compile = Callable[[Program, _Rows, OpRows], None]


def _plain_table(name: str) -> _Compile:
    def compile_table(program: Program, rows: _Rows, op: OpRows) -> None:
        program.add_tables(rows, native.TABLE, PLAIN_TABLES[name](op.magnitude[:, None])[:, None])

    return compile_table


def _channel_shift(program: Program, rows: _Rows, op: OpRows) -> None:
    program.add_tables(rows, native.TABLES, channel_tables(op, program.shape[0]))


def _brightness(program: Program, rows: _Rows, op: OpRows) -> None:
    program.add_number(rows, native.BLEND, 1 + op.magnitude)


def _contrast(program: Program, rows: _Rows, op: OpRows) -> None:
    program.add_number(rows, native.CONTRAST, 1 + op.magnitude)


def _posterize(program: Program, rows: _Rows, op: OpRows) -> None:
    program.add_number(rows, native.KEEP_BITS, 256 - 2 ** np.rint(op.magnitude))


def _solarize(program: Program, rows: _Rows, op: OpRows) -> None:
    threshold = np.ceil(256 - op.magnitude)
    changing = (threshold < 256).nonzero()[0]  # the others keep every level
    program.add_number(rows[changing], native.INVERT_FROM, threshold[changing])


def _invert(program: Program, rows: _Rows, _op: OpRows) -> None:
    program.add_number(rows, native.INVERT_FROM, np.zeros(len(rows)))


def _autocontrast(program: Program, rows: _Rows, _op: OpRows) -> None:
    program.kinds[rows] = native.AUTOCONTRAST


def _equalize(program: Program, rows: _Rows, _op: OpRows) -> None:
    if program.shape[1] * program.shape[2] >= MIN_EQUALIZED_PIXELS:
        program.kinds[rows] = native.EQUALIZE


def _color(program: Program, rows: _Rows, op: OpRows) -> None:
    if program.shape[0] > 1:
        program.add_number(rows, native.SATURATION, 1 + op.magnitude)


def _gray(program: Program, rows: _Rows, op: OpRows) -> None:
    if program.shape[0] > 1:
        program.add_number(rows, native.SATURATION, 1 - op.magnitude)


def _hue(program: Program, rows: _Rows, op: OpRows) -> None:
    if program.shape[0] == 3:
        program.add_number(rows, native.HUE, 6 * op.magnitude)


def _channel_shuffle(program: Program, rows: _Rows, op: OpRows) -> None:
    if program.shape[0] > 1:
        program.kinds[rows] = native.SHUFFLE
        program.slots[rows] = np.arange(len(rows))
        program.orders = channel_orders(op.draws, program.shape[0])


def _sharpness(program: Program, rows: _Rows, op: OpRows) -> None:
    if min(program.shape[1:]) >= 3:
        program.add_number(rows, native.SHARPNESS, 1 + op.magnitude)


def _blur(program: Program, rows: _Rows, op: OpRows) -> None:
    program.kinds[rows] = native.BLUR
    program.slots[rows] = np.arange(len(rows))
    program.taps = np.ascontiguousarray(blur_taps(op.magnitude), np.float32)


def _cutout(program: Program, rows: _Rows, op: OpRows) -> None:
    program.kinds[rows] = native.CUTOUT
    program.numbers[rows] = cutout_box(op.magnitude, op.draws, program.shape[1:])


_COMPILE: dict[str, _Compile] = {
    **{name: _plain_table(name) for name in PLAIN_TABLES},
    # Faster without a table, with the same results.
    "brightness": _brightness,
    "posterize": _posterize,
    "solarize": _solarize,
    "invert": _invert,
    "channel_shift": _channel_shift,
    "contrast": _contrast,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "color": _color,
    "gray": _gray,
    "hue": _hue,
    "channel_shuffle": _channel_shuffle,
    "sharpness": _sharpness,
    "blur": _blur,
    "cutout": _cutout,
}

#: Operations that machine code knows; `gaussian_noise` takes its logarithms from torch.
OPS = GEOMETRIC_OPS | frozenset(_COMPILE)


_IS_KNOWN = np.array([name in OPS for name in OP_NAMES] + [True])


def knows(code: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Samples all of whose operations machine code knows; shape `(n, n_stages)` in."""
    return np.asarray(_IS_KNOWN[code].all(axis=1))


def apply(x: Tensor, stages: OpRows, settings: ImageSettings) -> Tensor:
    """Applies all stages of a `uint8` batch on the CPU; see `image_kernels.apply_stages`."""
    n = len(x)
    if n <= SAMPLES_AT_ONCE:
        return Program(stages, x, settings).run(x)
    x, step = _in_order(x)
    result = torch.empty_like(x)
    source, target = _as_rows(x, step), _as_rows(result, step)

    def work(first: int, last: int) -> None:
        program = Program(stages.take(np.arange(first, last)), x, settings)
        program.on(source[first:last], target[first:last], step)(0, last - first)

    in_threads(work, n, _useful_threads(x), math.ceil(n / SAMPLES_AT_ONCE))
    return result


def _useful_threads(x: Tensor) -> int:
    """As many threads as torch computes with, where there is enough to do for each."""
    return max(1, min(torch.get_num_threads(), len(x), x.numel() // VALUES_PER_THREAD))


def _in_order(x: Tensor) -> tuple[Tensor, int]:
    """Images whose values lie in plane or pixel order, and the distance between pixels."""
    if x.is_contiguous():
        return x, 1
    if x.is_contiguous(memory_format=torch.channels_last):
        return x, x.shape[1]
    return x.contiguous(), 1


def _as_rows(x: Tensor, step: int) -> NDArray[np.uint8]:
    ordered = x if step == 1 else x.permute(0, 2, 3, 1)
    values: NDArray[np.uint8] = ordered.numpy().reshape(len(x), -1)
    return values
