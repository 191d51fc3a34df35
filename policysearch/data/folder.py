"""Loads a folder of images by class, with or without `train/ val/ test/` above the classes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from policysearch.data.class_folder import Item, find_classes
from policysearch.data.dataset import Source, printable
from policysearch.data.image_file import IMAGES, Picture, read_picture
from policysearch.data.resize import check_image_size, check_memory
from policysearch.data.stack import stack
from policysearch.errors import DataError

_CHUNK = 64
_SMALL_PIXELS = 128 * 128


def load_folder(
    root: Path,
    *,
    image_size: int | None = None,
    skip_bad: bool = False,
    group_pattern: str | None = None,
) -> Source:
    """Loads images by class.

    Args:
      root: Folder of class folders, or of `train`, `val`, `test` folders of class folders.
      image_size: Side in pixels; `None` keeps images of one size up to 64 px.
      skip_bad: Leaves damaged images out and lists them in the notices, instead of refusing.
      group_pattern: Regular expression whose one group, found in the path below the class folder,
        names what must not straddle a split.

    Raises:
      DataError: With the files or folders at fault and what to do.
      InvalidValueError: When an option is not valid.
    """
    check_image_size(image_size)
    notices: list[str] = []
    found = find_classes(root, IMAGES, group_pattern, notices)
    found, pictures = found.readable(_read_all(found.items, image_size), skip_bad, notices)
    x = stack(pictures, image_size, notices, what=f"'{printable(root)}'")
    return Source(notices=tuple(notices), name=found.name, **found.parts(x))


def _read_all(items: Sequence[Item], image_size: int | None) -> list[Picture | str]:
    """A picture, or the reason why there is none, for each file."""
    # Pillow warns about odd metadata and large images; sizes are checked, metadata is not used.
    # Warning filters belong to the whole process, so they are set outside the threads.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = _read_chunk(items[:_CHUNK], image_size)
        first = [result for result in results if isinstance(result, Picture)]
        mean_bytes = sum(p.pixels.nbytes for p in first) / max(len(first), 1)
        check_memory(int(mean_bytes * len(items)), "This folder of images")
        mean_pixels = sum(p.size[0] * p.size[1] for p in first) / max(len(first), 1)
        # Decoders run beside each other, Python does not: for small images threads only wait
        # for each other (60,000 images of 32 px: 5 s without, 12 s with two threads).
        n_threads = 1 if mean_pixels < _SMALL_PIXELS else min(8, os.cpu_count() or 1)
        rest = [items[i : i + _CHUNK] for i in range(_CHUNK, len(items), _CHUNK)]
        if n_threads == 1:
            results += [r for chunk in rest for r in _read_chunk(chunk, image_size)]
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                for chunk in pool.map(lambda c: _read_chunk(c, image_size), rest):
                    results += chunk
    return results


def _read_chunk(items: Sequence[Item], image_size: int | None) -> list[Picture | str]:
    """A picture, or the reason why there is none, for each file."""
    results: list[Picture | str] = []
    for item in items:
        try:
            results.append(read_picture(item.path, image_size))
        except DataError as error:
            results.append(str(error))
    return results
