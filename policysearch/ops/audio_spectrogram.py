"""The masks of SpecAugment where they come from: on spectrograms that a network reads.

What other operations would mean on a spectrogram depends on how it was made; these two do not.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.errors import InvalidValueError
from policysearch.ops.audio_clips import positions, to_device
from policysearch.ops.stages import StageGroup

OPS = ("time_mask", "freq_mask")


def apply_stages(x: Tensor, lengths: NDArray[np.int64], groups: Iterable[StageGroup]) -> Tensor:
    """Masks time steps and frequency bands of every spectrogram, as `audio-1` defines it.

    A mask takes the mean that its spectrogram had before, which is the paper's zero after
    normalising. It covers m of the length, or m of the bands, rounded to whole ones; draw 0 places
    it, all of it inside.

    Args:
      x: Shape `(n, F, T)`, floating, on any device; bands on the mel or another scale. Not
        modified.
      lengths: Shape `(n,)`, 1 to `T`: frames of each; what lies behind stays as it is.
      groups: The work, see `policysearch.ops.stages.stage_groups`.

    Returns:
      A new tensor of the same shape, dtype and device; `x` itself where nothing is to be done.

    Raises:
      InvalidValueError: For an operation on waveforms.

    References:
      Park et al., SpecAugment, 2019 (arXiv:1904.08779), section 2.
    """
    out = x
    is_there = (positions(x) < to_device(lengths, x)[:, None])[:, None]
    mean = _means(x, is_there)
    for group in groups:
        if group.op not in OPS:
            raise InvalidValueError(
                f"Op '{group.op}' is for waveforms; on a spectrogram there are "
                f"{' and '.join(OPS)}. Augment the waveforms, or take a policy such as "
                "'specaugment'."
            )
        is_masked = _masked(x, lengths, group)
        rows = to_device(group.rows, x)
        part = out.index_select(0, rows)
        changed = torch.where(is_masked & is_there[rows], mean[rows], part)
        out = out.index_copy(0, rows, changed)
    return out


def _means(x: Tensor, is_there: Tensor) -> Tensor:
    """Mean over all bands and frames of each spectrogram: `(n, 1, 1)`, in the dtype of `x`."""
    wide = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    total = wide.masked_fill(~is_there, 0.0).sum(dim=(1, 2), keepdim=True)
    count = is_there.sum(dim=(1, 2), keepdim=True) * x.shape[1]
    return (total / count.clamp_min(1)).to(x.dtype)


def _masked(x: Tensor, lengths: NDArray[np.int64], group: StageGroup) -> Tensor:
    """Where the masks of a group lie: `(k, F, 1)` or `(k, 1, T)`."""
    along_time = group.op == "time_mask"
    room = lengths[group.rows] if along_time else np.full(len(group.rows), x.shape[1])
    width = np.rint(group.magnitude * room)
    first = np.floor(group.draws[:, 0] * (room - width + 1))
    place = torch.arange(x.shape[2] if along_time else x.shape[1], device=x.device)
    begin, end = (to_device(edge, x)[:, None] for edge in (first, first + width))
    is_masked = (place >= begin) & (place < end)
    return is_masked[:, None] if along_time else is_masked[:, :, None]
