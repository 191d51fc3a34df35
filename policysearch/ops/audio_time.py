"""Audio operations along time: moving, covering, and other speeds with and without the pitch.

A clip that becomes longer goes on into the room of the batch and is cut at its end.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops.audio_clips import (
    AudioSettings,
    Clips,
    fast_length,
    positions,
    silent_past,
    to_device,
)

_Floats = NDArray[np.float64]

_FAINT = 1e-15  # 300 dB below full scale
_PAD = 64  # silence behind a clip, so that its end does not run into its start
_FRAME_SECONDS = 0.046  # frames of 32 to 64 ms: short enough for speech, long enough for a voice


def shift(clips: Clips, magnitude: _Floats) -> Clips:
    """Moves by m of the length: later for m > 0, into the room of the batch, else earlier.

    Silence moves in; what leaves the room or the start is lost.
    """
    room = clips.room
    steps = np.rint(magnitude * clips.lengths).astype(np.int64)
    place = positions(clips.x) - to_device(steps, clips.x)[:, None]
    is_inside = (place >= 0) & (place < room)
    moved = _gather(clips.x, place.clamp(0, max(room - 1, 0)))
    lengths = np.clip(clips.lengths + steps, 0, room)
    return Clips(moved.masked_fill(~is_inside[:, None], 0.0), lengths)


def time_mask(clips: Clips, magnitude: _Floats, draws: _Floats) -> Clips:
    """Silences m of the length; draw 0 places it, all of it inside the clip.

    References:
      Park et al., SpecAugment, 2019 (arXiv:1904.08779), section 2.
    """
    width = np.rint(magnitude * clips.lengths)
    first = np.floor(draws[:, 0] * (clips.lengths - width + 1))
    place = positions(clips.x)
    is_masked = (place >= to_device(first, clips.x)[:, None]) & (
        place < to_device(first + width, clips.x)[:, None]
    )
    return Clips(clips.x.masked_fill(is_masked[:, None], 0.0), clips.lengths)


def speed(clips: Clips, magnitude: _Floats) -> Clips:
    """Plays 1 + m times as fast for m > 0, by 1 + |m| slower for m < 0; pitch goes along."""
    rate = _factor(magnitude)
    return Clips(resampled(clips, rate, clips.room), _played(clips.lengths, rate, clips.room))


def tempo(clips: Clips, magnitude: _Floats, settings: AudioSettings) -> Clips:
    """As `speed`, but the pitch stays: a phase vocoder (see `stretched`)."""
    return stretched(clips, _factor(magnitude), clips.room, settings.sample_rate)


def pitch(clips: Clips, magnitude: _Floats, settings: AudioSettings) -> Clips:
    """Raises by m semitones (lowers for m < 0): stretched, then played faster by 2^(m / 12)."""
    # Samples between are made by transforms of the stretched clip, so the room for it must not
    # depend on the other clips. There is one size for the usual pitches.
    steps = np.array([4.0, 12.0, 24.0])
    size = np.searchsorted(steps, magnitude)
    out = torch.empty_like(clips.x)
    for k in set(size.tolist()):
        rows = (size == k).nonzero()[0]
        part, rate = clips.take(rows), 2.0 ** (magnitude[rows] / 12)
        room = math.ceil(clips.room * 2.0 ** (steps[k] / 12)) + 1
        longer = stretched(part, 1 / rate, room, settings.sample_rate)
        out[to_device(rows, out)] = resampled(longer, rate, clips.room)
    return clips.with_samples(out)


def _factor(magnitude: _Floats) -> _Floats:
    return np.where(magnitude >= 0, 1 + magnitude, 1 / (1 - np.minimum(magnitude, 0)))


def _played(lengths: NDArray[np.int64], rate: _Floats, room: int) -> NDArray[np.int64]:
    """Lengths at another speed; a clip never vanishes."""
    played = np.maximum(np.rint(lengths / rate), np.minimum(lengths, 1))
    return np.minimum(played, room).astype(np.int64)


def _gather(x: Tensor, place: Tensor) -> Tensor:
    """Samples `(n, C, k)` at places `(n, k)`, the same for all channels."""
    return x.gather(2, place[:, None].expand(-1, x.shape[1], -1))


def resampled(clips: Clips, rate: _Floats, room: int) -> Tensor:
    """Reads each clip at its own rate: sample `j` of the result is the clip at time `rate j`.

    Between samples lies the one band-limited curve through them: twice as many samples are made
    by a Fourier transform, which also removes what would fold back at rates above 1, and the
    rest is a cubic through four of them (error below 1 % up to 0.8 of the Nyquist frequency).

    Returns:
      Shape `(n, C, room)`, silent past the end.
    """
    x, n_times = clips.x, 2
    size = fast_length(clips.room + _PAD)
    spectrum = torch.fft.rfft(x, n=size)
    bins = torch.arange(spectrum.shape[-1], device=x.device)
    limit = to_device(size / 2 / np.maximum(rate, 1.0), x)[:, None]
    spectrum = spectrum * (bins <= limit).to(x.dtype)[:, None]
    fine = torch.fft.irfft(spectrum, n=n_times * size) * n_times
    place = torch.arange(room, dtype=torch.float64, device=x.device) * to_device(rate, x)[:, None]
    is_past = place >= to_device(clips.lengths, x)[:, None]
    place = place.clamp_(max=clips.room) * n_times
    left = place.floor()
    t = (place - left).to(x.dtype)[:, None]
    index = left.to(torch.int64)
    # Time runs in a circle here.
    points = [_gather(fine, (index + k) % (n_times * size)) for k in range(-1, 3)]
    out = _cubic(points, t)
    return out.masked_fill_(is_past[:, None], 0.0)


def _cubic(points: list[Tensor], t: Tensor) -> Tensor:
    """Lagrange's cubic through values at -1, 0, 1, 2, read at `t` in [0, 1)."""
    a, b, c, d = points
    third = (d - a) / 6 + (b - c) / 2
    second = (a + c) / 2 - b
    first = c - b / 2 - a / 3 - d / 6
    return ((third * t + second) * t + first) * t + b


