"""Sound: floating `(n, C, T)` waveforms of one sample rate, which has to be told.

A policy is in Hz and seconds; a tensor knows neither. The rate is given once, when the policy is
loaded, or with a call. The masks of SpecAugment go on spectrograms `(n, F, T)` as well, which need
no rate.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.draws import Drawn
from policysearch.errors import InvalidValueError, shortened
from policysearch.modalities.base import Batch
from policysearch.modalities.traces import TraceModality
from policysearch.ops import audio_spectrogram
from policysearch.ops.audio_clips import AudioSettings, Clips
from policysearch.ops.audio_kernels import apply_stages
from policysearch.ops.stages import stage_groups
from policysearch.policy import Policy

MIN_RATE, MAX_RATE = 100, 1_000_000
#: Settings of a policy for spectrograms `(n, F, T)`: nothing has to be known of them.
SPECTROGRAM = "spectrogram"


class AudioModality(TraceModality):
    """Numpy or torch `(T,)`, `(C, T)` or `(n, C, T)`, floating, full scale from -1 to 1."""

    noun = "clip"
    axis = "T"
    may_miss_values = False
    advice = "Scale whole numbers to -1..1: x.float() / 32768 for 16 bits."

    def settings(
        self,
        told: Any,
        sample_rate: Any = None,
        background: Any = None,
        representation: Any = None,
        **said: Any,
    ) -> Any:
        """Checks sample rate, recordings and representation (see `Modality`)."""
        super().settings(told, **said)
        if representation not in (None, "waveform", "spectrogram"):
            raise InvalidValueError(
                "`representation` must be 'waveform' or 'spectrogram', got "
                f"{shortened(representation)}."
            )
        if representation == "spectrogram":
            if sample_rate is not None or background is not None:
                raise InvalidValueError(
                    "`sample_rate` and `background` are for waveforms, not for spectrograms. "
                    "Leave them out."
                )
            return SPECTROGRAM
        if told is SPECTROGRAM:
            raise InvalidValueError("`sample_rate` is for waveforms, not for spectrograms.")
        if sample_rate is not None:
            _check_rate(sample_rate)
        elif isinstance(told, AudioSettings):
            sample_rate = told.sample_rate
        if sample_rate is None:
            if background is not None:
                raise InvalidValueError("`background` needs a `sample_rate`, which it shares.")
            return None
        if isinstance(told, AudioSettings) and background is None:
            return dataclasses.replace(told, sample_rate=int(sample_rate))
        return AudioSettings(int(sample_rate), self._bank(background))

    def _bank(self, background: Any) -> Clips | None:
        if background is None:
            return None
        batch, _ = self.take_in(background)
        if not len(batch.x):
            raise InvalidValueError("`background` must hold at least one recording, got none.")
        return Clips(batch.x, np.full(len(batch.x), batch.x.shape[2]))

    def apply_chain(self, batch: Batch, drawn: Drawn, policy: Policy) -> Tensor:
        """See `TensorModality`."""
        return self.apply_with_lengths(batch, drawn, policy)[0]

    def after(self, batch: Batch, drawn: Drawn, policy: Policy) -> Batch:
        """With the lengths that clips have now (see `Modality`)."""
        x, lengths = self.apply_with_lengths(batch, drawn, policy)
        return dataclasses.replace(batch, x=x, lengths=lengths)

    def apply_with_lengths(
        self, batch: Batch, drawn: Drawn, policy: Policy
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """Applies draws of a single chain; the clips and their lengths now."""
        x: Tensor = batch.x
        lengths = batch.lengths
        if lengths is None:
            lengths = np.full(len(x), x.shape[2], dtype=np.int64)
        groups = stage_groups(
            policy.modality, drawn.ops, drawn.op_index, drawn.magnitude, drawn.extra
        )
        if batch.settings == SPECTROGRAM:
            return audio_spectrogram.apply_stages(x, lengths, groups), lengths
        if not isinstance(batch.settings, AudioSettings):
            raise InvalidValueError(
                "An audio policy needs the sample rate of the clips, in Hz: "
                "load_policy(..., sample_rate=16000), or transform(clip, sample_rate=16000)."
            )
        return apply_stages(x, lengths, groups, batch.settings)

    def unit_of(self, x: Tensor, lengths: NDArray[np.int64] | None) -> Tensor:
        """Full scale within a clip, 0 in its padding, `(n, 1, T)`."""
        if lengths is None:
            return super().unit_of(x, lengths)
        steps = torch.arange(x.shape[2], device=x.device)
        is_there = steps < torch.from_numpy(lengths).to(x.device)[:, None, None]
        return is_there.to(x.dtype)


MODALITY = AudioModality()


def _check_rate(rate: Any) -> None:
    is_whole = isinstance(rate, (int, np.integer)) and not isinstance(rate, bool)
    if not is_whole or not MIN_RATE <= int(rate) <= MAX_RATE:
        raise InvalidValueError(
            f"`sample_rate` must be a whole number of Hz in {MIN_RATE}..{MAX_RATE}, got "
            f"{shortened(rate)}."
        )
