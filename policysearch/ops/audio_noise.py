"""Audio operations that add something to a clip: white and coloured noise, and recordings."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops.audio_clips import AudioSettings, Clips, fast_length, per_clip, to_device
from policysearch.ops.noise import normals

_Floats = NDArray[np.float64]

_TABLE_LENGTH = 1 << 20
MAX_SLOPE_DB = 6.0  # of coloured noise, per octave
_FLOOR_HZ = 20.0  # below, coloured noise is white: nobody hears it and 1 / f has no end


def noise_snr(clips: Clips, magnitude: _Floats, draws: _Floats) -> Clips:
    """Adds white noise at a ratio of signal to noise of m dB, exactly; draw 0 is its seed."""
    noise = white_noise(draws[:, 0], clips.x.shape[1], clips.room, clips.x)
    return _added(clips, noise, magnitude)


def color_noise_snr(
    clips: Clips, magnitude: _Floats, draws: _Floats, settings: AudioSettings
) -> Clips:
    """Adds noise whose power changes by -6 to 6 dB an octave (draw 1), at m dB below the clip.

    Between brown and violet noise; draw 0 is the seed.
    """
    n_channels = clips.x.shape[1]
    size = fast_length(clips.room)
    n_bins = size // 2 + 1
    parts = white_noise(draws[:, 0], 2 * n_channels, n_bins, clips.x)
    spectrum = torch.complex(parts[:, :n_channels], parts[:, n_channels:])
    bins = torch.arange(n_bins, device=clips.x.device, dtype=clips.x.dtype)
    octaves = (bins * (settings.sample_rate / size / _FLOOR_HZ)).clamp_min(1.0).log2()
    slope = per_clip((2 * draws[:, 1] - 1) * MAX_SLOPE_DB, clips.x)
    amplitude = torch.exp(octaves * (slope * (np.log(10.0) / 20)))
    amplitude[..., 0] = 0.0  # no constant
    noise = torch.fft.irfft(spectrum * amplitude, n=size)[..., : clips.room]
    return _added(clips, noise, magnitude)


def background_mix(
    clips: Clips, magnitude: _Floats, draws: _Floats, bank: Clips, own: NDArray[np.int64]
) -> Clips:
    """Adds a recording of the bank, drawn by draw 0, from a place drawn by draw 1, m dB below.

    A recording shorter than the clip is repeated. One channel is added to all channels; several
    to as many, else their mean.

    Args:
      clips: What is added to.
      magnitude: Shape `(n,)`, dB.
      draws: Shape `(n, 2)`.
      bank: Recordings; silent and empty ones add nothing.
      own: Shape `(n,)`: the clip's own place in the bank, which is not drawn; -1: none. A bank
        of nothing but the clip itself leaves it as it is.
    """
    has_own = own >= 0
    n_others = len(bank) - has_own
    chosen = np.floor(draws[:, 0] * np.maximum(n_others, 1)).astype(np.int64)
    chosen = np.where(has_own, (own + 1 + chosen) % len(bank), chosen)
    lengths = np.maximum(bank.lengths[chosen], 1)
    first = np.floor(draws[:, 1] * lengths).astype(np.int64)
    place = torch.arange(clips.room, device=clips.x.device) + to_device(first, clips.x)[:, None]
    place %= to_device(lengths, clips.x)[:, None]
    sound = bank.x.to(clips.x.device, clips.x.dtype)[to_device(chosen, clips.x)]
    if sound.shape[1] not in (1, clips.x.shape[1]):
        sound = sound.mean(dim=1, keepdim=True)
    sound = sound.gather(2, place[:, None].expand(-1, sound.shape[1], -1))
    added = _added(clips, sound, magnitude)
    if (n_others > 0).all():
        return added
    is_alone = to_device(n_others == 0, clips.x)[:, None, None]
    return Clips(torch.where(is_alone, clips.x, added.x), clips.lengths)


def _added(clips: Clips, noise: Tensor, snr_db: _Floats) -> Clips:
    """Adds noise, scaled to its ratio within the clip's length; silence gets none."""
    inside = clips.with_samples(noise.expand_as(clips.x))
    wanted = clips.power() * per_clip(10 ** (-snr_db / 10), clips.x)
    power = inside.power()
    factor = (wanted / power.clamp_min(torch.finfo(power.dtype).tiny)).sqrt()
    factor = torch.where(power > 0, factor, 0.0)
    return Clips(torch.addcmul(clips.x, inside.x, factor), clips.lengths)


def white_noise(seeds: _Floats, n_rows: int, count: int, like: Tensor) -> Tensor:
    """Standard normal numbers as a function of a seed: shape `(n, n_rows, count)`.

    They are read from one table of 2^20 numbers (131 s at 8 kHz), each row from a place of its
    own in the first half, which costs a tenth of drawing them.

    Args:
      seeds: Shape `(n,)`, uniform in [0, 1).
      n_rows: Rows for each seed.
      count: Numbers in a row. Fewer of them are the first ones of more, up to 2^19.
      like: Gives device and dtype.
    """
    length = max(_TABLE_LENGTH, 1 << (2 * count - 1).bit_length())
    table = _table(length, like.device, like.dtype)
    n_places = length // 2
    steps = np.arange(n_rows) * 0.6180339887498949  # rows of one clip lie far apart
    first = np.floor((seeds[:, None] + steps) % 1.0 * n_places).astype(np.int64)
    return table.unfold(0, count, 1)[to_device(first.ravel(), like)].view(
        len(seeds), n_rows, count
    )


@functools.lru_cache(maxsize=4)
def _table(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    seed = torch.zeros(1, dtype=torch.int64, device=device)
    return normals(seed, length)[0].to(dtype)
