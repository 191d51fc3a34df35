"""Augmenting sound files: at their own rate, in their own format and depth."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from policysearch.data.audio_file import (
    SOUND,
    read_format,
    read_header,
    read_middle,
    sound_library,
)
from policysearch.draws import Drawn
from policysearch.errors import DataError
from policysearch.ops.audio_clips import AudioSettings
from policysearch.policy import Policy
from policysearch.transform import apply_drawn

MAX_SECONDS = 600.0


@dataclass(frozen=True)
class OpenedSound:
    """A decoded sound file.

    Attributes:
      samples: `(C, n)`, full scale from -1 to 1.
      rate: Samples per second.
      format: Container and encoding that it came in and is written in.
      changes: Nothing is changed.
    """

    samples: NDArray[np.float32]
    rate: int
    format: tuple[str, str]
    changes: tuple[str, ...] = ()


class SoundStore:
    """WAV, FLAC and OGG files (see `Store`).

    A clip keeps its length: what becomes longer is cut at its end. Whole numbers clip at full
    scale, as a recorder does.
    """

    kind = SOUND
    changes: Mapping[str, str] = {}

    def __init__(self) -> None:
        self._library: Any = sound_library()

    def open(self, path: Path) -> OpenedSound:
        """See `Store`."""
        header = read_header(path)
        if header.n_frames > MAX_SECONDS * header.rate:
            raise DataError(f"longer than {MAX_SECONDS:g} s; cut it into clips")
        samples = read_middle(path, header, MAX_SECONDS)
        return OpenedSound(samples, header.rate, read_format(path))

    def augmented(self, opened: OpenedSound, drawn: Drawn, policy: Policy) -> bytes:
        """See `Store`."""
        clip = torch.from_numpy(opened.samples)[None]
        out = apply_drawn(clip, drawn, policy, settings=AudioSettings(opened.rate))[0].numpy()
        container, encoding = opened.format
        buffer = io.BytesIO()
        self._library.write(buffer, out.T, opened.rate, format=container, subtype=encoding)
        return buffer.getvalue()