def frame_length(sample_rate: int) -> int:
    """Samples of a frame of the phase vocoder: the power of two nearest to 46 ms, at least 16.

    Examples:
      >>> frame_length(8000), frame_length(16000), frame_length(44100)
      (512, 1024, 2048)
    """
    return max(16, 1 << round(math.log2(_FRAME_SECONDS * sample_rate)))


def stretched(clips: Clips, rate: _Floats, room: int, sample_rate: int) -> Clips:
    """Plays each clip at its own rate with its pitch kept, by a phase vocoder.

    Frames (Hann, hop a quarter) are read at times `rate k`, their magnitudes interpolated. From
    one to the next every spectral peak turns by the angle of the nearest pair of neighbours in
    the clip, and the bins around it keep the angles to it that they have there.

    Returns:
      Clips of `room` samples.

    References:
      Laroche & Dolson, Improved phase vocoder time-scale modification of audio, 1999 (identity
      phase locking).
    """
    x = clips.x
    n, n_channels = x.shape[:2]
    size = frame_length(sample_rate)
    hop = size // 4
    window = torch.hann_window(size, dtype=x.dtype, device=x.device)
    n_read = clips.room // hop + 3
    behind = n_read * hop + size - clips.room - size // 2
    padded = torch.nn.functional.pad(x, (size // 2, behind)).flatten(0, 1)
    frames = torch.fft.rfft(padded.unfold(1, size, hop) * window)
    n_written = room // hop + 2
    spectra = _reframed(frames, np.repeat(rate, n_channels), n_written)
    written = torch.fft.irfft(spectra, n=size) * (window / 1.5)  # squared windows add up to 1.5
    out = x.new_zeros(len(written), n_written + 3, hop)
    for part in range(4):
        out[:, part : part + n_written] += written[:, :, part * hop : (part + 1) * hop]
    wave = out.view(n, n_channels, -1)[:, :, size // 2 : size // 2 + room]
    lengths = _played(clips.lengths, rate, room)
    return Clips(silent_past(wave, lengths), lengths)


def _reframed(frames: Tensor, rate: _Floats, n_written: int) -> Tensor:
    """Frames at times `rate k`, shape `(n, n_written, F)`, from those at whole times."""
    n_read = frames.shape[1]
    place = np.minimum(np.arange(n_written) * rate[:, None], n_read - 2.0)
    left = np.floor(place).astype(np.int64)
    nearest = np.minimum(np.rint(place), n_read - 2).astype(np.int64)
    frames = frames + _FAINT  # silence has an angle, too
    size = frames.abs()
    share = to_device(place - left, frames).to(size.dtype)[:, :, None]
    magnitude = torch.lerp(_rows_of(size, left), _rows_of(size, left + 1), share)
    phase = torch.view_as_complex(torch.view_as_real(frames) / size[..., None])
    peak = _rows_of(_nearest_peaks(size), nearest)
    phases = _rows_of(phase, nearest)
    from_peak = phases * phases.gather(2, peak).conj()
    turns = _rows_of(phase[:, 1:] * phase[:, :-1].conj(), nearest)
    out = torch.empty_like(turns)
    angle = phases[:, 0]
    for k in range(n_written):
        angle = angle.gather(1, peak[:, k]) * from_peak[:, k]
        torch.mul(angle, magnitude[:, k], out=out[:, k])
        angle = angle * turns[:, k]
    return out


def _nearest_peaks(size: Tensor) -> Tensor:
    """The bin of the nearest peak for every bin of magnitudes `(n, m, F)`.

    A peak is not smaller than its two neighbours on either side.
    """
    n_bins = size.shape[-1]
    highest = torch.nn.functional.max_pool1d(size.flatten(0, 1), 5, stride=1, padding=2)
    peaks = (size.flatten(0, 1) == highest).flatten().nonzero()[:, 0]
    rows, bins = peaks // n_bins, peaks % n_bins
    middle = (peaks[:-1] + peaks[1:] + 1) // 2
    border = torch.where(rows[1:] == rows[:-1], middle, rows[1:] * n_bins)
    ends = border.new_tensor([0, size.numel()])
    counts = torch.cat((ends[:1], border, ends[1:])).diff()
    return bins.repeat_interleave(counts).view(size.shape)


def _rows_of(frames: Tensor, place: NDArray[np.int64]) -> Tensor:
    """Frames `(n, k, F)` at places `(n, k)` of `(n, m, F)`."""
    n, m = frames.shape[:2]
    rows = to_device((place + np.arange(n)[:, None] * m).ravel(), frames)
    return frames.flatten(0, 1).index_select(0, rows).view(*place.shape, -1)
