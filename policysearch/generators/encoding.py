"""Samples as standardised vectors and back: what the learned generators compute in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.generators.base import Generator, Layout, Tensors
from policysearch.generators.samples import FitData, Frame

_NAMES = ("mean", "scale", "column", "value")
_LARGEST = float(np.finfo(np.float32).max)
_FAR = 1e6  # standard deviations: what lies further out is brought here


@dataclass(frozen=True, eq=False)
class Encoding:
    """Numbers in standard deviations of their channel or column, then one input per category.

    Attributes:
      frame: What samples look like.
      mean: Mean of each value, or its most frequent category, `(d,)`, float64; it stands for what
        is missing. 0 where nothing is known.
      scale: Standard deviation around it, common to a channel, `(d,)`, float64; 0 for categories.
      column: Column of each category, ascending, `(m,)`, int64.
      value: Its number, `(m,)`, float64.
    """

    frame: Frame
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    column: NDArray[np.int64]
    value: NDArray[np.float64]

    @classmethod
    def fit(cls, data: FitData) -> Encoding:
        """Learns the encoding from training samples alone."""
        x = data.x.astype(np.float64)
        is_known = ~np.isnan(x)
        n_known = is_known.sum(axis=0)
        mean = np.where(is_known, x, 0.0).sum(axis=0) / np.maximum(n_known, 1)
        # Channels of images and series, and columns of rows, stand on the first axis.
        others = tuple(i for i in range(x.ndim) if i != 1)
        squares = np.where(is_known, (x - mean) ** 2, 0.0).sum(axis=others)
        per_channel = np.sqrt(squares / np.maximum(is_known.sum(axis=others), 1))
        scale = np.broadcast_to(per_channel.reshape(-1, *[1] * (x.ndim - 2)), mean.shape).copy()
        columns, values = [], []
        for j in np.flatnonzero(data.is_categorical) if data.is_categorical is not None else ():
            known, counts = np.unique(x[is_known[:, j], j], return_counts=True)
            scale[j] = 0.0
            if len(known):
                mean[j] = known[counts.argmax()]
            columns.append(np.full(len(known), j, dtype=np.int64))
            values.append(known)
        return cls(
            data.frame,
            mean.ravel(),
            scale.ravel(),
            np.concatenate([np.empty(0, np.int64), *columns]),
            np.concatenate([np.empty(0), *values]),
        )

    @classmethod
    def restore(cls, frame: Frame, tensors: Tensors) -> Encoding:
        """The encoding that was saved among tensors."""
        return cls(frame, *(tensors[f"encoding.{name}"] for name in _NAMES))

    def tensors(self) -> Tensors:
        """What `restore` needs."""
        return {f"encoding.{name}": getattr(self, name) for name in _NAMES}

    @cached_property
    def numeric(self) -> NDArray[np.int64]:
        """Values that are numbers."""
        return np.setdiff1d(np.arange(self.frame.n_values), self.column)

    @property
    def width(self) -> int:
        """Length of an encoded sample, `e`."""
        return len(self.numeric) + len(self.column)

    def encode(self, x: NDArray[np.float32]) -> Tensor:
        """Samples `(n, *shape)` as vectors `(n, e)`, float32."""
        flat = x.reshape(len(x), -1).astype(np.float64)
        filled = np.where(np.isnan(flat), self.mean, flat)
        divisor = np.where(self.scale > 0, self.scale, 1.0)
        with np.errstate(over="ignore"):
            numbers = ((filled - self.mean) / divisor)[:, self.numeric].clip(-_FAR, _FAR)
        is_category = filled[:, self.column] == self.value
        return torch.from_numpy(np.concatenate((numbers, is_category), 1, dtype=np.float32))

    def decode(self, vectors: Tensor) -> NDArray[np.float32]:
        """Vectors `(n, e)` as samples `(n, *shape)`: finite and within the bounds."""
        z = np.nan_to_num(vectors.numpy().astype(np.float64))
        numeric, n_numbers = self.numeric, len(self.numeric)
        low = -_LARGEST if self.frame.low is None else self.frame.low
        high = _LARGEST if self.frame.high is None else self.frame.high
        flat = np.empty((len(z), self.frame.n_values))
        with np.errstate(over="ignore"):
            numbers = self.mean[numeric] + z[:, :n_numbers] * self.scale[numeric]
        flat[:, numeric] = np.clip(numbers, low, high)
        for j in np.unique(self.column):
            places = np.flatnonzero(self.column == j)
            flat[:, j] = self.value[places][z[:, n_numbers + places].argmax(axis=1)]
        return flat.astype(np.float32).reshape(len(z), *self.frame.shape)


class EncodedGenerator(Generator):
    """A generator that computes in the vectors of an `Encoding`, kept among its tensors."""

    def __init__(self, frame: Frame, tensors: Tensors) -> None:
        super().__init__(frame, tensors)
        self.encoding = Encoding.restore(frame, tensors)

    @classmethod
    def layout(cls, frame: Frame, tensors: Tensors) -> Layout:
        """The tensors of the encoding, and of the kind."""
        column = tensors.get("encoding.column", np.empty(0, np.int64))
        width = frame.n_values - len(np.unique(column)) + column.size
        layout: Layout = {
            "encoding.mean": ("float64", (frame.n_values,)),
            "encoding.scale": ("float64", (frame.n_values,)),
            "encoding.column": ("int64", ("categories",)),
            "encoding.value": ("float64", ("categories",)),
        }
        return layout | cls.own_layout(width, len(frame.known))

    @classmethod
    def own_layout(cls, width: int, n_classes: int) -> Layout:
        """The tensors besides those of the encoding."""
        raise NotImplementedError

    @classmethod
    def problems(cls, frame: Frame, tensors: Tensors) -> list[str]:
        """What is wrong with the encoding."""
        found = []
        column = tensors["encoding.column"]
        is_sorted = bool((np.diff(column) >= 0).all())
        if column.size and not (is_sorted and column[0] >= 0 and column[-1] < frame.n_values):
            found.append(
                f"`encoding.column` must be ascending in 0..{frame.n_values - 1}, "
                f"got {column.min()}..{column.max()}{'' if is_sorted else ', not in order'}."
            )
        if (tensors["encoding.scale"] < 0).any():
            found.append("`encoding.scale` must not be negative.")
        return found
