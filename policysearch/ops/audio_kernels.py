"""The way into the audio kernels: the stages of a policy on a batch of clips, in torch.

Kernels see floating `(k, C, T)` batches of clips that get the same operation, each with its own
magnitude, length and draws. Silence lies behind a clip, before a kernel and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.errors import InvalidValueError
from policysearch.ops import audio_amplitude, audio_filter, audio_noise, audio_time
from policysearch.ops.audio_clips import AudioSettings, Clips, silent_past, to_device
from policysearch.ops.stages import StageGroup

#: Gets the clips of a group, the group, and the settings with a bank of recordings.
Kernel = Callable[[Clips, StageGroup, AudioSettings], Clips]

KERNELS: dict[str, Kernel] = {
    "gain": lambda clips, group, _: audio_amplitude.gain(clips, group.magnitude),
    "polarity": lambda clips, *_: audio_amplitude.polarity(clips),
    "tanh_distortion": lambda clips, group, _: audio_amplitude.tanh_distortion(
        clips, group.magnitude
    ),
    "bitcrush": lambda clips, group, _: audio_amplitude.bitcrush(clips, group.magnitude),
    "shift": lambda clips, group, _: audio_time.shift(clips, group.magnitude),
    "time_mask": lambda clips, group, _: audio_time.time_mask(clips, group.magnitude, group.draws),
    "speed": lambda clips, group, _: audio_time.speed(clips, group.magnitude),
    "tempo": lambda clips, group, audio: audio_time.tempo(clips, group.magnitude, audio),
    "pitch": lambda clips, group, audio: audio_time.pitch(clips, group.magnitude, audio),
    "freq_mask": lambda clips, group, audio: audio_filter.freq_mask(
        clips, group.magnitude, group.draws, audio
    ),
    "low_pass": lambda clips, group, audio: audio_filter.low_pass(clips, group.magnitude, audio),
    "high_pass": lambda clips, group, audio: audio_filter.high_pass(clips, group.magnitude, audio),
    "reverb": lambda clips, group, audio: audio_filter.reverb(
        clips, group.magnitude, group.draws, audio
    ),
    "noise_snr": lambda clips, group, _: audio_noise.noise_snr(
        clips, group.magnitude, group.draws
    ),
    "color_noise_snr": lambda clips, group, audio: audio_noise.color_noise_snr(
        clips, group.magnitude, group.draws, audio
    ),
}


def apply_stages(
    x: Tensor, lengths: NDArray[np.int64], groups: Iterable[StageGroup], settings: AudioSettings
) -> tuple[Tensor, NDArray[np.int64]]:
    """Applies to every clip its own operations, as `audio-1` defines them.

    Args:
      x: Shape `(n, C, T)`, floating, on any device; full scale is -1 to 1, but nothing is clipped.
        Half precision is computed in float32. Not modified.
      lengths: Shape `(n,)`, 0 to `T`: samples of each clip; what lies behind is read as silence.
      groups: The work, see `policysearch.ops.stages.stage_groups`.
      settings: Sample rate, and recordings to mix in.

    Returns:
      `(y, lengths)`: a tensor of the same shape, dtype and device, `x` itself where nothing is to
      be done; and the samples of each clip now, which speed, tempo and shift change within `T`.
      Without a noise bank `background_mix` depends on the other clips, everything else on the
      clip alone.
    """
    if x.ndim != 3 or not x.dtype.is_floating_point:
        raise InvalidValueError(
            f"`x` must be floating of shape (n, C, T), got {x.dtype} of {tuple(x.shape)}."
        )
    clips: Clips | None = None
    heard: Clips | None = None
    for group in groups:
        if clips is None:
            wide = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
            clips = heard = Clips(silent_past(wide, lengths), lengths)
        part = clips if len(group.rows) == len(clips) else clips.take(group.rows)
        if group.op == "background_mix":
            changed = _mixed(part, group, settings, heard)
        else:
            changed = KERNELS[group.op](part, group, settings)
        clips = _put(clips, group.rows, changed)
    if clips is None:
        return silent_past(x, lengths), lengths
    return clips.x.to(x.dtype), clips.lengths


def _mixed(clips: Clips, group: StageGroup, settings: AudioSettings, heard: Clips | None) -> Clips:
    """Adds recordings: those of the bank, else the other clips as they came in."""
    bank, own = settings.background, np.full(len(clips), -1)
    if bank is None:
        bank, own = heard or clips, group.rows
    return audio_noise.background_mix(clips, group.magnitude, group.draws, bank, own)


def _put(clips: Clips, rows: NDArray[np.intp], changed: Clips) -> Clips:
    if len(rows) == len(clips):
        return changed
    lengths = clips.lengths.copy()
    lengths[rows] = changed.lengths
    return Clips(clips.x.index_copy(0, to_device(rows, clips.x), changed.x), lengths)
