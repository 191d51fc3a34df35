"""Opens an image at full size with nothing lost, and writes it back in its own format.

The loader of datasets makes small gray or RGB arrays. Augmenting a folder must give back what it
was given: depth, transparency, colour profile and format. Files are trusted in nothing.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from policysearch.data.image_file import FORMATS, MAX_PIXELS, depth_changes
from policysearch.errors import DataError

_ORIENTATION = 0x0112
_JPEG_QUALITY = 95
_WITH_ALPHA = ("LA", "La", "RGBA", "RGBa", "PA")


@dataclass(frozen=True)
class Opened:
    """A decoded image.

    Attributes:
      colour: `(H, W)` uint8 or uint16, or `(H, W, 3)` uint8.
      alpha: `(H, W)` uint8, for images with transparency.
      format: Pillow's name of the format it came in and is written in.
      options: What its format needs to be written as it was.
      changes: Keys of `policysearch.data.image_file.CHANGES`.
    """

    colour: NDArray[Any]
    alpha: NDArray[np.uint8] | None
    format: str
    options: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[str, ...] = ()


def open_image(path: Path) -> Opened:
    """Decodes an image file.

    Raises:
      DataError: With the reason, and without the file's name, which the caller knows.
    """
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn about what is refused or mended here
            header = file.read(256)
            is_lossless = _is_lossless_webp(file)
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                return _decode(image, header, is_lossless)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(_too_large()) from error
    except UnidentifiedImageError as error:
        raise DataError("not a JPEG, PNG, PPM, WebP or BMP image") from error
    except PermissionError as error:
        raise DataError("no permission to read it") from error
    except Exception as error:  # hostile files raise almost anything inside the decoders
        raise DataError(f"damaged: {error or type(error).__name__}") from error


def _too_large() -> str:
    return f"more than {MAX_PIXELS // 10**6} million pixels"


def _decode(image: Image.Image, header: bytes, is_lossless: bool) -> Opened:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(_too_large())
    changes = depth_changes(image, header)
    options = _options(image, is_lossless)
    form = "JPEG" if image.format == "MPO" else str(image.format)
    image.load()
    if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
        image = ImageOps.exif_transpose(image)
        changes.append("turned")
    if image.mode == "CMYK":
        changes.append("cmyk")
    elif profile := image.info.get("icc_profile"):
        options["icc_profile"] = profile
    colour, alpha = _planes(image)
    return Opened(colour, alpha, form, options, tuple(changes))


def _options(image: Image.Image, is_lossless: bool) -> dict[str, Any]:
    if image.format in ("JPEG", "MPO"):
        sampling = JpegImagePlugin.get_sampling(image) if image.mode == "RGB" else -1
        kept = {"subsampling": sampling} if sampling >= 0 else {}
        return {"quality": _JPEG_QUALITY, **kept}
    if image.format == "WEBP":
        return {"lossless": True, "exact": True} if is_lossless else {"quality": _JPEG_QUALITY}
    return {}


def _planes(image: Image.Image) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    mode = image.mode
    if mode.startswith("I"):
        deep = np.asarray(image)
        if deep.min() < 0 or deep.max() > 65535:
            raise DataError("gray values outside 0..65535")
        return deep.astype(np.uint16), None
    if mode == "F":
        raise DataError("floating-point pixels; save it as 8 or 16 bit")
    if mode in _WITH_ALPHA or "transparency" in image.info:
        is_gray = mode in ("LA", "La", "L", "1")
        layers = np.asarray(image.convert("RGBA"))
        colour = layers[..., 0] if is_gray else layers[..., :3]
        return np.ascontiguousarray(colour), np.ascontiguousarray(layers[..., 3])
    if mode in ("1", "L"):
        return np.array(image.convert("L")), None
    return np.array(image.convert("RGB")), None


def _is_lossless_webp(file: BinaryIO) -> bool:
    """Whether a WebP file holds a lossless picture: its chunks say so."""
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WEBP":
        return False
    for _ in range(20):
        chunk = file.read(8)
        if len(chunk) < 8 or chunk[:4] == b"VP8 ":
            return False
        if chunk[:4] == b"VP8L":
            return True
        size = int.from_bytes(chunk[4:], "little")
        file.seek(size + size % 2, io.SEEK_CUR)
    return False


def encode(opened: Opened, colour: NDArray[Any], alpha: NDArray[np.uint8] | None) -> bytes:
    """New pixels as a file in the format of the image they came from.

    Raises:
      DataError: When the format cannot hold them.
    """
    image = Image.fromarray(colour)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    buffer = io.BytesIO()
    try:
        image.save(buffer, format=opened.format, **opened.options)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot be written as {opened.format}: {error}") from error
    return buffer.getvalue()
