"""Turns arrays of unknown habits into images `(n, C, H, W)` and labels 0 .. k - 1.

Everything that people put into arrays arrives here, from `.npz` files and Python callables alike:
channels first or last, labels as floats or names, pixels in [0, 255] as floats. What can be told
apart for certain is converted, with a notice; the rest is refused with the line of code that
helps. Nothing is repaired in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from policysearch.data.dataset import Dataset, Source, listed, printable
from policysearch.data.resize import fit_arrays
from policysearch.errors import DataError

Layout = Literal["NCHW", "NHWC"]

KEYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "groups", "classes")
_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class _Labels:
    """Labels of every part as class numbers, with the names of the classes."""

    y: dict[str, NDArray[np.int64]]
    classes: tuple[str, ...]


def source_from_arrays(
    arrays: Mapping[str, NDArray[Any]],
    *,
    name: str,
    image_size: int | None = None,
    layout: Layout | None = None,
    notices: tuple[str, ...] = (),
) -> Source:
    """Builds a source from arrays named as in an `.npz` file.

    Args:
      arrays: `x_train` and `y_train`; optionally `x_val, y_val`, `x_test, y_test`, `groups`
        (one entry per training sample) and `classes` (names, in label order).
      name: Where the arrays come from; stands in messages.
      image_size: Side in pixels to resize to; `None` keeps images up to 64 px.
      layout: `NCHW` or `NHWC`; `None` guesses where the shape leaves no doubt.
      notices: Notices collected so far.

    Raises:
      DataError: With the key, the rule, what was found and what to do.
    """
    found = list(notices)
    x = {part: arrays[f"x_{part}"] for part in _PARTS if f"x_{part}" in arrays}
    channels_first = {
        part: _as_images(array, f"x_{part}", name, layout, found) for part, array in x.items()
    }
    _check_same_form(channels_first, name)
    labels = _labels(arrays, tuple(x), name, found)
    _check_lengths(channels_first, labels, name)
    fitted = fit_arrays(channels_first, image_size, found)
    groups = _groups(arrays.get("groups"), len(labels.y["train"]), name)
    parts = {
        part: Dataset(
            x=fitted[part],
            y=labels.y[part],
            classes=labels.classes,
            groups=groups if part == "train" else None,
        )
        for part in fitted
    }
    return Source(notices=tuple(found), name=name, **parts)


def _check_lengths(x: Mapping[str, NDArray[Any]], labels: _Labels, name: str) -> None:
    for part, array in x.items():
        if len(array) != len(labels.y[part]):
            raise DataError(
                f"`x_{part}` and `y_{part}` must have the same length, "
                f"got {len(array):,} and {len(labels.y[part]):,} ({name})."
            )


def check_keys(keys: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Checks the names of arrays; returns a notice about those that are not used."""
    missing = [key for key in ("x_train", "y_train") if key not in keys]
    for part in ("val", "test"):
        pair = (f"x_{part}", f"y_{part}")
        if (pair[0] in keys) != (pair[1] in keys):
            missing.append(pair[0] if pair[1] in keys else pair[1])
    if missing:
        raise DataError(
            f"{name} must hold `x_train` and `y_train`, and `x_test` with `y_test` or `x_val` "
            f"with `y_val` if it has these splits; missing: {', '.join(missing)}; "
            f"found: {listed(keys) or 'nothing'}. Rename the arrays when saving."
        )
    extra = [key for key in keys if key not in KEYS]
    return (f"{name}: ignored the arrays {listed(extra)}.",) if extra else ()


def _as_images(
    array: NDArray[Any], key: str, name: str, layout: Layout | None, notices: list[str]
) -> NDArray[Any]:
    if array.ndim not in (3, 4):
        hint = " Give images as (n, H, W), (n, H, W, C) or (n, C, H, W)."
        side = round(array.shape[1] ** 0.5) if array.ndim == 2 else 0
        if side > 1 and side * side == array.shape[1]:
            hint = f" If these are flattened images, reshape them to (n, {side}, {side})."
        if array.ndim == 2:
            hint += " If they are time series: --modality series."
        raise DataError(
            f"`{key}` must have 3 or 4 dimensions, got shape {array.shape} ({name}).{hint}"
        )
    if 0 in array.shape:
        raise DataError(f"`{key}` must not be empty, got shape {array.shape} ({name}).")
    pixels = _as_pixels(array, key, name, notices)
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels[:, None])
    order = layout or guess_layout(array.shape, key, name)
    if layout is None:
        notices.append(f"`{key}` {array.shape} was read as {order}.")
    return np.ascontiguousarray(pixels if order == "NCHW" else pixels.transpose(0, 3, 1, 2))


