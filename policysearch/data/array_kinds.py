"""From named arrays to a source, by the kind of data they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from policysearch.data.arrays import Layout, source_from_arrays
from policysearch.data.dataset import Source
from policysearch.data.series import source_from_series_arrays
from policysearch.data.tabular import source_from_tabular_arrays
from policysearch.errors import DataError


def source_of_kind(
    modality: str,
    arrays: Mapping[str, NDArray[Any]],
    *,
    name: str,
    image_size: int | None,
    layout: Layout | None,
    notices: tuple[str, ...],
) -> Source:
    """Builds a source from arrays named as in an `.npz` file, as the modality reads them.

    Raises:
      DataError: When arrays do not fit together, or cannot hold such data.
    """
    if modality == "image":
        return source_from_arrays(
            arrays, name=name, image_size=image_size, layout=layout, notices=notices
        )
    if modality == "series":
        return source_from_series_arrays(arrays, name=name, notices=notices)
    if modality == "tabular":
        return source_from_tabular_arrays(arrays, name=name, notices=notices)
    hint = " Give a folder of WAV, FLAC or OGG files by class." if modality == "audio" else ""
    raise DataError(f"Arrays cannot hold {modality} data ({name}).{hint}")
