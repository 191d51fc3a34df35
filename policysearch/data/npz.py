"""Reads `.npz` files without trusting them.

An `.npz` is a zip of arrays, and may come from anywhere. Before a byte is unpacked the headers are
read: object arrays (pickles) are refused, and so is a file that declares more data than the
machine could hold or than its entries contain.
"""

from __future__ import annotations

import math
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.array_kinds import source_of_kind
from policysearch.data.arrays import KEYS, Layout, check_keys
from policysearch.data.dataset import Source, printable
from policysearch.data.resize import check_memory
from policysearch.errors import DataError


def load_npz(
    path: Path,
    *,
    modality: str = "image",
    image_size: int | None = None,
    layout: Layout | None = None,
) -> Source:
    """Loads `x_train, y_train` and what else `policysearch.data.arrays` knows from an `.npz`.

    Args:
      path: The file.
      modality: What the arrays hold.
      image_size: See `source_from_arrays`, for images.
      layout: See `source_from_arrays`, for images.

    Raises:
      DataError: When the file is not a whole `.npz`, holds pickles, or its arrays do not fit.
    """
    name = printable(path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            notices = check_keys(tuple(members), name)
            used = {key: members[key] for key in KEYS if key in members}
            check_memory(sum(info.file_size for info in used.values()), f"'{name}'")
            for key, info in used.items():
                _check_header(archive, info, key, name)
            arrays = {key: _read(archive, info) for key, info in used.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"'{printable(path)}' is not a readable .npz file ({error}). "
            "Save it again with numpy.savez_compressed."
        ) from error
    except OSError as error:
        raise DataError(
            f"'{printable(path)}' cannot be read: {error.strerror or error}."
        ) from error
    return source_of_kind(
        modality, arrays, name=name, image_size=image_size, layout=layout, notices=notices
    )


def _check_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str, name: str) -> None:
    with archive.open(info) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns about old headers; they read fine
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
            header_bytes = file.tell()
        except (ValueError, SyntaxError, TypeError, RecursionError) as error:
            raise DataError(f"`{key}` in '{name}' is not a numpy array: {error}.") from error
    if dtype.hasobject:
        raise DataError(
            f"`{key}` in '{name}' holds Python objects, which could run code when read and are "
            "refused. Save a plain array: numbers of one shape, such as np.stack(list_of_images)."
        )
    declared = math.prod(shape) * dtype.itemsize
    if declared != info.file_size - header_bytes:
        raise DataError(
            f"`{key}` in '{name}' declares {declared:,} bytes but holds "
            f"{info.file_size - header_bytes:,}. The file is damaged; save it again."
        )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array
