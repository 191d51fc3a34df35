"""The way into the kernels of time series: the stages of a policy on a batch, in torch.

Kernels see floating `(k, C, L)` batches of samples that get the same operation, each with its own
magnitude, length and draws. Whatever they make of padding is thrown away here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from policysearch.errors import InvalidValueError
from policysearch.ops import series_time, series_value
from policysearch.ops.series_rows import SeriesRows
from policysearch.ops.stages import StageGroup

Kernel = Callable[[SeriesRows], Tensor]

KERNELS: dict[str, Kernel] = {**series_value.KERNELS, **series_time.KERNELS}


def apply_stages(x: Tensor, lengths: Tensor, groups: Iterable[StageGroup]) -> Tensor:
    """Applies to every series its own operations, as `series-1` defines them.

    Args:
      x: Shape `(n, C, L)`, floating, on any device; half precision is computed in float32. NaN is
        a missing value. Not modified.
      lengths: Shape `(n,)`, int64, on the same device: steps that are no padding, 1 to L.
      groups: The work, see `policysearch.ops.stages.stage_groups`.

    Returns:
      A new tensor of the same shape, dtype and device; `x` itself where nothing is to be done.
      Padding stays as it is. The result of a series does not depend on the others, nor on how far
      it is padded.
    """
    if x.ndim != 3 or not x.dtype.is_floating_point:
        raise InvalidValueError(
            f"`x` must be floating of shape (n, C, L), got {x.dtype} of {tuple(x.shape)}."
        )
    out: Tensor | None = None
    for group in groups:
        if out is None:
            out = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32, copy=True)
        places = torch.from_numpy(group.rows).to(x.device)
        rows = SeriesRows(out.index_select(0, places), lengths[places], group)
        changed = torch.where(rows.is_inside, KERNELS[group.op](rows), rows.x)
        out.index_copy_(0, places, changed)
    return x if out is None else out.to(x.dtype)
