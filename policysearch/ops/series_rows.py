"""What kernels of time series work on: samples with one operation, and what is known of each."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from policysearch.ops.stages import StageGroup


class SeriesRows:
    """Series that get the same operation.

    Attributes:
      x: Shape `(k, C, L)`, float32 or float64. Must not be modified.
      lengths: Shape `(k,)`, int64: steps that are no padding.
    """

    def __init__(self, x: Tensor, lengths: Tensor, group: StageGroup) -> None:
        self.x = x
        self.lengths = lengths
        self._group = group

    def magnitude(self, n_dims: int = 3) -> Tensor:
        """Magnitudes `(k, 1, ...)` with so many dimensions, in the dtype of `x`, signed."""
        column = torch.from_numpy(self._group.magnitude).to(self.x.device, self.x.dtype)
        return column.view(-1, *[1] * (n_dims - 1))

    def draw(self, i: int) -> Tensor:
        """Draw `i` of each series, `(k, 1)`, float64."""
        return torch.from_numpy(self._group.draws[:, i].copy()).to(self.x.device)[:, None]

    def seeds(self, i: int = 0) -> Tensor:
        """Draw `i` as a seed, `(k,)`, int64."""
        return torch.from_numpy(self._group.seeds(i)).to(self.x.device)

    @cached_property
    def steps(self) -> Tensor:
        """Places of the steps, `(L,)`, int64."""
        return torch.arange(self.x.shape[2], device=self.x.device)

    @cached_property
    def is_inside(self) -> Tensor:
        """Steps that are no padding, `(k, 1, L)`."""
        return self.steps < self.lengths[:, None, None]

    @cached_property
    def is_known(self) -> Tensor:
        """Values that are neither padding nor missing, `(k, C, L)`."""
        return self.is_inside & ~self.x.isnan()

    @cached_property
    def _n_known(self) -> Tensor:
        return self.is_known.sum(dim=2, keepdim=True).clamp_min(1)

    @cached_property
    def mean(self) -> Tensor:
        """Mean of each channel over known values, `(k, C, 1)`; 0 where there are none."""
        known = torch.where(self.is_known, self.x, 0.0)
        # Doubles: the sum must not depend on how the padded row is divided among registers.
        return (known.sum(dim=2, keepdim=True, dtype=torch.float64) / self._n_known).to(
            self.x.dtype
        )

    @cached_property
    def centred(self) -> Tensor:
        """Distance to the mean; 0 at padding and missing values."""
        return torch.where(self.is_known, self.x - self.mean, 0.0)

    @cached_property
    def std(self) -> Tensor:
        """Standard deviation of each channel over known values, `(k, C, 1)`."""
        squares = self.centred.square().sum(dim=2, keepdim=True, dtype=torch.float64)
        return (squares / self._n_known).sqrt().to(self.x.dtype)

    def replaced(self, values: Tensor) -> Tensor:
        """The values where they are known, missing where they are missing."""
        return torch.where(self.is_known, values, self.x)

    @cached_property
    def _last(self) -> Tensor:
        """Place of the last step, `(k, 1)`, float64."""
        return (self.lengths - 1).to(torch.float64)[:, None]

    @cached_property
    def clock(self) -> Tensor:
        """Time from 0 at the first step to 1 at the last, float64; 1 in padding.

        Shape `(k, L)`, or `(1, L)` where all lengths are the same.
        """
        last = self._last
        if bool((self.lengths == self.lengths[0]).all()):
            last = last[:1]
        return (self.steps / last.clamp_min(1.0)).clamp_max(1.0)

    def at(self, time: Tensor) -> Tensor:
        """Resamples all channels linearly at times `(k, L)` in [0, 1].

        Between a known and a missing value the result is missing; on a step it is that step's.
        """
        place = time.clamp(0.0, 1.0) * self._last
        nearest = place.round()
        # A step is met despite rounding: 1e-9 of a step is no distance.
        place = torch.where((place - nearest).abs() < 1e-9, nearest, place)
        before = place.floor()
        share = (place - before).to(self.x.dtype)[:, None]
        left = self.step(before.long())
        right = self.step(torch.minimum(before + 1, self._last).long())
        return torch.where(share == 0, left, left + share * (right - left))

    def step(self, index: Tensor) -> Tensor:
        """All channels at steps `(k, L)`."""
        return self.x.gather(2, index[:, None].expand(-1, self.x.shape[1], -1))


def smooth_curve(knots: Tensor, clock: Tensor) -> Tensor:
    """Catmull-Rom curve through equidistant knots from time 0 to 1.

    Args:
      knots: Shape `(k, C, K)`, at least two.
      clock: Shape `(k, L)` or `(1, L)`, in [0, 1].

    Returns:
      Shape `(k, C, L)`, dtype of the knots.
    """
    n = knots.shape[2]
    first = 2 * knots[..., :1] - knots[..., 1:2]  # straight on beyond the ends
    last = 2 * knots[..., -1:] - knots[..., -2:-1]
    all_knots = torch.cat([first, knots, last], dim=2)
    places = torch.arange(-1, n + 1, device=knots.device)
    d = (clock[:, None] * (n - 1) - places[:, None]).abs()
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    weights = torch.where(d < 1, near, torch.where(d < 2, far, 0.0)).to(knots.dtype)
    # One knot after the other: a matrix product may add in another order for another batch.
    total = all_knots[..., :1] * weights[:, None, 0]
    for j in range(1, n + 2):
        total = total + all_knots[..., j : j + 1] * weights[:, None, j]
    return total
