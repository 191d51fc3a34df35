"""Brings decoded images of mixed kinds to one array: one channel count, one depth, one size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.image_file import CHANGES, Picture
from policysearch.data.resize import check_memory, common_size, fit


def stack(
    pictures: list[Picture], image_size: int | None, notices: list[str], what: str = "The images"
) -> NDArray[Any]:
    """Stacks images; says in `notices` what had to change.

    Gray stays gray if all images are gray, else all become RGB. 16-bit gray stays uint16 if all
    images are, else it is read at 8 bits. Sizes follow `policysearch.data.resize`.

    Args:
      pictures: Decoded images, at least one. The list is emptied, to spare memory.
      image_size: Side in pixels; `None` chooses.
      notices: Is appended to.
      what: Names the images in an error.

    Returns:
      `(n, C, H, W)` with C 1 or 3; uint8 or uint16.
    """
    size, resized = common_size((p.size for p in pictures), image_size)
    if resized:
        notices.append(resized)
    n_gray = sum(p.pixels.ndim == 2 for p in pictures)
    n_deep = sum(p.pixels.dtype == np.uint16 for p in pictures)
    n = len(pictures)
    if 0 < n_gray < n:
        notices.append(f"{n_gray:,} of {n:,} images are gray and were read as RGB.")
    if n_deep == n:
        notices.append("All images are 16-bit gray and keep their 16 bits.")
    elif n_deep:
        notices.append(f"{n_deep:,} of {n:,} images are 16-bit gray and were read at 8 bits.")
    notices.extend(_changes(pictures))
    n_channels = 1 if n_gray == n else 3
    dtype = np.uint16 if n_deep == n else np.uint8
    check_memory(n * n_channels * size[0] * size[1] * np.dtype(dtype).itemsize, what)
    x = np.empty((n, n_channels, *size), dtype=dtype)
    for i in range(n - 1, -1, -1):
        pixels = fit(pictures.pop().pixels, size)
        if pixels.dtype == np.uint16 and dtype == np.uint8:
            pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        x[i] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return x


def _changes(pictures: Sequence[Picture]) -> list[str]:
    counts = Counter(change for picture in pictures for change in picture.changes)
    n = len(pictures)
    return [f"{counts[key]:,} of {n:,} images {CHANGES[key]}." for key in sorted(counts)]