def guess_layout(shape: tuple[int, ...], key: str, name: str) -> Layout:
    """Tells channels first from last, or refuses.

    One or three channels decide; where both ends could be channels, or neither, the image is
    taken to be square or at least larger than its channels are many.
    """
    _, first, middle, last = shape
    few_first, few_last = first in (1, 3), last in (1, 3)
    if few_first == few_last:
        few_first = first < min(middle, last)
        few_last = last < min(first, middle)
    if few_first == few_last:
        few_first = middle == last != first
        few_last = first == middle != last
    if few_first != few_last:
        return "NCHW" if few_first else "NHWC"
    raise DataError(
        f"`{key}` has shape {shape}: channels first and channels last are both possible ({name}). "
        "Save gray images as (n, H, W), or load from Python with layout='NCHW' or 'NHWC'."
    )


def _as_pixels(array: NDArray[Any], key: str, name: str, notices: list[str]) -> NDArray[Any]:
    """Pixels as uint8, uint16, or float32 in [0, 1]; the shape is kept."""
    kind = array.dtype.kind
    if kind == "f":
        return _as_unit_floats(array, key, name, notices)
    if array.dtype.newbyteorder("=") in (np.dtype(np.uint8), np.dtype(np.uint16)):
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if kind in "iu":
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 65535:
            raise DataError(
                f"`{key}` must hold pixels in 0..255 (uint8) or 0..65535 (uint16), got "
                f"{array.dtype} in {low}..{high} ({name}). "
                "Scale the pixels and convert them with .astype."
            )
        target = np.uint8 if high <= 255 else np.uint16
        notices.append(f"`{key}`: {array.dtype} in {low}..{high} was read as {target.__name__}.")
        return array.astype(target)
    hint = " Use x.astype('uint8') * 255." if kind == "b" else " Convert it with .astype."
    raise DataError(
        f"`{key}` must be uint8, uint16 or float, got dtype {array.dtype} ({name}).{hint}"
    )


def _as_unit_floats(
    array: NDArray[Any], key: str, name: str, notices: list[str]
) -> NDArray[np.float32]:
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        bad = np.flatnonzero(~finite)
        raise DataError(
            f"`{key}` must be finite, got NaN or infinity in {len(bad):,} of {len(array):,} "
            f"samples, first in sample {bad[0]} ({name}). Remove or repair these samples."
        )
    if low < 0.0 or high > 1.0:
        raise DataError(
            f"`{key}`: float pixels must be in [0, 1], got {low:g}..{high:g} ({name}). "
            f"{_scaling_hint(low, high)}"
        )
    if array.dtype.newbyteorder("=") != np.float32:
        notices.append(f"`{key}`: {array.dtype} was read as float32.")
    return array.astype(np.float32, copy=False)


def _scaling_hint(low: float, high: float) -> str:
    if low < 0.0:
        return "If the images were normalised (mean, deviation), leave that out: training does it."
    if high <= 16.0:
        return f"Divide by the largest possible value, such as x / {high:g}."
    if high <= 255.0:
        return "If these are pixels in 0..255, use x.astype('uint8') or x / 255."
    return "Scale the pixels to [0, 1]."


def _check_same_form(x: Mapping[str, NDArray[Any]], name: str) -> None:
    train = x["train"]
    for part, array in x.items():
        if array.shape[1:] != train.shape[1:] or array.dtype != train.dtype:
            raise DataError(
                f"`x_{part}` must match `x_train` in sample shape and dtype, got "
                f"{array.shape[1:]} {array.dtype} against {train.shape[1:]} {train.dtype} "
                f"({name})."
            )


