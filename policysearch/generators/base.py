"""What every generator is: a frame (shape, classes, bounds), tensors, and samples by seed.

A generator is made of its frame and its tensors and of nothing else, so that what is saved and
loaded again gives the same samples to the bit. A sample is a function of its label, temperature
and seed, never of its neighbours in a batch.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.errors import GeneratorError, shortened

Tensors = Mapping[str, NDArray[Any]]
#: By name: dtype and shape; a word stands for a length that is free but the same everywhere.
Layout = dict[str, tuple[str, tuple[int | str, ...]]]


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


class Generator(abc.ABC):
    """Draws samples of a class.

    Args:
      frame: What samples look like.
      tensors: All that was learned, in the layout of the kind.

    Attributes:
      kind: Name of the kind.
      shape: Shape of one sample.
      n_classes: Number of classes, known or not.
      known: Classes that had training samples, `(n_classes,)`, bool.
      has_latents: Whether `encode` and `decode` work.
    """

    kind: str
    has_latents: ClassVar[bool] = False

    def __init__(self, frame: Frame, tensors: Tensors) -> None:
        self.frame = frame
        self.tensors = dict(tensors)
        self.shape = frame.shape
        self.known = frame.known
        self.n_classes = len(frame.known)

    @classmethod
    @abc.abstractmethod
    def layout(cls, frame: Frame, tensors: Tensors) -> Layout:
        """Names, dtypes and shapes of the tensors of the kind; `tensors` may be hostile."""

    @classmethod
    def problems(cls, frame: Frame, tensors: Tensors) -> list[str]:
        """What is wrong with the values of tensors that have the right layout."""
        del frame, tensors
        return []

    def knows(self, label: int) -> bool:
        """Whether a class had training samples."""
        return 0 <= label < self.n_classes and bool(self.known[label])

    def sample(
        self,
        labels: NDArray[np.int64],
        temperature: NDArray[np.float64],
        seeds: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Draws a sample for each row, which depends on nothing but the row.

        Args:
          labels: Classes, `(n,)`, int64.
          temperature: Scale of the noise in [0, 1], `(n,)`, float64: 0 is the mean or mode of the
            class, 1 a sample of the fitted distribution.
          seeds: Any numbers, `(n,)`, int64.

        Returns:
          Shape `(n, *shape)`, float32, finite, within the bounds.

        Raises:
          GeneratorError: For a class that had no training samples, or arguments out of range.
        """
        labels = self._checked_labels(labels)
        temperature = np.asarray(temperature, dtype=np.float64)
        seeds = np.asarray(seeds, dtype=np.int64)
        if not labels.shape == temperature.shape == seeds.shape:
            raise GeneratorError(
                "`labels`, `temperature` and `seeds` must have one entry per sample, got "
                f"{labels.shape}, {temperature.shape} and {seeds.shape}."
            )
        if not ((temperature >= 0) & (temperature <= 1)).all():
            raise GeneratorError(
                f"`temperature` must be in [0, 1], got {shortened(temperature.tolist())}."
            )
        if not len(labels):
            return np.empty((0, *self.shape), np.float32)
        return self._sample(labels, temperature, seeds)

    def encode(self, x: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Latents `(n, d)` of samples `(n, *shape)`, both float32, each on its own."""
        labels = self._checked_latent_labels(labels)
        if x.shape != (len(labels), *self.shape):
            raise GeneratorError(
                f"Samples must have the shape {(len(labels), *self.shape)}, got {x.shape}."
            )
        return self._encode(x, labels)

    def decode(self, z: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Samples `(n, *shape)` of latents `(n, d)`, both float32, each on its own."""
        labels = self._checked_latent_labels(labels)
        if z.shape != (len(labels), self.n_latents):
            raise GeneratorError(
                f"Latents must have the shape {(len(labels), self.n_latents)}, got {z.shape}."
            )
        return self._decode(z, labels)

    @property
    def n_latents(self) -> int:
        """Length of a latent; 0 where there are none."""
        return 0

    @abc.abstractmethod
    def _sample(
        self,
        labels: NDArray[np.int64],
        temperature: NDArray[np.float64],
        seeds: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """`sample` of at least one row, of checked arguments."""

    def _encode(self, x: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        raise NotImplementedError

    def _decode(self, z: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        raise NotImplementedError

    def _checked_latent_labels(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        if not self.has_latents:
            raise GeneratorError(f"A generator of the kind '{self.kind}' has no latents.")
        return self._checked_labels(labels)

    def _checked_labels(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        labels = np.asarray(labels)
        if labels.ndim != 1 or (len(labels) and labels.dtype.kind not in "iu"):
            raise GeneratorError(
                f"`labels` must be whole numbers of shape (n,), got {labels.dtype} of "
                f"{labels.shape}."
            )
        unknown = sorted({int(i) for i in np.unique(labels) if not self.knows(int(i))})
        if unknown:
            raise GeneratorError(
                f"`labels` must be classes that the generator '{self.kind}' was given training "
                f"samples of, got {shortened(unknown)}."
            )
        return labels.astype(np.int64)


def each_row(function: Callable[..., Tensor], *columns: Tensor) -> Tensor:
    """Applies a function to every row on its own and stacks what comes out.

    Libraries of linear algebra round a product differently with the number of rows and with where
    a row lies in memory; a fresh copy of one row gives the same bits in any batch.
    """
    with torch.no_grad():
        rows = zip(*columns, strict=True)
        return torch.stack([function(*(part.clone() for part in row)) for row in rows])
