"""Log-mel spectrograms of batches of clips, in torch: what the audio proxy sees."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from policysearch.ops.audio_filter import hertz_of, mel

_FRAME_SECONDS = 0.032
_LOWEST_HZ = 20.0
_FLOOR = 1e-6  # 60 dB below a wave of full scale


def frame_sizes(sample_rate: int) -> tuple[int, int]:
    """Samples of a frame, the power of two nearest to 32 ms, and from one to the next, half.

    Examples:
      >>> frame_sizes(8000), frame_sizes(16000)
      ((256, 128), (512, 256))
    """
    size = max(8, 1 << round(math.log2(_FRAME_SECONDS * sample_rate)))
    return size, size // 2


def n_frames(n_samples: int, sample_rate: int) -> int:
    """Frames of a clip: one at every hop, the first centred at its start."""
    return n_samples // frame_sizes(sample_rate)[1] + 1


def log_mel(x: Tensor, sample_rate: int, n_mels: int) -> Tensor:
    """Natural logarithm of the power in mel bands, averaged over channels.

    Args:
      x: Shape `(n, C, T)`, floating.
      sample_rate: Of the clips, in Hz.
      n_mels: Bands from 20 Hz to the Nyquist frequency.

    Returns:
      Shape `(n, n_mels, n_frames(T))`.
    """
    size, hop = frame_sizes(sample_rate)
    window = torch.hann_window(size, dtype=x.dtype, device=x.device)
    padded = torch.nn.functional.pad(x, (size // 2, size // 2))
    frames = padded.unfold(2, size, hop) * window
    power = torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1).mean(dim=1)
    bands = _filterbank(sample_rate, n_mels, size).to(x.device, x.dtype)
    energy = power @ bands / window.square().sum()
    return (energy + _FLOOR).log().transpose(1, 2)


@functools.lru_cache(maxsize=16)
def _filterbank(sample_rate: int, n_mels: int, size: int) -> Tensor:
    """Triangles on the mel scale, of height 1: shape `(size // 2 + 1, n_mels)`.

    A band narrower than the bins takes the nearest one, so that none is empty.

    References:
      Davis & Mermelstein, 1980; scale and triangles as HTK has them.
    """
    edges = hertz_of(np.linspace(mel(_LOWEST_HZ), mel(sample_rate / 2), n_mels + 2))
    hertz = np.arange(size // 2 + 1) * sample_rate / size
    low, middle, high = (edges[k : k + n_mels] for k in range(3))
    rising = (hertz[:, None] - low) / (middle - low)
    falling = (high - hertz[:, None]) / (high - middle)
    bands = np.clip(np.minimum(rising, falling), 0.0, None)
    nearest = np.abs(hertz[:, None] - middle).argmin(axis=0)
    is_empty = bands.max(axis=0) < 0.01
    bands[nearest[is_empty], is_empty.nonzero()[0]] = 1.0
    return torch.from_numpy(bands)
