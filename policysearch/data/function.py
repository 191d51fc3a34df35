"""Calls the user's own loader and reads what it returns.

Accepted are the forms people already have: arrays, pairs of arrays, a dict with the keys of an
`.npz`, torch datasets (one, a pair, or a dict of train and test). A torch dataset is read once,
item by item; torch itself is never imported here, its tensors speak numpy.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from policysearch.data.array_kinds import source_of_kind
from policysearch.data.arrays import (
    KEYS,
    Layout,
    check_keys,
    guess_layout,
    source_from_arrays,
)
from policysearch.data.dataset import Dataset, Source, listed
from policysearch.data.image_file import Picture, picture_of
from policysearch.data.stack import stack
from policysearch.errors import DataError, InvalidValueError
from policysearch.user_code import find_function, importable

_FORMS = (
    "Return (x, y), ((x_train, y_train), (x_test, y_test)), a dict with x_train and y_train, "
    "or torch datasets."
)
_PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_PLAIN = (np.ndarray, Mapping, tuple, list, str, bytes)
_N_READ_TWICE = 8


def call_by_name(text: str) -> Any:
    """Imports `package.module:function` (from the working directory too) and calls it.

    Raises:
      DataError: When the module or function does not exist, or raises.
    """
    try:
        function = find_function(text)
    except InvalidValueError as error:
        raise DataError(str(error)) from error
    try:
        with importable():
            return function()
    except Exception as error:
        raise DataError(f"'{text}' raised {type(error).__name__}: {error}.") from error


def source_from_value(
    value: Any,
    *,
    name: str,
    modality: str = "image",
    image_size: int | None = None,
    layout: Layout | None = None,
) -> Source:
    """Makes a source of arrays or, for images, torch datasets.

    Raises:
      DataError: When the value has none of the accepted forms.
    """
    if isinstance(value, Source):
        return value
    if isinstance(value, Dataset):
        return Source(train=value, name=name)
    parts = _dataset_parts(value, name)
    if parts and modality != "image":
        raise DataError(
            f"Torch datasets are read as images, got {_describe(value)} for {modality} data "
            f"({name}). Return arrays."
        )
    if parts:
        arrays, notices = _read_datasets(parts, name, image_size, layout)
        return source_from_arrays(
            arrays, name=name, image_size=image_size, layout="NCHW", notices=tuple(notices)
        )
    arrays = _named_arrays(value, name)
    extra = check_keys(tuple(arrays), name)
    known = {key: array for key, array in arrays.items() if key in KEYS}
    return source_of_kind(
        modality, known, name=name, image_size=image_size, layout=layout, notices=extra
    )


def _is_dataset(value: Any) -> bool:
    """Whether a value is a map-style dataset: items by number, each with its label."""
    if isinstance(value, _PLAIN) or _is_tensor(value):
        return False
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "numpy")


def _dataset_parts(value: Any, name: str) -> dict[str, Any]:
    if _is_dataset(value):
        return {"train": value}
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_dataset, value)):
        return {"train": value[0], "test": value[1]}
    if isinstance(value, Mapping) and value and all(map(_is_dataset, value.values())):
        unknown = [key for key in value if key not in _PARTS]
        if unknown or "train" not in value:
            raise DataError(
                f"A dict of datasets must have the key `train` and may have `val` and `test`, "
                f"got {listed(list(value))} ({name})."
            )
        return {_PARTS[key]: part for key, part in value.items()}
    if not isinstance(value, _PLAIN) and hasattr(value, "__iter__") and not _is_tensor(value):
        raise DataError(
            f"A dataset must give items by number, got {type(value).__name__}, which can only be "
            f"iterated ({name}). Return a map-style dataset, or arrays."
        )
    return {}


def _named_arrays(value: Any, name: str) -> dict[str, NDArray[Any]]:
    if isinstance(value, Mapping):
        return {str(key): _array(item, str(key), name) for key, item in value.items()}
    if isinstance(value, (tuple, list)) and len(value) == 2:
        first, second = value
        if _is_pair(first) and _is_pair(second):
            keys = ("x_train", "y_train", "x_test", "y_test")
            items = (*first, *second)
        else:
            keys, items = ("x_train", "y_train"), (first, second)  # type: ignore[assignment]
        return {key: _array(item, key, name) for key, item in zip(keys, items, strict=True)}
    raise DataError(f"{name} gave {_describe(value)}, which is no dataset. {_FORMS}")


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and hasattr(value[0], "shape")


def _array(value: Any, key: str, name: str) -> NDArray[Any]:
    if _is_tensor(value):
        value = value.detach().cpu().numpy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            array = np.asarray(value)
    except Exception as error:
        raise DataError(f"`{key}` is not an array: {error} ({name}). {_FORMS}") from error
    if array.dtype == object:
        raise DataError(
            f"`{key}` must be an array of numbers, got {_describe(value)} ({name}). {_FORMS}"
        )
    return array


def _describe(value: Any) -> str:
    size = f" of {len(value)}" if hasattr(value, "__len__") else ""
    return f"{type(value).__name__}{size}"


def _read_datasets(
    parts: Mapping[str, Any], name: str, image_size: int | None, layout: Layout | None
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    notices: list[str] = []
    labels = {}
    items: list[Any] = []
    for part, dataset in parts.items():
        read, labels[part] = _items(dataset, f"the {part} dataset ({name})", image_size, layout)
        items.extend(read)
        if _is_random(dataset):
            notices.append(
                f"{name}: the {part} dataset gives a different image each time it is asked; one "
                "of them was taken. Leave random transforms out: they are what is searched for."
            )
    x = _stack_items(items, name, image_size, notices)
    arrays = {}
    start = 0
    for part, y in labels.items():
        arrays[f"x_{part}"] = x[start : start + len(y)]
        arrays[f"y_{part}"] = y
        start += len(y)
    classes = getattr(parts["train"], "classes", None)
    if isinstance(classes, (list, tuple)) and all(isinstance(c, str) for c in classes):
        arrays["classes"] = np.array(classes)
    return arrays, notices


def _items(
    dataset: Any, where: str, image_size: int | None, layout: Layout | None
) -> tuple[list[Any], NDArray[Any]]:
    items: list[Any] = []
    labels: list[Any] = []
    if len(dataset) == 0:
        raise DataError(f"There must be at least one item, got none in {where}.")
    for i in range(len(dataset)):
        place = f"item {i} of {where}"
        try:
            item = dataset[i]
        except Exception as error:
            raise DataError(f"Reading {place} raised {type(error).__name__}: {error}.") from error
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise DataError(f"An item must be (image, label), got {_describe(item)} ({place}).")
        items.append(_image(item[0], place, image_size, layout))
        labels.append(_label(item[1], place))
    return items, np.array(labels)


def _label(label: Any, place: str) -> int | str:
    if isinstance(label, str):
        return label
    try:
        number = float(label)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"A label must be an integer, got {_describe(label)} ({place})."
        ) from error
    if not number.is_integer():
        raise DataError(f"A label must be an integer, got {number!r} ({place}).")
    return int(number)


def _image(
    image: Any, place: str, image_size: int | None, layout: Layout | None
) -> Picture | NDArray[Any]:
    """A picture for a PIL image, `(C, H, W)` for anything else."""
    if isinstance(image, Image.Image):
        try:
            return picture_of(image, image_size)
        except (DataError, OSError) as error:
            raise DataError(f"An image cannot be read: {error} ({place}).") from error
    array = _array(image, "image", place)
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise DataError(
            f"An image must have 2 or 3 dimensions, got shape {array.shape} ({place})."
        )
    if _is_tensor(image):
        return array
    order = layout or guess_layout((1, *array.shape), "image", place)
    return array if order == "NCHW" else array.transpose(2, 0, 1)


def _stack_items(
    items: list[Any], name: str, image_size: int | None, notices: list[str]
) -> NDArray[Any]:
    """One array `(n, C, H, W)` of all items; empties the list."""
    n_pictures = sum(isinstance(item, Picture) for item in items)
    if n_pictures == len(items):
        return stack(items, image_size, notices, what=name)
    shapes = sorted({item.shape for item in items if not isinstance(item, Picture)})
    if n_pictures or len(shapes) > 1:
        raise DataError(
            f"All images must have one shape, got {listed(shapes, 5)}"
            f"{' and PIL images' if n_pictures else ''} ({name}). Return PIL images, which are "
            "resized for you, or resize them in the dataset."
        )
    x: NDArray[Any] = np.stack(items)
    items.clear()
    return x


def _is_random(dataset: Any) -> bool:
    """Whether the first items differ when read again."""
    for i in range(min(_N_READ_TWICE, len(dataset))):
        first, second = (np.asarray(dataset[i][0]) for _ in range(2))
        if first.shape != second.shape or not np.array_equal(first, second):
            return True
    return False
