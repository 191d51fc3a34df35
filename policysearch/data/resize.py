"""One rule for the size of images, whatever they come from.

Images that are all of one size, up to 64 px, are kept as they are. Everything else is brought to
one square size: the short side is scaled (antialiased) and the centre is cut out. Proxy trainings
want small images; whoever wants larger ones asks for a size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from policysearch.errors import DataError, InvalidValueError

KEPT_UP_TO = 64
MAX_IMAGE_SIZE = 1024


def check_image_size(image_size: int | None) -> None:
    """Raises `InvalidValueError` unless the size is `None` or a sensible number of pixels."""
    if image_size is None:
        return
    if isinstance(image_size, bool) or not isinstance(image_size, int):
        raise InvalidValueError(f"`image_size` must be a whole number, got {image_size!r}.")
    if not 1 <= image_size <= MAX_IMAGE_SIZE:
        raise InvalidValueError(
            f"`image_size` must be in 1..{MAX_IMAGE_SIZE} pixels, got {image_size}."
        )


def common_size(
    sizes: Iterable[tuple[int, int]], image_size: int | None
) -> tuple[tuple[int, int], str | None]:
    """The size that images of these sizes get, with a notice when any of them changes.

    Args:
      sizes: Height and width of every image.
      image_size: Side asked for, in pixels; `None` chooses.

    Returns:
      `((height, width), notice)`.
    """
    seen = np.array(list(sizes), dtype=np.int64).reshape(-1, 2)
    low, high = seen.min(axis=0), seen.max(axis=0)
    uniform = bool((low == high).all())
    kept = (int(low[0]), int(low[1]))
    if image_size is None and uniform and max(kept) <= KEPT_UP_TO:
        return kept, None
    side = image_size
    if side is None:
        side = int(min(KEPT_UP_TO, np.median(seen.min(axis=1))))
    if uniform and kept == (side, side):
        return kept, None
    span = _words(kept) if uniform else f"{_words(low)} to {_words(high)}"
    advice = "" if image_size is not None else " (choose with image_size)"
    notice = f"Images of {span} pixels were resized to {side} x {side}{advice}."
    return (side, side), notice


def fit(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Brings one image `(H, W)` or `(H, W, C)` to `(height, width)`; keeps the dtype.

    The image is cut to the centred rectangle of the wanted aspect, then scaled bilinearly with
    antialiasing (Pillow), which is scaling the short side and cutting the centre in one step.
    """
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    scale = max(size[0] / height, size[1] / width)
    box_h, box_w = size[0] / scale, size[1] / scale
    top, left = (height - box_h) / 2, (width - box_w) / 2
    # Rounding may step outside the image by a hair, which Pillow refuses.
    box = (max(left, 0.0), max(top, 0.0), min(left + box_w, width), min(top + box_h, height))
    if pixels.dtype == np.uint8 and (pixels.ndim == 2 or pixels.shape[2] == 3):
        return _scaled(pixels, size, box)
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    scaled = [
        _scaled(planes[..., c].astype(np.float32), size, box) for c in range(planes.shape[2])
    ]
    out = np.stack(scaled, axis=-1)
    out = np.round(out) if pixels.dtype.kind == "u" else np.clip(out, 0.0, 1.0)
    return out.astype(pixels.dtype).reshape(size + pixels.shape[2:])


def fit_arrays(
    x: Mapping[str, NDArray[Any]], image_size: int | None, notices: list[str]
) -> dict[str, NDArray[Any]]:
    """Applies the rule to batches `(n, C, H, W)` that share one image size."""
    check_image_size(image_size)
    height, width = x["train"].shape[2:]
    size, notice = common_size([(height, width)], image_size)
    if notice is None:
        return dict(x)
    notices.append(notice)
    fitted = {}
    for part, batch in x.items():
        check_memory(len(batch) * batch.shape[1] * size[0] * size[1] * batch.itemsize, part)
        out = np.empty((*batch.shape[:2], *size), dtype=batch.dtype)
        for i, image in enumerate(batch):
            out[i] = fit(image.transpose(1, 2, 0), size).transpose(2, 0, 1)
        fitted[part] = out
    return fitted


def memory_limit() -> int:
    """Bytes that one dataset may take: half of the machine's memory."""
    import os

    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not every system says
        total = 16 * 2**30
    return total // 2


def check_memory(n_bytes: int, what: str) -> None:
    """Raises `DataError` when data of this size would not fit beside a training."""
    limit = memory_limit()
    if n_bytes > limit:
        raise DataError(
            f"{what} would take {n_bytes / 2**30:,.1f} GiB of memory; the limit is "
            f"{limit / 2**30:,.1f} GiB, half of this machine's. "
            "Choose a smaller image size or give fewer samples."
        )


def _scaled(
    plane: NDArray[Any], size: tuple[int, int], box: tuple[float, float, float, float]
) -> NDArray[Any]:
    image = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box))


def _words(size: Any) -> str:
    return f"{int(size[1])} x {int(size[0])}"
