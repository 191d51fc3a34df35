"""Audio operations on single samples: loudness, sign, saturation, resolution."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from policysearch.ops.audio_clips import Clips, per_clip

_Floats = NDArray[np.float64]

_LEAST = 1e-30  # a divisor for silence, far from overflow


def gain(clips: Clips, magnitude: _Floats) -> Clips:
    """Multiplies by 10^(m / 20), m in dB. Nothing is clipped."""
    return Clips(clips.x * per_clip(10.0 ** (magnitude / 20), clips.x), clips.lengths)


def polarity(clips: Clips) -> Clips:
    """Turns the sign of every sample."""
    return Clips(-clips.x, clips.lengths)


def tanh_distortion(clips: Clips, magnitude: _Floats) -> Clips:
    """Saturates: tanh(k x), k = d / peak with a drive of d = 4 m / (1 - m), at the same loudness.

    A drive of 1 takes 24 % off the peak; at m = 0.7 it is 9 and little but the signs is left.
    The waveform's scale does not matter, and silence stays silent.
    """
    x = clips.x
    peak = x.abs().amax(dim=(1, 2), keepdim=True)
    drive = per_clip(4 * magnitude / (1 - magnitude), x)
    bent = torch.tanh(x * (drive / peak.clamp_min(_LEAST)))
    bent_loudness = Clips(bent, clips.lengths).power().sqrt()
    factor = clips.power().sqrt() / bent_loudness.clamp_min(_LEAST)
    return Clips(bent * factor, clips.lengths)


def bitcrush(clips: Clips, magnitude: _Floats) -> Clips:
    """Rounds to steps of 2^(1 - m): m bits between -1 and 1. Nothing is clipped."""
    step = per_clip(2.0 ** (1 - magnitude), clips.x)
    return Clips((clips.x / step).round_().mul_(step), clips.lengths)
