"""What every generator is: a frame (shape, classes, bounds), tensors, and samples by seed.

A generator is made of its frame and its tensors and of nothing else, so that what is saved and
loaded again gives the same samples to the bit. A sample is a function of its label, temperature
and seed, never of its neighbours in a batch.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.errors import GeneratorError, shortened
from policysearch.generators.samples import Frame

Tensors = Mapping[str, NDArray[Any]]
#: By name: dtype and shape; a word stands for a length that is free but the same everywhere.
Layout = dict[str, tuple[str, tuple[int | str, ...]]]


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
