"""A fixed store of samples by class and temperature, from which a seed picks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from policysearch.generators.base import Generator, Layout, Tensors
from policysearch.generators.samples import Frame
from policysearch.ops.noise import uniform_places


class BankGenerator(Generator):
    """Picks a stored sample of the class at the nearest temperature.

    Tensors: `samples (m, *shape)` float32, `labels (m,)` int64, `temperatures (m,)` float64. Every
    known class has samples at every temperature.
    """

    def __init__(self, frame: Frame, tensors: Tensors, kind: str = "bank") -> None:
        super().__init__(frame, tensors)
        self.kind = kind
        self._levels, level = np.unique(tensors["temperatures"], return_inverse=True)
        cell = tensors["labels"] * len(self._levels) + level
        self._order = np.argsort(cell, kind="stable")
        self._counts = np.bincount(cell, minlength=self.n_classes * len(self._levels))
        self._starts = np.cumsum(self._counts) - self._counts

    @classmethod
    def layout(cls, frame: Frame, tensors: Tensors) -> Layout:
        """The tensors of the class text (see `Generator`)."""
        del tensors
        return {
            "samples": ("float32", ("stored", *frame.shape)),
            "labels": ("int64", ("stored",)),
            "temperatures": ("float64", ("stored",)),
        }

    @classmethod
    def problems(cls, frame: Frame, tensors: Tensors) -> list[str]:
        """What is wrong with labels, temperatures and values."""
        labels, temperatures = tensors["labels"], tensors["temperatures"]
        samples, n_classes = tensors["samples"], len(frame.known)
        found = []
        if not ((temperatures >= 0) & (temperatures <= 1)).all():
            found.append("`temperatures` must be in [0, 1].")
        if not ((labels >= 0) & (labels < n_classes)).all():
            found.append(f"`labels` must be in 0..{n_classes - 1}.")
        else:
            wanted = set(np.flatnonzero(frame.known).tolist())
            levels = [set(labels[temperatures == t].tolist()) for t in np.unique(temperatures)]
            if not levels or any(level != wanted for level in levels):
                found.append("`labels` must hold every known class at every temperature.")
        if samples.size and (
            (frame.low is not None and samples.min() < frame.low)
            or (frame.high is not None and samples.max() > frame.high)
        ):
            found.append(f"`samples` must be in {frame.low}..{frame.high}.")
        return found

    def _sample(
        self,
        labels: NDArray[np.int64],
        temperature: NDArray[np.float64],
        seeds: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        level = np.abs(temperature[:, None] - self._levels).argmin(axis=1)
        cell = labels * len(self._levels) + level
        share = uniform_places(torch.from_numpy(seeds), 1).numpy()[:, 0]
        pick = self._starts[cell] + (share * self._counts[cell]).astype(np.int64)
        return np.asarray(self.tensors["samples"][self._order[pick]])