def _labels(
    arrays: Mapping[str, NDArray[Any]], parts: tuple[str, ...], name: str, notices: list[str]
) -> _Labels:
    raw = {part: _flat_labels(arrays[f"y_{part}"], f"y_{part}", name) for part in parts}
    kinds = {array.dtype.kind == "U" for array in raw.values()}
    if len(kinds) > 1:
        raise DataError(f"Labels must be numbers in all splits or names in all ({name}).")
    if kinds == {True}:
        return _named_labels(raw, name)
    y = {part: _whole(array, f"y_{part}", name, notices) for part, array in raw.items()}
    n_classes = _check_range(y["train"], name)
    for part, array in y.items():
        unknown = np.setdiff1d(array, y["train"])
        if len(unknown):
            raise DataError(
                f"`y_{part}` must hold labels that `y_train` has (0..{n_classes - 1}), "
                f"got {listed(unknown.tolist())} ({name})."
            )
    return _Labels(y, _class_names(arrays.get("classes"), n_classes, name))


def _flat_labels(y: NDArray[Any], key: str, name: str) -> NDArray[Any]:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        hint = " If it is one-hot, use y.argmax(axis=1)." if y.ndim == 2 else ""
        raise DataError(f"`{key}` must have shape (n,), got {y.shape} ({name}).{hint}")
    if y.dtype.kind not in "biufU":
        raise DataError(f"`{key}` must hold integers, got dtype {y.dtype} ({name}).")
    return y


def _named_labels(raw: Mapping[str, NDArray[Any]], name: str) -> _Labels:
    classes = tuple(sorted({str(label) for label in np.unique(raw["train"])}))
    number = {label: i for i, label in enumerate(classes)}
    y = {}
    for part, array in raw.items():
        unknown = sorted({str(label) for label in np.unique(array)} - set(classes))
        if unknown:
            raise DataError(
                f"`y_{part}` must hold labels that `y_train` has, got {listed(unknown)} ({name})."
            )
        y[part] = np.array([number[str(label)] for label in array], dtype=np.int64)
    return _Labels(y, tuple(printable(label) for label in classes))


def _whole(y: NDArray[Any], key: str, name: str, notices: list[str]) -> NDArray[np.int64]:
    if y.dtype.kind == "f":
        if (
            not np.isfinite(y).all()
            or (y != np.round(y)).any()
            or np.abs(y).max(initial=0) > 2**31
        ):
            odd = next((v for v in y.tolist() if not float(v).is_integer()), y.max())
            raise DataError(
                f"`{key}` must hold class numbers, got {odd:g} ({name}). Targets of a regression "
                "are not supported."
            )
        notices.append(f"`{key}`: whole numbers stored as {y.dtype} were read as class numbers.")
    return y.astype(np.int64)


def _check_range(y: NDArray[np.int64], name: str) -> int:
    present = np.unique(y)
    low, high = int(present[0]), int(present[-1])
    if low < 0:
        raise DataError(
            f"`y_train` must be 0 or more, got {low} ({name}). "
            "Remove unlabelled samples, or number the classes from 0."
        )
    if len(present) < high + 1:
        gaps = high + 1 - len(present)
        missing = np.setdiff1d(np.arange(min(high, len(present) + 20)), present)
        hint = "Use y - 1." if low == 1 and gaps == 1 else "Number the classes without gaps"
        hint += "" if hint.endswith(".") else ": np.unique(y, return_inverse=True)[1]."
        shown = f"{listed(missing.tolist())}" + ("" if gaps == len(missing) else ", ...")
        raise DataError(
            f"`y_train` must use every label in 0..{high}, got none of {shown} ({name}). {hint}"
        )
    return high + 1


def _class_names(classes: NDArray[Any] | None, n_classes: int, name: str) -> tuple[str, ...]:
    if classes is None:
        return tuple(str(i) for i in range(n_classes))
    if classes.dtype.kind not in "Uiu" or classes.shape != (n_classes,):
        raise DataError(
            f"`classes` must be {n_classes} names (one per label), "
            f"got {classes.dtype} of shape {classes.shape} ({name})."
        )
    return tuple(printable(label) for label in classes.tolist())


def _groups(groups: NDArray[Any] | None, n: int, name: str) -> NDArray[Any] | None:
    if groups is None:
        return None
    if groups.dtype.kind not in "iuU" or groups.shape != (n,):
        raise DataError(
            f"`groups` must hold one integer or string per training sample, shape ({n},), "
            f"got {groups.dtype} of shape {groups.shape} ({name})."
        )
    return groups
