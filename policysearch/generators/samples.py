"""Samples that generators are fitted to, as plain arrays, and what all samples look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policysearch.errors import GeneratorError


@dataclass(frozen=True, eq=False)
class FitData:
    """Training samples that a generator is fitted to.

    Attributes:
      x: Shape `(n, *shape)`, float32; NaN is a missing value.
      y: Shape `(n,)`, int64, in 0 .. n_classes - 1.
      n_classes: Number of classes, whether or not each has samples.
      low: Values are clipped to this from below; `None`: no bound.
      high: The same from above.
      is_categorical: Columns of rows `(n, d)` that hold categories as numbers, `(d,)`; `None`:
        no column does.

    Raises:
      GeneratorError: When the parts do not fit together.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    n_classes: int
    low: float | None = None
    high: float | None = None
    is_categorical: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        x, y, flags = self.x, self.y, self.is_categorical
        if x.dtype != np.float32 or x.ndim < 2 or not x.size:
            raise GeneratorError(
                "`x` must be float32 of shape (n, ...) with at least one sample, "
                f"got {x.dtype} of {x.shape}."
            )
        if y.dtype != np.int64 or y.shape != x.shape[:1]:
            raise GeneratorError(
                f"`y` must be int64 of shape ({len(x)},), got {y.dtype} of {y.shape}."
            )
        if y.min() < 0 or y.max() >= self.n_classes:
            raise GeneratorError(
                f"`y` must be in 0..{self.n_classes - 1}, got {y.min()}..{y.max()}."
            )
        if np.isinf(x).any():
            raise GeneratorError("`x` must hold finite values or NaN, got infinities.")
        if flags is not None and (x.ndim != 2 or flags.shape != x.shape[1:]):
            raise GeneratorError(
                "`is_categorical` must have one entry per column of rows (n, d), "
                f"got {flags.shape} for {x.shape}."
            )

    @property
    def frame(self) -> Frame:
        """What a generator of such samples must know of them."""
        known = np.bincount(self.y, minlength=self.n_classes) > 0
        return Frame(self.x.shape[1:], known, self.low, self.high)


@dataclass(frozen=True, eq=False)
class Frame:
    """What samples look like.

    Attributes:
      shape: Shape of one sample.
      known: Classes that had training samples, `(n_classes,)`.
      low: Lower bound of values, or `None`.
      high: Upper bound of values, or `None`.
    """

    shape: tuple[int, ...]
    known: NDArray[np.bool_]
    low: float | None = None
    high: float | None = None

    @property
    def n_values(self) -> int:
        """Values of one sample."""
        return int(np.prod(self.shape))
