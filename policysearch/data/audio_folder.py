"""Loads a folder of sound files by class: one sample rate, one number of channels, one length."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.audio_file import (
    SOUND,
    Header,
    read_header,
    read_middle,
    resampled,
    sound_library,
)
from policysearch.data.class_folder import ClassFolder, find_classes
from policysearch.data.dataset import Source, printable
from policysearch.data.resize import check_memory
from policysearch.errors import DataError

#: Faster sampling is not kept: proxy trainings want small data, and speech ends at 8 kHz.
KEPT_RATE = 16_000
#: Longer clips are cut to their middle.
KEPT_SECONDS = 5.0
#: So is one that is longer than this many times what 95 of 100 clips have at most: all others
#: would be padded to it.
_LONGEST = 2.0


@dataclass(frozen=True, slots=True)
class _Form:
    """What all clips are brought to: rate in Hz, channels, and samples at most."""

    rate: int
    n_channels: int
    max_samples: int


def is_sound_folder(root: Path) -> bool:
    """Whether the first file below a folder that could hold a sample is a sound file."""
    from policysearch.data.image_file import IMAGES

    for _, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            suffix = os.path.splitext(name)[1].lower()
            if suffix in SOUND.suffixes:
                return True
            if suffix in IMAGES.suffixes:
                return False
    return False


def load_audio_folder(
    root: Path, *, skip_bad: bool = False, group_pattern: str | None = None
) -> Source:
    """Loads WAV, FLAC and OGG files by class.

    All get one rate: that of most files, at most 16 kHz. Channels stay where all files have
    equally many, up to two; others become one. A clip longer than 5 s, or twice as long as 95 of
    100 clips, is cut to its middle; those shorter than the longest are padded with silence, which
    `lengths` tells from sound.

    Args:
      root: Folder of class folders, or of `train`, `val`, `test` folders of class folders.
      skip_bad: Leaves damaged files out and lists them in the notices, instead of refusing.
      group_pattern: Regular expression whose one group, found in the path below the class folder,
        names what must not straddle a split, such as a speaker.

    Raises:
      DataError: With the files or folders at fault and what to do.
      InvalidValueError: When an option is not valid.
      MissingDependencyError: Without the package soundfile.
    """
    sound_library()
    notices: list[str] = []
    found = find_classes(root, SOUND, group_pattern, notices)
    headers = list(_headers(found))
    form = _common_form([h for h in headers if isinstance(h, Header)])
    clips = list(_clips(found, headers, form))
    found, whole = found.readable(clips, skip_bad, notices)
    good = [h for h, clip in zip(headers, clips, strict=True) if not isinstance(clip, str)]
    del clips
    notices += _changes([h for h in good if isinstance(h, Header)], form)
    x, lengths = _stacked(whole, form, f"'{printable(root)}'")
    parts = found.parts(x, lengths=lengths, sample_rate=form.rate, modality="audio")
    return Source(notices=tuple(notices), name=found.name, **parts)


def _headers(found: ClassFolder) -> Iterator[Header | str]:
    for item in found.items:
        try:
            yield read_header(item.path)
        except DataError as error:
            yield str(error)


def _common_form(headers: Sequence[Header]) -> _Form:
    if not headers:
        return _Form(KEPT_RATE, 1, 1)
    rates = Counter(h.rate for h in headers)
    rate = min(KEPT_RATE, max(rates, key=lambda r: (rates[r], -r)))
    channels = {h.n_channels for h in headers}
    n_channels = min(channels) if len(channels) == 1 and min(channels) <= 2 else 1
    seconds = np.array([h.n_frames / h.rate for h in headers])
    limit = min(KEPT_SECONDS, seconds.max(), _LONGEST * np.percentile(seconds, 95))
    form = _Form(rate, n_channels, math.ceil(limit * rate))
    check_memory(len(headers) * n_channels * form.max_samples * 4, "This folder of clips")
    return form


def _clips(
    found: ClassFolder, headers: Sequence[Header | str], form: _Form
) -> Iterator[NDArray[np.float32] | str]:
    for item, header in zip(found.items, headers, strict=True):
        if isinstance(header, str):
            yield header
            continue
        try:
            samples = read_middle(item.path, header, form.max_samples / form.rate)
        except DataError as error:
            yield str(error)
            continue
        if header.n_channels != form.n_channels:
            samples = samples.mean(axis=0, keepdims=True)
        yield resampled(samples, header.rate, form.rate)[:, : form.max_samples]


def _stacked(
    clips: list[NDArray[np.float32]], form: _Form, what: str
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Clips padded to the longest, `(n, C, T)`, and their lengths; the list is emptied."""
    lengths = np.array([clip.shape[1] for clip in clips], dtype=np.int64)
    n_bytes = len(clips) * form.n_channels * int(lengths.max()) * 4
    check_memory(n_bytes, what)
    x = np.zeros((len(clips), form.n_channels, int(lengths.max())), dtype=np.float32)
    for i in range(len(clips) - 1, -1, -1):
        clip = clips.pop()
        x[i, :, : clip.shape[1]] = clip
    return x, lengths


def _changes(headers: Sequence[Header], form: _Form) -> Iterator[str]:
    n = len(headers)
    other = sorted({h.rate for h in headers} - {form.rate})
    if other:
        n_other = sum(h.rate != form.rate for h in headers)
        rates = ", ".join(f"{rate:,}" for rate in other[:5]) + (", ..." if other[5:] else "")
        yield f"{n_other:,} of {n:,} clips were resampled to {form.rate:,} Hz from {rates} Hz."
    n_mixed = sum(h.n_channels != form.n_channels for h in headers)
    if n_mixed:
        yield f"{n_mixed:,} of {n:,} clips have several channels, whose mean was taken."
    limit = form.max_samples / form.rate
    n_long = sum(h.n_frames / h.rate > limit + 1 / form.rate for h in headers)
    if n_long:
        yield f"{n_long:,} of {n:,} clips are longer than {limit:.2g} s: their middle is used."
