"""Decodes one sound file, trusting neither its name nor its content.

A header is read first and by itself: it decides which part is decoded, so that an hour of sound
costs no more memory than the seconds that are kept of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.walk import FileKind
from policysearch.errors import DataError, MissingDependencyError

SOUND = FileKind(
    frozenset((".wav", ".flac", ".ogg", ".oga", ".opus")), ("WAV", "FLAC", "OGG"), "clip", "clips"
)
_FORMATS = frozenset(("WAV", "WAVEX", "RF64", "FLAC", "OGG"))
MIN_RATE, MAX_RATE = 1_000, 384_000
MAX_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    Attributes:
      rate: Samples per second.
      n_frames: Samples of each channel.
      n_channels: Channels.
    """

    rate: int
    n_frames: int
    n_channels: int


def sound_library() -> Any:
    """The module `soundfile`.

    Raises:
      MissingDependencyError: When it is not installed.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: its C library is not there
        raise MissingDependencyError(
            "Sound files need a package more: pip install 'policysearch[audio]'"
        ) from error
    return soundfile


def read_header(path: Path | str) -> Header:
    """Reads what a WAV, FLAC or OGG file says of itself.

    Raises:
      DataError: With the reason, and without the file's name, which the caller knows.
    """
    with _opened(path) as file:
        header = Header(int(file.samplerate), int(file.frames), int(file.channels))
        kind = file.format
    if kind not in _FORMATS:
        raise DataError(f"{kind}, not {SOUND.listing('or')}")
    if header.n_frames <= 0:
        raise DataError("no samples in it")
    if not MIN_RATE <= header.rate <= MAX_RATE:
        raise DataError(f"a sample rate of {header.rate:,} Hz, not {MIN_RATE:,} to {MAX_RATE:,}")
    if not 1 <= header.n_channels <= MAX_CHANNELS:
        raise DataError(f"{header.n_channels} channels, more than {MAX_CHANNELS}")
    return header


def read_format(path: Path | str) -> tuple[str, str]:
    """Container and encoding of a file, such as `("WAV", "PCM_16")`."""
    with _opened(path) as file:
        return str(file.format), str(file.subtype)


def read_middle(path: Path | str, header: Header, max_seconds: float) -> NDArray[np.float32]:
    """Decodes a file, or its middle where it is longer.

    Returns:
      Shape `(n_channels, n)`, full scale from -1 to 1; finite.

    Raises:
      DataError: With the reason, and without the file's name.
    """
    n_kept = min(header.n_frames, math.ceil(max_seconds * header.rate))
    with _opened(path) as file:
        if n_kept < header.n_frames:
            file.seek((header.n_frames - n_kept) // 2)
        samples = file.read(n_kept, dtype="float32", always_2d=True)
    if len(samples) < n_kept:
        raise DataError(f"damaged: it ends after {len(samples):,} of {n_kept:,} samples")
    if not np.isfinite(samples).all():
        raise DataError("samples that are NaN or infinite")
    return np.ascontiguousarray(samples.T)


def resampled(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """Brings samples `(C, n)` to another rate, by a polyphase filter that lets nothing fold back.

    The result has `n wanted / rate` samples, rounded up.
    """
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return np.asarray(
        resample_poly(samples, wanted // common, rate // common, axis=1), dtype=np.float32
    )


class _opened:  # noqa: N801 -- a context, used like a function
    """Opens a sound file; whatever its decoder raises becomes a `DataError`."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._library = sound_library()

    def __enter__(self) -> Any:
        try:
            self._file = self._library.SoundFile(self._path)
        except PermissionError as error:
            raise DataError("no permission to read it") from error
        except Exception as error:  # hostile files raise almost anything inside the decoders
            raise DataError(f"not a {SOUND.listing('or')} file, or damaged") from error
        return self._file

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        self._file.close()
        if kind is not None and issubclass(kind, Exception) and not issubclass(kind, DataError):
            raise DataError(f"damaged: {error or kind.__name__}") from error
