"""The way into the audio kernels: the stages of a policy on a batch of clips.

Kernels know no policy, no level and no probability. The clips of a stage are sorted by operation
and each operation is called once, so the number of torch calls does not depend on the number of
clips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from policysearch.errors import InvalidValueError
from policysearch.ops import audio_amplitude, audio_filter, audio_noise, audio_time
from policysearch.ops.audio_clips import AudioSettings, Clips, silent_past, to_device
from policysearch.ops.registry import get_spec, op_table
from policysearch.ops.spec import OpSpec

__all__ = ["AudioSettings", "Clips", "apply_stages"]

N_DRAWS = 2
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True)
class _Calls:
    """One operation on some clips of a batch.

    Attributes:
      magnitude: Shape `(n,)`, signed.
      draws: Shape `(n, 2)` or more.
      bank: Recordings that may be mixed in.
      own: Shape `(n,)`: place of each clip in the bank; -1: it is not in there.
    """

    clips: Clips
    magnitude: NDArray[np.float64]
    draws: NDArray[np.float64]
    settings: AudioSettings
    bank: Clips
    own: NDArray[np.int64]


_KERNELS: dict[str, Callable[[_Calls], Clips]] = {
    "gain": lambda c: audio_amplitude.gain(c.clips, c.magnitude),
    "polarity": lambda c: audio_amplitude.polarity(c.clips),
    "tanh_distortion": lambda c: audio_amplitude.tanh_distortion(c.clips, c.magnitude),
    "bitcrush": lambda c: audio_amplitude.bitcrush(c.clips, c.magnitude),
    "shift": lambda c: audio_time.shift(c.clips, c.magnitude),
    "time_mask": lambda c: audio_time.time_mask(c.clips, c.magnitude, c.draws),
    "speed": lambda c: audio_time.speed(c.clips, c.magnitude),
    "tempo": lambda c: audio_time.tempo(c.clips, c.magnitude, c.settings),
    "pitch": lambda c: audio_time.pitch(c.clips, c.magnitude, c.settings),
    "freq_mask": lambda c: audio_filter.freq_mask(c.clips, c.magnitude, c.draws, c.settings),
    "low_pass": lambda c: audio_filter.low_pass(c.clips, c.magnitude, c.settings),
    "high_pass": lambda c: audio_filter.high_pass(c.clips, c.magnitude, c.settings),
    "reverb": lambda c: audio_filter.reverb(c.clips, c.magnitude, c.draws, c.settings),
    "noise_snr": lambda c: audio_noise.noise_snr(c.clips, c.magnitude, c.draws),
    "color_noise_snr": lambda c: audio_noise.color_noise_snr(
        c.clips, c.magnitude, c.draws, c.settings
    ),
    "background_mix": lambda c: audio_noise.background_mix(
        c.clips, c.magnitude, c.draws, c.bank, c.own
    ),
}


def apply_stages(
    x: Tensor,
    ops: Sequence[str],
    op_index: ArrayLike,
    magnitude: ArrayLike,
    draws: ArrayLike,
    settings: AudioSettings,
    lengths: ArrayLike | None = None,
) -> tuple[Tensor, NDArray[np.int64]]:
    """Applies to every clip its own operations, one per stage, as `audio-1` defines them.

    Args:
      x: Shape `(n, C, T)`, floating, on any device; full scale is -1 to 1, but nothing is clipped.
        Half precision is computed in float32.
      ops: Names of operations.
      op_index: Shape `(n, n_stages)`, integers: entry of `ops`, -1 to leave the clip alone.
      magnitude: Shape `(n, n_stages)`: in the unit of the op, with its sign; ignored by ops
        without a magnitude.
      draws: Shape `(n, n_stages, k)`: uniform numbers in [0, 1); missing ones up to 2 are 0.
      settings: Sample rate, and recordings to mix in.
      lengths: Shape `(n,)`: samples of each clip, 0 to `T`; what lies behind is read as silence.
        `None`: all of them.

    Returns:
      `(y, lengths)`: a new tensor like `x`, and the samples of each clip now: speed, tempo and
      shift change them, within `T`. `x` itself where nothing is to be done. Without a noise bank
      `background_mix` depends on the other clips, everything else on the clip alone.

    Raises:
      UnknownNameError: An operation is not in the table.
      InvalidValueError: A shape or dtype breaks the rules above.
    """
    _check_clips(x)
    known = _checked_lengths(lengths, x)
    index, amount, drawn = _checked_stages(x, ops, op_index, magnitude, draws)
    if not (index >= 0).any():
        return silent_past(x, known), known
    # Half precision is computed in float32.
    wide = x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)
    clips = Clips(silent_past(wide, known), known)
    bank, own = settings.background, np.full(len(x), -1)
    if bank is None:
        bank, own = clips, np.arange(len(x))
    for stage in range(index.shape[1]):
        for k in sorted({int(i) for i in index[:, stage]} - {-1}):
            rows = (index[:, stage] == k).nonzero()[0]
            part = clips if len(rows) == len(x) else clips.take(rows)
            calls = _Calls(
                part, amount[rows, stage], drawn[rows, stage], settings, bank, own[rows]
            )
            clips = _put(clips, rows, _KERNELS[ops[k]](calls))
    return clips.x.to(x.dtype), clips.lengths


def _put(clips: Clips, rows: NDArray[np.intp], changed: Clips) -> Clips:
    if len(rows) == len(clips):
        return changed
    lengths = clips.lengths.copy()
    lengths[rows] = changed.lengths
    return Clips(clips.x.index_copy(0, to_device(rows, clips.x), changed.x), lengths)


def _check_clips(x: Tensor) -> None:
    if x.ndim != 3:
        raise InvalidValueError(f"`x` must have shape (n, C, T), got {tuple(x.shape)}.")
    if x.dtype not in _DTYPES:
        raise InvalidValueError(
            f"`x` must be floating, got {x.dtype}. Scale whole numbers to -1..1: "
            "x.float() / 32768 for 16 bits."
        )
    if x.shape[1] == 0 or (len(x) and x.shape[2] == 0):
        raise InvalidValueError(
            f"`x` must have at least one channel and one sample, got {tuple(x.shape)}."
        )


def _checked_lengths(lengths: ArrayLike | None, x: Tensor) -> NDArray[np.int64]:
    n, room = x.shape[0], x.shape[2]
    if lengths is None:
        return np.full(n, room)
    known = np.asarray(lengths)
    if known.shape != (n,) or known.dtype.kind not in "iu":
        raise InvalidValueError(
            f"`lengths` must be whole numbers of shape ({n},), got {known.dtype} of {known.shape}."
        )
    if n and not 0 <= known.min() <= known.max() <= room:
        raise InvalidValueError(
            f"`lengths` must be in 0..{room}, got {known.min()} to {known.max()}."
        )
    return known.astype(np.int64)


def _checked_stages(
    x: Tensor, ops: Sequence[str], op_index: ArrayLike, magnitude: ArrayLike, draws: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Index, magnitudes and draws; operations that change nothing get index -1."""
    specs = [get_spec("audio", name) for name in ops]
    index, amount = np.asarray(op_index), np.asarray(magnitude, dtype=np.float64)
    drawn = np.asarray(draws, dtype=np.float64)
    if index.ndim != 2 or len(index) != len(x) or amount.shape != index.shape:
        raise InvalidValueError(
            f"`op_index` and `magnitude` must have shape ({len(x)}, n_stages), got "
            f"{index.shape} and {amount.shape}."
        )
    if drawn.ndim != 3 or drawn.shape[:2] != index.shape:
        raise InvalidValueError(
            f"`draws` must have shape ({index.shape[0]}, {index.shape[1]}, k), got {drawn.shape}."
        )
    if index.size and not -1 <= index.min() <= index.max() < len(ops):
        raise InvalidValueError(f"`op_index` must be in [-1, {len(ops) - 1}].")
    if drawn.size and not (drawn.min() >= 0 and drawn.max() < 1):
        raise InvalidValueError("`draws` must be in [0, 1).")
    code = index.astype(np.int64)
    for k, spec in enumerate(specs):
        is_here = code == k
        _check_magnitudes(spec, amount[is_here])
        code[is_here & _is_idle(spec, amount)] = -1
    full = np.zeros((*index.shape, max(N_DRAWS, drawn.shape[2])))
    full[..., : drawn.shape[2]] = drawn
    return code, amount, full


def _is_idle(spec: OpSpec, amount: NDArray[np.float64]) -> NDArray[np.bool_]:
    if spec.name == "identity":
        return np.ones(amount.shape, dtype=np.bool_)
    if not (spec.has_magnitude and spec.is_identity_at_low):
        return np.zeros(amount.shape, dtype=np.bool_)
    return np.asarray(amount == spec.low)


def _check_magnitudes(spec: OpSpec, amount: NDArray[np.float64]) -> None:
    if not spec.has_magnitude or not amount.size:
        return
    size = np.abs(amount) if spec.is_signed else amount
    # The slack is for magnitudes that went through a decimal number or a sign.
    if not ((size >= spec.minimum - 1e-9) & (size <= spec.maximum * (1 + 1e-9))).all():
        raise InvalidValueError(
            f"`magnitude` of op '{spec.name}' must be finite and within "
            f"{spec.minimum:g} to {spec.maximum:g} {spec.unit}."
        )


if set(_KERNELS) | {"identity"} != set(op_table("audio")):
    raise AssertionError("every audio operation must have a kernel")
