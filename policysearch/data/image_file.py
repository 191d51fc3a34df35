"""Decodes one image, trusting neither its name nor its content.

Every mode ends as gray `(H, W)` or RGB `(H, W, 3)`, uint8, or uint16 for 16-bit gray. What was
changed on the way is recorded, so that the loader can say it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from policysearch.data.resize import KEPT_UP_TO, fit
from policysearch.data.walk import FileKind
from policysearch.errors import DataError

FORMATS = ("JPEG", "PNG", "PPM", "WEBP", "BMP")
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".ppm", ".pgm", ".pbm", ".pnm", ".webp", ".bmp")
)
IMAGES = FileKind(SUFFIXES, ("JPEG", "PNG", "PPM", "WebP", "BMP"), "image", "images")
MAX_PIXELS = 64_000_000
_ORIENTATION = 0x0112
_PPM_DEPTH = re.compile(rb"P[36]\s+(?:#[^\n]*\s+)*\d+\s+(?:#[^\n]*\s+)*\d+\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image.

    Attributes:
      pixels: `(H, W)` uint8 or uint16, or `(H, W, 3)` uint8; large images are already reduced.
      size: Height and width of the original, upright.
      changes: What decoding changed: keys of `CHANGES`.
    """

    pixels: NDArray[Any]
    size: tuple[int, int]
    changes: tuple[str, ...] = ()


CHANGES = {
    "alpha": "were transparent and were laid on black",
    "cmyk": "were CMYK and were read as RGB",
    "deep": "had 16-bit colour and were read at 8 bits",
    "frames": "hold several frames, of which the first was read",
    "turned": "were turned upright as their EXIF orientation says",
}


def read_picture(path: Path | str, image_size: int | None = None) -> Picture:
    """Reads an image file.

    Args:
      path: A JPEG, PNG, PPM/PGM/PBM, WebP or BMP file.
      image_size: Side in pixels to resize to; `None` keeps images up to 64 px and reduces larger
        ones to at most 64 px, since no loader keeps more.

    Raises:
      DataError: With the reason, and without the file's name, which the caller knows.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(256)
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                return _decode(image, header, image_size)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"more than {MAX_PIXELS // 10**6} million pixels") from error
    except UnidentifiedImageError as error:
        raise DataError("not a JPEG, PNG, PPM, WebP or BMP image") from error
    except PermissionError as error:
        raise DataError("no permission to read it") from error
    except Exception as error:  # hostile files raise almost anything inside the decoders
        raise DataError(f"damaged: {error or type(error).__name__}") from error


def picture_of(image: Image.Image, image_size: int | None = None) -> Picture:
    """The same for an image that is open already, such as an item of a torch dataset."""
    return _decode(image, b"", image_size)


def _decode(image: Image.Image, header: bytes, image_size: int | None) -> Picture:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{width} x {height} pixels, more than {MAX_PIXELS // 10**6} million")
    changes = depth_changes(image, header)
    limit = image_size or KEPT_UP_TO
    if image.format == "JPEG":
        # Decodes at 1/2, 1/4 or 1/8 of the size when that is still twice what is needed.
        image.draft(None, (2 * limit, 2 * limit))
    image.load()
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation in range(2, 9):
        image = ImageOps.exif_transpose(image)
        changes.append("turned")
        if orientation >= 5:
            height, width = width, height
    pixels = _pixels(image, changes)
    if image_size is not None:
        pixels = fit(pixels, (image_size, image_size))
    elif max(height, width) > limit:
        side = min(limit, *pixels.shape[:2])
        pixels = fit(pixels, (side, side))
    return Picture(np.ascontiguousarray(pixels), (height, width), tuple(changes))


def depth_changes(image: Image.Image, header: bytes) -> list[str]:
    """What Pillow does without saying: it reads 16-bit colour at 8 bits, and one frame."""
    changes = []
    if header.startswith(b"\x89PNG") and header[24:26] in (b"\x10\x02", b"\x10\x04", b"\x10\x06"):
        changes.append("deep")
    match = _PPM_DEPTH.match(header)
    if match and int(match[1]) > 255:
        changes.append("deep")
    if getattr(image, "n_frames", 1) > 1:
        changes.append("frames")
    return changes


def _pixels(image: Image.Image, changes: list[str]) -> NDArray[Any]:
    mode = image.mode
    if mode.startswith("I"):
        deep = np.asarray(image)
        if deep.min() < 0 or deep.max() > 65535:
            raise DataError("gray values outside 0..65535")
        return deep.astype(np.uint16)
    if mode == "F":
        raise DataError("floating-point pixels; save it as 8 or 16 bit, or use an .npz file")
    if mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        return _on_black(image, changes)
    if mode == "P":
        return _gray_if_gray(np.asarray(image.convert("RGB")))
    if mode == "CMYK":
        changes.append("cmyk")
    if mode in ("1", "L"):
        return np.asarray(image if mode == "L" else image.convert("L"))
    return np.asarray(image if mode == "RGB" else image.convert("RGB"))


def _on_black(image: Image.Image, changes: list[str]) -> NDArray[Any]:
    """Composites on black: the colour that geometric operations fill with."""
    had_gray = image.mode in ("LA", "La", "L", "1")
    rgba = image.convert("RGBA")
    if np.asarray(rgba)[..., 3].min() < 255:
        changes.append("alpha")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        rgba = Image.alpha_composite(black, rgba)
    rgb = np.asarray(rgba.convert("RGB"))
    if had_gray:
        return np.ascontiguousarray(rgb[..., 0])
    return _gray_if_gray(rgb) if image.mode in ("P", "PA") else rgb


def _gray_if_gray(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A palette says nothing about colour: its entries do."""
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all():
        return np.ascontiguousarray(rgb[..., 0])
    return rgb
