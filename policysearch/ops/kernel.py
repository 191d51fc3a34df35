"""What all image kernels share: the samples of a stage as plain arrays, and the scale of values.

Parameters (tables, matrices, offsets) are made on the host with numpy, where a small array costs
little; pixels stay in torch, on the device they came on. Kernels see three dtypes only: `uint8`
with values 0 to 255, and `float32` or `float64` with values 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops.registry import op_table
from policysearch.policy import Interpolation

N_DRAWS = 16
OP_CODE: dict[str, int] = {name: code for code, name in enumerate(op_table("image"))}
OP_NAMES: tuple[str, ...] = tuple(OP_CODE)


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What a whole policy fixes for its geometric and masking operations.

    Attributes:
      interpolation: How geometric operations resample.
      fill: Value of pixels that come from outside the image, as a fraction of the range.
    """

    interpolation: Interpolation = "nearest"
    fill: float = 0.0


@dataclass(frozen=True, slots=True)
class OpRows:
    """Operation, magnitude and uniform numbers of each sample that a kernel gets.

    Attributes:
      code: Shape `(n,)`, or `(n, n_stages)` before the stages part: entry of `OP_NAMES`, below 0
        for none.
      magnitude: Shape of `code`, default unit of the op, signed.
      draws: Shape of `code` and one axis more, uniform in [0, 1).
    """

    code: NDArray[np.int64]
    magnitude: NDArray[np.float64]
    draws: NDArray[np.float64]

    def take(self, rows: NDArray[np.intp]) -> OpRows:
        """The given samples only."""
        return OpRows(self.code[rows], self.magnitude[rows], self.draws[rows])

    def flat(self) -> OpRows:
        """All stages of all samples in one row."""
        n = self.code.size
        return OpRows(self.code.reshape(n), self.magnitude.reshape(n), self.draws.reshape(n, -1))

    def groups(self) -> list[tuple[str, NDArray[np.intp]]]:
        """The ops that occur, in table order, each with the samples that have it."""
        codes = sorted(set(self.code.tolist()))
        return [(OP_NAMES[c], (self.code == c).nonzero()[0]) for c in codes if c >= 0]


def to_device(values: NDArray[np.generic], like: Tensor) -> Tensor:
    """Moves an array of parameters to the device of `like`; dtype is kept."""
    return torch.from_numpy(values).to(like.device)


def in_groups(
    x: Tensor, groups: Sequence[tuple[NDArray[np.intp], Callable[[Tensor], Tensor]]]
) -> Tensor:
    """Applies to each group of samples its own function; every sample is in one group.

    Results are joined and brought back to the order of the batch in one selection, which is many
    times faster on bytes than writing each group into its place.
    """
    if len(groups) == 1:
        return groups[0][1](x)
    parts = [change(x.index_select(0, to_device(rows, x))) for rows, change in groups]
    order = np.argsort(np.concatenate([rows for rows, _ in groups]))
    return torch.cat(parts).index_select(0, to_device(order, x))


def per_sample(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """Shapes one number per sample `(n,)` so that it multiplies `like`, a working image."""
    column = np.ascontiguousarray(values, dtype=np.float64).reshape(-1, 1, 1, 1)
    return torch.from_numpy(column).to(like.device, like.dtype)


def top(x: Tensor) -> float:
    """Largest value of the range: 255 for `uint8`, 1 for floats."""
    return 255.0 if x.dtype == torch.uint8 else 1.0


def fill_value(x: Tensor, fill: float) -> float:
    """Fill in the scale of `x`; half a level rounds up."""
    return float(np.floor(fill * 255 + 0.5)) if x.dtype == torch.uint8 else fill


def working(x: Tensor) -> Tensor:
    """Values of `x` as floats in its own scale, exact."""
    return x.to(torch.float32) if x.dtype == torch.uint8 else x


def truncated(values: Tensor, like: Tensor) -> Tensor:
    """Back to the dtype of `like`, cut to the range; fractions of a level are dropped."""
    return values.clamp(0.0, top(like)).to(like.dtype)


def rounded(values: Tensor, like: Tensor) -> Tensor:
    """Back to the dtype of `like`, cut to the range; to the nearest level, half rounds up."""
    return truncated(values + 0.5 if like.dtype == torch.uint8 else values, like)
