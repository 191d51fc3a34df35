"""Image operations in machine code: `uint8` images on the CPU, sample by sample.

torch walks over a whole batch once per call and reads tables and pixels through 64-bit indices;
on a CPU most of its time goes there. Here every image passes through all its operations while it
lies in the cache, and nothing is sorted, gathered or joined. The parameters come from the same
functions as those of the torch kernels (see `image_program`), and so do the pixels: results are
equal, except that bilinear resampling repeats Pillow's doubles and is within one level of torch.

This module imports numba, so it is imported when the first image needs it. The loops live in one
file because numba keeps compiled code by file: a change elsewhere would go unnoticed.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_Array = Any  # the machine types are for numba to find
_Level = Any
_Size = tuple[int, int, int, int]  # H, W, C, distance between pixels
# What a program asks for; 0 leaves the sample alone.
SHIFT, NEAREST, BILINEAR, TABLE, TABLES = 1, 2, 3, 4, 5
CONTRAST, AUTOCONTRAST, EQUALIZE, SATURATION, HUE = 6, 7, 8, 9, 10
SHUFFLE, SHARPNESS, BLUR, CUTOUT = 11, 12, 13, 14
BLEND, KEEP_BITS, INVERT_FROM = 15, 16, 17

_BLOCK = 1024  # pixels of a row buffer


_compiled = numba.njit(nogil=True)  # a part of `run`, compiled into it


def _run(
    source: _Array,
    result: _Array,
    size: _Size,
    fill: _Level,
    kinds: _Array,
    slots: _Array,
    numbers: _Array,
    tables: _Array,
    coordinates: _Array,
    matrices: _Array,
    taps: _Array,
    orders: _Array,
    offset: int,
    first: int,
    last: int,
) -> None:
    """Applies a program to images `first` to `last`.

    Args:
      source: Shape `(n, C * H * W)`, uint8; planes one after the other, or pixels.
      result: Like `source`; written.
      size: H, W, C, and the distance between pixels: 1 for planes, C for pixels.
      fill: Level of pixels that come from outside.
      kinds: Shape `(n, n_stages)`, int8: what to do, see above.
      slots: Shape `(n, n_stages)`, int32: row of the parameter array of the kind.
      numbers: Shape `(n, n_stages, 4)`, float64: small parameters.
      tables: Shape `(m, 256)`, uint8.
      coordinates: Shape `(m, 2 W + 2 H)`, int32, 16.16: parts of x by column and by row, then
        those of y.
      matrices: Shape `(m, 6)`, float64.
      taps: Shape `(m, reach + 1)`, float32: weights of a blur from the middle outwards.
      orders: Shape `(m, C)`, int64: channel that each channel is taken from.
      offset: Row of the program that belongs to image 0.
      first: First image.
      last: One past the last image.
    """
    channels = size[2]
    spare = np.empty(source.shape[1], np.uint8)
    table = np.empty((channels, 256), np.uint8)
    for i in range(first, last):
        kind_of, slot_of = kinds[offset + i], slots[offset + i]
        n_left = 0
        for stage in range(kind_of.shape[0]):
            n_left += kind_of[stage] != 0
        if n_left == 0:
            _copy(source[i], result[i])
            continue
        before = source[i]
        for stage in range(kind_of.shape[0]):
            kind = kind_of[stage]
            if kind == 0:
                continue
            n_left -= 1
            after = result[i] if n_left % 2 == 0 else spare
            slot, number = slot_of[stage], numbers[offset + i, stage]
            if kind == SHIFT:
                _shift(before, after, size, int(number[0]), int(number[1]), fill)
            elif kind == NEAREST:
                _nearest(before, after, size, coordinates[slot], fill)
            elif kind == BILINEAR:
                _bilinear(before, after, size, matrices[slot], fill)
            elif kind == TABLE:
                _look_up(before, after, tables[slot])
            elif kind == BLEND:
                _blend(before, after, np.float32(0), np.float32(number[0]))
            elif kind == CONTRAST:
                _blend(before, after, _mean_gray(before, size), np.float32(number[0]))
            elif kind == KEEP_BITS:
                _keep_bits(before, after, np.uint8(number[0]))
            elif kind == INVERT_FROM:
                _invert_from(before, after, np.uint8(number[0]))
            elif kind == SATURATION:
                _saturation(before, after, size, np.float32(number[0]))
            elif kind == HUE:
                _hue(before, after, size, np.float32(number[0]))
            elif kind == SHUFFLE:
                _shuffle(before, after, size, orders[slot])
            elif kind == SHARPNESS:
                _sharpness(before, after, size, np.float32(number[0]))
            elif kind == BLUR:
                _blur(before, after, size, taps[slot])
            elif kind == CUTOUT:
                _cutout(before, after, size, number, fill)
            else:
                if kind == TABLES:
                    for c in range(channels):
                        _copy(tables[slot + c], table[c])
                elif kind == AUTOCONTRAST:
                    _autocontrast_table(table, before, size)
                else:
                    _equalize_table(table, before, size)
                _look_up_channels(before, after, size, table)
            before = after


@_compiled
def _copy(before: _Array, after: _Array) -> None:
    for i in range(before.shape[0]):  # slices take numba seconds to compile
        after[i] = before[i]


@_compiled
def _fill(values: _Array, value: _Level) -> None:
    for i in range(values.shape[0]):
        values[i] = value


@_compiled
def _shift(before: _Array, after: _Array, size: _Size, dx: int, dy: int, fill: _Level) -> None:
    """Pixel (x, y) comes from (x + dx, y + dy)."""
    height, width, channels, step = size
    row = width * step
    start, stop = max(0, -dx), max(0, min(width, width - dx))
    start = min(start, stop)
    for plane in range(channels // step):
        for y in range(height):
            line = after[(plane * height + y) * row : (plane * height + y + 1) * row]
            if not 0 <= y + dy < height or start == stop:
                _fill(line, fill)
                continue
            begin = (plane * height + y + dy) * row + (start + dx) * step
            _fill(line[: start * step], fill)
            _copy(before[begin : begin + (stop - start) * step], line[start * step : stop * step])
            _fill(line[stop * step :], fill)


@_compiled
def _nearest(before: _Array, after: _Array, size: _Size, coordinate: _Array, fill: _Level) -> None:
    height, width, channels, step = size
    row = width * step
    outside = np.uint32(height * row)
    index = np.empty(width, np.uint32)
    side = width + height
    x_column, x_row = coordinate[:width], coordinate[width:side]
    y_column, y_row = coordinate[side : side + width], coordinate[side + width :]
    for y in range(height):
        for x in range(width):
            x_in = (x_column[x] + x_row[y]) >> np.int32(16)
            y_in = (y_column[x] + y_row[y]) >> np.int32(16)
            is_inside = (np.uint32(x_in) < np.uint32(width)) & (
                np.uint32(y_in) < np.uint32(height)
            )
            place = np.uint32((y_in * np.int32(width) + x_in) * np.int32(step))
            index[x] = place if is_inside else outside
        # A line crosses the image in one piece, unless a coordinate left its 32 bits: then the
        # pixels are wrong, but still those of the image.
        start, stop = 0, width
        while start < width and index[start] == outside:
            start += 1
        while stop > start and index[stop - 1] == outside:
            stop -= 1
        for x in range(start, stop):
            index[x] = min(index[x], outside - np.uint32(step))
        for plane in range(channels // step):
            pixels = before[plane * height * row : (plane + 1) * height * row]
            line = after[(plane * height + y) * row : (plane * height + y + 1) * row]
            _fill(line[: start * step], fill)
            _fill(line[stop * step :], fill)
            kept, places = line[start * step : stop * step], index[start:stop]
            if step == 1:
                for x in range(places.shape[0]):
                    kept[x] = pixels[np.uint64(places[x])]
            elif step == 3:
                for x in range(places.shape[0]):
                    k = np.uint64(places[x])
                    kept[3 * x] = pixels[k]
                    kept[3 * x + 1] = pixels[k + np.uint64(1)]
                    kept[3 * x + 2] = pixels[k + np.uint64(2)]
            else:
                for x in range(places.shape[0]):
                    for c in range(step):
                        kept[x * step + c] = pixels[np.uint64(places[x]) + np.uint64(c)]


@_compiled
def _bilinear(before: _Array, after: _Array, size: _Size, matrix: _Array, fill: _Level) -> None:
    """Pillow's `bilinear_filter8`, in its doubles; fractions of a level are dropped."""
    height, width, channels, step = size
    row = width * step
    a, b, c, d, e, f = matrix
    left, right = np.empty(width, np.int64), np.empty(width, np.int64)
    dx, dy = np.empty(width), np.empty(width)
    for y in range(height):
        y_out = y + 0.5
        for x in range(width):
            x_in = a * (x + 0.5) + b * y_out + c
            y_in = d * (x + 0.5) + e * y_out + f
            if not (x_in >= 0 and x_in < width and y_in >= 0 and y_in < height):
                left[x] = -1  # NaN is outside too
                continue
            column, line = np.floor(x_in - 0.5), np.floor(y_in - 0.5)
            dx[x] = x_in - 0.5 - column
            # On the last line the one below repeats it: no weight is the same.
            dy[x] = y_in - 0.5 - line if line < height - 1 else 0.0
            start = max(int(line), 0) * width
            left[x] = (start + max(int(column), 0)) * step
            right[x] = (start + min(int(column) + 1, width - 1)) * step
            if line < 0:
                dy[x] = 0.0
        for plane in range(channels // step):
            pixels = before[plane * height * row : (plane + 1) * height * row]
            line_out = after[(plane * height + y) * row : (plane * height + y + 1) * row]
            for x in range(width):
                for k in range(step):
                    if left[x] < 0:
                        line_out[x * step + k] = fill
                        continue
                    p, q = left[x] + k, right[x] + k
                    above = pixels[p] + (np.int64(pixels[q]) - np.int64(pixels[p])) * dx[x]
                    if dy[x] > 0:
                        p, q = p + row, q + row
                        below = pixels[p] + (np.int64(pixels[q]) - np.int64(pixels[p])) * dx[x]
                        above += (below - above) * dy[x]
                    line_out[x * step + k] = np.uint8(above)


@_compiled
def _look_up(before: _Array, after: _Array, table: _Array) -> None:
    for i in range(before.shape[0]):
        after[i] = table[before[i]]


@_compiled
def _look_up_channels(before: _Array, after: _Array, size: _Size, table: _Array) -> None:
    height, width, channels, step = size
    n_pixels = height * width
    if step == 1:
        for c in range(channels):
            _look_up(
                before[c * n_pixels : (c + 1) * n_pixels],
                after[c * n_pixels : (c + 1) * n_pixels],
                table[c],
            )
        return
    for i in range(n_pixels):
        for c in range(channels):
            after[i * channels + c] = table[c, before[i * channels + c]]


@_compiled
def _gray(before: _Array, size: _Size, start: int, count: int, gray: _Array) -> None:
    """Gray levels of `count` pixels from `start` on, as whole float32."""
    height, width, channels, step = size
    n = height * width if step == 1 else 1  # distance between channels
    if channels == 3 and step == 1:
        red = before[start : start + count]
        green = before[n + start : n + start + count]
        blue = before[2 * n + start : 2 * n + start + count]
        for i in range(count):
            total = np.int32(red[i]) * np.int32(19595) + np.int32(green[i]) * np.int32(38470)
            total += np.int32(blue[i]) * np.int32(7471) + np.int32(32768)
            gray[i] = np.float32(total >> np.int32(16))
    elif channels == 3:
        pixels = before[3 * start : 3 * (start + count)]
        for i in range(count):
            total = np.int32(pixels[3 * i]) * np.int32(19595)
            total += np.int32(pixels[3 * i + 1]) * np.int32(38470)
            total += np.int32(pixels[3 * i + 2]) * np.int32(7471) + np.int32(32768)
            gray[i] = np.float32(total >> np.int32(16))
    else:
        for i in range(count):
            total = np.int32(0)
            for c in range(channels):
                total += np.int32(before[(start + i) * step + c * n])
            gray[i] = np.floor(np.float32(total) / np.float32(channels) + np.float32(0.5))


@_compiled
def _to_level(value: _Level) -> _Level:
    return np.uint8(np.int32(min(max(value, np.float32(0)), np.float32(255))))


@_compiled
def _mean_gray(before: _Array, size: _Size) -> _Level:
    """Mean gray level, rounded to a whole one."""
    n_pixels = size[0] * size[1]
    gray = np.empty(_BLOCK, np.float32)
    total = 0
    for start in range(0, n_pixels, _BLOCK):
        count = min(_BLOCK, n_pixels - start)
        _gray(before, size, start, count, gray)
        part = np.int32(0)
        for i in range(count):
            part += np.int32(gray[i])
        total += part
    return np.float32(np.floor(total / n_pixels + 0.5))


@_compiled
def _blend(before: _Array, after: _Array, start: _Level, factor: _Level) -> None:
    """From a constant to the image and beyond: eight bytes at a time where a table does one."""
    for i in range(before.shape[0]):
        after[i] = _to_level(start + factor * (np.float32(before[i]) - start))


@_compiled
def _keep_bits(before: _Array, after: _Array, mask: _Level) -> None:
    for i in range(before.shape[0]):
        after[i] = before[i] & mask


@_compiled
def _invert_from(before: _Array, after: _Array, threshold: _Level) -> None:
    for i in range(before.shape[0]):
        level = before[i]
        after[i] = level if level < threshold else np.uint8(255) - level


@_compiled
def _autocontrast_table(table: _Array, before: _Array, size: _Size) -> None:
    height, width, channels, step = size
    n_pixels = height * width
    for c in range(channels):
        low, high = np.uint8(255), np.uint8(0)
        if step == 1:
            plane = before[c * n_pixels : (c + 1) * n_pixels]
            for i in range(n_pixels):
                low, high = min(low, plane[i]), max(high, plane[i])
        else:
            for i in range(n_pixels):
                level = before[i * step + c]
                low, high = min(low, level), max(high, level)
        slope = 255.0 / max(float(high) - float(low), 1.0)
        for level in range(256):
            stretched = min(max(level * slope + -float(low) * slope, 0.0), 255.0)
            table[c, level] = np.uint8(stretched) if high > low else level


@_compiled
def _equalize_table(table: _Array, before: _Array, size: _Size) -> None:
    height, width, channels, step = size
    n_pixels = height * width
    counts = np.zeros(256, np.int64)
    for c in range(channels):
        for level in range(256):
            counts[level] = 0
        if step == 1:
            plane = before[c * n_pixels : (c + 1) * n_pixels]
            for i in range(n_pixels):
                counts[plane[i]] += 1
        else:
            for i in range(n_pixels):
                counts[before[c + i * step]] += 1
        last = 255
        while counts[last] == 0:
            last -= 1
        spread = (n_pixels - counts[last]) // 255
        total = spread // 2
        for level in range(256):
            table[c, level] = min(total // spread, 255) if spread > 0 else level
            total += counts[level]


@_compiled
def _saturation(before: _Array, after: _Array, size: _Size, factor: _Level) -> None:
    height, width, channels, step = size
    n_pixels = height * width
    gray = np.empty(_BLOCK, np.float32)
    for start in range(0, n_pixels, _BLOCK):
        count = min(_BLOCK, n_pixels - start)
        _gray(before, size, start, count, gray)
        if step == 1:
            for c in range(channels):
                begin = c * n_pixels + start
                values, line = before[begin : begin + count], after[begin : begin + count]
                for i in range(count):
                    line[i] = _to_level((np.float32(values[i]) - gray[i]) * factor + gray[i])
        else:
            values = before[start * step : (start + count) * step]
            line = after[start * step : (start + count) * step]
            for i in range(count):
                for c in range(channels):
                    value = np.float32(values[i * channels + c]) - gray[i]
                    line[i * channels + c] = _to_level(value * factor + gray[i])


@_compiled
def _hue(before: _Array, after: _Array, size: _Size, turn: _Level) -> None:
    height, width, _, step = size
    n = height * width if step == 1 else 1
    zero, one, four = np.float32(0), np.float32(1), np.float32(4)
    rgb = np.empty((3, _BLOCK), np.float32)
    high, spread, sector = np.empty((3, _BLOCK), np.float32)
    for start in range(0, height * width, _BLOCK):
        count = min(_BLOCK, height * width - start)
        for c in range(3):
            for i in range(count):
                rgb[c, i] = np.float32(before[(start + i) * step + c * n])
        red, green, blue = rgb
        for i in range(count):
            high[i] = max(max(red[i], green[i]), blue[i])
            spread[i] = high[i] - min(min(red[i], green[i]), blue[i])
            divisor = spread[i] if spread[i] > zero else one
            from_red = (green[i] - blue[i]) / divisor
            from_green = (blue[i] - red[i]) / divisor + np.float32(2)
            from_blue = (red[i] - green[i]) / divisor + four
            is_green = high[i] == green[i]
            other = from_green if is_green else from_blue
            sector[i] = (from_red if high[i] == red[i] else other) + turn
        for c in range(3):
            for i in range(count):
                # The remainder by 6 of a number in [-4, 13): whole turns are taken off exactly.
                k = sector[i] + np.float32(5 - 2 * c)
                k = k - np.float32(6) if k >= np.float32(6) else k
                k = k - np.float32(6) if k >= np.float32(6) else k
                k = k + np.float32(6) if k < zero else k
                part = min(max(min(k, four - k), zero), one)
                level = _to_level(high[i] - spread[i] * part + np.float32(0.5))
                after[(start + i) * step + c * n] = level


@_compiled
def _shuffle(before: _Array, after: _Array, size: _Size, order: _Array) -> None:
    height, width, channels, step = size
    n_pixels = height * width
    if step == 1:
        for c in range(channels):
            begin = order[c] * n_pixels
            _copy(before[begin : begin + n_pixels], after[c * n_pixels : (c + 1) * n_pixels])
        return
    for i in range(n_pixels):
        for c in range(channels):
            after[i * channels + c] = before[i * channels + order[c]]


@_compiled
def _sharpness(before: _Array, after: _Array, size: _Size, factor: _Level) -> None:
    """Pixels and planes alike: a neighbour is `step` values away."""
    height, width, channels, step = size
    row = width * step
    column = np.empty(row, np.int32)
    for plane in range(channels // step):
        pixels = before[plane * height * row : (plane + 1) * height * row]
        out = after[plane * height * row : (plane + 1) * height * row]
        _copy(pixels[:row], out[:row])
        _copy(pixels[(height - 1) * row :], out[(height - 1) * row :])
        for y in range(1, height - 1):
            above, here = pixels[(y - 1) * row : y * row], pixels[y * row : (y + 1) * row]
            below, line = pixels[(y + 1) * row : (y + 2) * row], out[y * row : (y + 1) * row]
            for x in range(row):
                column[x] = np.int32(above[x]) + np.int32(here[x]) + np.int32(below[x])
            _copy(here[:step], line[:step])
            _copy(here[row - step :], line[row - step :])
            left, middle, right = column[: row - 2 * step], column[step:], column[2 * step :]
            inside, line = here[step : row - step], line[step : row - step]
            for x in range(inside.shape[0]):
                level = np.int32(inside[x])
                total = np.float32(left[x] + middle[x] + right[x] + np.int32(4) * level)
                smooth = np.floor(total * np.float32(1 / 13) + np.float32(0.5))
                line[x] = _to_level(smooth + factor * (np.float32(level) - smooth))


@_compiled
def _blur(before: _Array, after: _Array, size: _Size, taps: _Array) -> None:
    """Rows, then columns; the same multiplications and additions as the torch kernel."""
    height, width, channels, step = size
    n = height * width if step == 1 else 1
    reach = taps.shape[0] - 1
    line = np.empty(width + 2 * reach, np.float32)
    rows = np.empty((height, width), np.float32)
    total = np.empty(width, np.float32)
    for c in range(channels):
        for y in range(height):
            for x in range(width + 2 * reach):
                place = y * width + min(max(x - reach, 0), width - 1)
                line[x] = np.float32(before[place * step + c * n])
            for x in range(width):
                rows[y, x] = line[x + reach] * taps[0]
            for k in range(1, reach + 1):
                for x in range(width):
                    rows[y, x] += (line[x + reach - k] + line[x + reach + k]) * taps[k]
        for y in range(height):
            for x in range(width):
                total[x] = rows[y, x] * taps[0]
            for k in range(1, reach + 1):
                above, below = rows[max(y - k, 0)], rows[min(y + k, height - 1)]
                for x in range(width):
                    total[x] += (above[x] + below[x]) * taps[k]
            for x in range(width):
                after[(y * width + x) * step + c * n] = _to_level(total[x] + np.float32(0.5))


@_compiled
def _cutout(before: _Array, after: _Array, size: _Size, box: _Array, fill: _Level) -> None:
    """Box: first column, first row, one past the last column and row."""
    height, width, channels, step = size
    _copy(before, after)
    left, right = int(box[0]), int(box[2])
    for plane in range(channels // step):
        for y in range(int(box[1]), int(box[3])):
            begin = (plane * height + y) * width
            _fill(after[(begin + left) * step : (begin + right) * step], fill)


#: The machine types of `_run`: arrays are contiguous, numbers 64 bits wide.
_SIGNATURE = (
    "void(u1[:, ::1], u1[:, ::1], UniTuple(i8, 4), u1, i1[:, ::1], i4[:, ::1], f8[:, :, ::1], "
    "u1[:, ::1], i4[:, ::1], f8[:, ::1], f4[:, ::1], i8[:, ::1], i8, i8, i8)"
)


@functools.cache
def machine_code() -> Callable[..., None]:
    """`_run`, compiled, or read from where an earlier process kept it.

    Compiles anew, for this process alone, where no folder can be written to or what is kept there
    is damaged.
    """
    try:
        code = numba.njit(nogil=True, cache=True)(_run)
        code.compile(_SIGNATURE)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError):
        code = numba.njit(nogil=True)(_run)
        code.compile(_SIGNATURE)
    return code
