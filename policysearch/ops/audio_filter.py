"""Audio operations in the frequency domain: pass bands, masked bands, and rooms.

Filters turn no phase and work on the whole clip at once, padded by silence. What would sound on
past the end of a clip is cut.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops.audio_clips import AudioSettings, Clips, fast_length, per_clip
from policysearch.ops.audio_noise import white_noise

_Floats = NDArray[np.float64]

_PAD_SECONDS = 0.125  # longer than what the filters ring
_DECAY = 3 * np.log(10.0)  # nepers of 60 dB
#: Direct sound and echoes are equally loud at this reverberation time (s).
BALANCED_SECONDS = 0.5


def low_pass(clips: Clips, magnitude: _Floats, settings: AudioSettings) -> Clips:
    """Butterworth's response of order 4: -3 dB at m Hz, 24 dB less with every octave above."""
    size, hertz = _grid(clips, settings)
    return _filtered(clips, size, _butterworth(hertz / _column(magnitude, clips.x)))


def high_pass(clips: Clips, magnitude: _Floats, settings: AudioSettings) -> Clips:
    """Butterworth's response of order 4: -3 dB at m Hz, 24 dB less with every octave below."""
    size, hertz = _grid(clips, settings)
    return _filtered(clips, size, _butterworth(_column(magnitude, clips.x) / hertz))


def freq_mask(clips: Clips, magnitude: _Floats, draws: _Floats, settings: AudioSettings) -> Clips:
    """Removes a band of m of the mel scale up to the Nyquist frequency; draw 0 places it.

    The waveform's counterpart of masking mel channels.

    References:
      Park et al., SpecAugment, 2019 (arXiv:1904.08779), section 2.
    """
    size, hertz = _grid(clips, settings)
    top = mel(settings.sample_rate / 2)
    first = draws[:, 0] * (1 - magnitude) * top
    low, high = (_column(hertz_of(edge), clips.x) for edge in (first, first + magnitude * top))
    return _filtered(clips, size, ((hertz < low) | (hertz > high)).to(clips.x.dtype))


def reverb(clips: Clips, magnitude: _Floats, draws: _Floats, settings: AudioSettings) -> Clips:
    """Convolves with the direct sound and echoes that fall by 60 dB in m seconds.

    Echoes are white noise (seed: draw 0) with an exponential decay. Their energy grows with m as
    it does in a room of given size and distance: at 0.5 s it equals that of the direct sound.
    The loudness of the whole is kept.

    References:
      Polack, La transmission de l'énergie sonore dans les salles, 1988.
    """
    x = clips.x
    n_samples = np.ceil(magnitude * settings.sample_rate)
    n_echo = int(min(max(n_samples.max(initial=0), 1), clips.room))
    time = torch.arange(1, n_echo + 1, device=x.device)
    decay = torch.exp(-time * _column(_DECAY / (magnitude * settings.sample_rate), x))
    is_past = time > _column(n_samples, x)
    echo = white_noise(draws[:, 0], 1, n_echo, x)[:, 0] * decay.masked_fill_(is_past, 0.0)
    energy = _column(magnitude / BALANCED_SECONDS, x)
    scale = (energy / echo.square().sum(dim=1, keepdim=True).clamp_min(1e-12)).sqrt()
    response = torch.cat((torch.ones_like(energy), echo * scale), dim=1) / (1 + energy).sqrt()
    size = fast_length(clips.room + n_echo)
    return _filtered(clips, size, torch.fft.rfft(response, n=size))


def mel(hertz: float) -> float:
    """Place on the mel scale (O'Shaughnessy's formula, as HTK has it)."""
    return float(2595 * np.log10(1 + hertz / 700))


def hertz_of(mels: _Floats) -> _Floats:
    """Inverse of `mel`."""
    return np.asarray(700 * (10 ** (mels / 2595) - 1))


def _grid(clips: Clips, settings: AudioSettings) -> tuple[int, Tensor]:
    """Length of the transform and the frequency of each of its bins, in Hz."""
    size = fast_length(clips.room + int(_PAD_SECONDS * settings.sample_rate))
    bins = torch.arange(size // 2 + 1, device=clips.x.device, dtype=clips.x.dtype)
    return size, bins * (settings.sample_rate / size)


def _column(values: _Floats, like: Tensor) -> Tensor:
    return per_clip(values, like)[:, 0]


def _butterworth(ratio: Tensor) -> Tensor:
    square = ratio * ratio
    fourth = square * square
    return torch.rsqrt(1 + fourth * fourth)


def _filtered(clips: Clips, size: int, response: Tensor) -> Clips:
    """Multiplies each spectrum by its response `(n, size // 2 + 1)`."""
    spectrum = torch.fft.rfft(clips.x, n=size) * response[:, None]
    return clips.with_samples(torch.fft.irfft(spectrum, n=size)[..., : clips.room])
