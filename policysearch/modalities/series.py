"""Time series: floating `(n, C, L)` tensors, with lengths where they are padded."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.draws import Drawn
from policysearch.modalities.base import Batch
from policysearch.modalities.traces import TraceModality
from policysearch.ops.series_kernels import apply_stages
from policysearch.ops.stages import stage_groups
from policysearch.policy import Policy


class SeriesModality(TraceModality):
    """Numpy or torch `(L,)`, `(C, L)` or `(n, C, L)`, floating; NaN is a missing value."""

    noun = "series"
    axis = "L"
    may_miss_values = True
    advice = "Use x.astype('float32') or x.float()."

    def apply_chain(self, batch: Batch, drawn: Drawn, policy: Policy) -> Tensor:
        """See `TensorModality`."""
        x: Tensor = batch.x
        lengths = batch.lengths
        if lengths is None:
            lengths = np.full(len(x), x.shape[2], dtype=np.int64)
        groups = stage_groups(
            policy.modality, drawn.ops, drawn.op_index, drawn.magnitude, drawn.extra
        )
        return apply_stages(x, torch.from_numpy(lengths).to(x.device), groups)

    def unit_of(self, x: Tensor, lengths: NDArray[np.int64] | None) -> Tensor:
        """Standard deviation of each channel over known steps, `(n, C, 1)`."""
        known = ~x.isnan()
        if lengths is not None:
            steps = torch.arange(x.shape[2], device=x.device)
            known &= steps < torch.from_numpy(lengths).to(x.device)[:, None, None]
        n = known.sum(dim=2, keepdim=True).clamp_min(1)
        values = torch.where(known, x, 0.0)
        mean = values.sum(dim=2, keepdim=True) / n
        variance = torch.where(known, (values - mean) ** 2, 0.0).sum(dim=2, keepdim=True) / n
        return torch.where(known, variance.sqrt(), 0.0)


MODALITY = SeriesModality()
