"""Recordings to mix into clips: a folder of sounds without classes, such as noises of a place."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policysearch.data.audio_file import (
    SOUND,
    read_header,
    read_middle,
    resampled,
    sound_library,
)
from policysearch.data.audio_folder import KEPT_SECONDS
from policysearch.data.dataset import printable
from policysearch.data.resize import check_memory
from policysearch.errors import DataError

MAX_RECORDINGS = 10_000
_MAX_LISTED = 5


def load_noise_folder(
    root: Path, rate: int, n_channels: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Reads all WAV, FLAC and OGG files below a folder, at most the middle 5 s of each.

    Args:
      root: The folder.
      rate: Samples per second to bring them to.
      n_channels: Channels of the clips; the mean of a recording's channels goes into each.

    Returns:
      Recordings `(m, n_channels, T)`, silent past their lengths, and the lengths `(m,)`.

    Raises:
      DataError: When there is no such folder, it holds no recording, or files are damaged.
      MissingDependencyError: Without the package soundfile.
    """
    sound_library()
    shown = printable(root)
    if not root.is_dir():
        raise DataError(f"`background` must be a folder of recordings, '{shown}' is none.")
    paths = [
        Path(folder) / name
        for folder, _, names in os.walk(root)
        for name in names
        if Path(name).suffix.lower() in SOUND.suffixes and not name.startswith(".")
    ]
    if not 0 < len(paths) <= MAX_RECORDINGS:
        raise DataError(
            f"`background` must hold 1 to {MAX_RECORDINGS:,} {SOUND.listing('or')} files, "
            f"'{shown}' holds {len(paths):,}."
        )
    check_memory(len(paths) * n_channels * int(KEPT_SECONDS * rate) * 4, f"'{shown}'")
    sounds, bad = [], []
    for path in sorted(paths):
        try:
            header = read_header(path)
            samples = read_middle(path, header, KEPT_SECONDS).mean(axis=0, keepdims=True)
            sounds.append(resampled(samples, header.rate, rate))
        except DataError as error:
            bad.append(f"  {printable(path.relative_to(root))}: {error}")
    if bad:
        more = f"\n  ... {len(bad) - _MAX_LISTED:,} more" if len(bad) > _MAX_LISTED else ""
        listing = "\n".join(bad[:_MAX_LISTED])
        raise DataError(f"Recordings in '{shown}' cannot be read:\n{listing}{more}")
    lengths = np.array([sound.shape[1] for sound in sounds], dtype=np.int64)
    x = np.zeros((len(sounds), n_channels, int(lengths.max())), dtype=np.float32)
    for i, sound in enumerate(sounds):
        x[i, :, : lengths[i]] = sound
    return x, lengths
