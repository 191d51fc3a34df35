"""Rows of a table as inputs of a network, by what the training rows alone tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policysearch.data.columns import categorical_of
from policysearch.data.dataset import Dataset
from policysearch.errors import DataError


class TableEncoding:
    """Scaled numbers, then which of them are missing, then one input for each category.

    A number becomes its distance to the column's median in quartile distances (in half the range
    where those are 0), smoothly cut to -3 .. 3: `z / sqrt(1 + (z / 3)^2)`; a missing one is 0.
    A column with missing training values has an input that says so. A category that no training
    row has is that of none.

    Args:
      train: Training rows; nothing else is ever looked at.

    References:
      Holzmüller, Grinsztajn & Steinwart, Better by default (RealMLP), 2024 (arXiv:2407.04491):
      robust scaling and smooth clipping.
    """

    def __init__(self, train: Dataset) -> None:
        if train.columns is None:
            raise DataError("A table encoding needs rows with columns.")
        self._is_categorical = categorical_of(train.columns)
        numbers = train.x[:, ~self._is_categorical]
        self._is_gappy = np.isnan(numbers).any(axis=0)
        self.median, self.scale = _centre_and_scale(numbers)
        cells = train.x[:, self._is_categorical].T
        self.categories = [np.unique(column[~np.isnan(column)]) for column in cells]

    @property
    def width(self) -> int:
        """Inputs of a row."""
        n_categories = sum(len(known) for known in self.categories)
        return len(self.median) + int(self._is_gappy.sum()) + n_categories

    def encode(self, x: NDArray[np.float64]) -> NDArray[np.float32]:
        """Rows `(n, d)` as inputs `(n, width)`."""
        numbers = x[:, ~self._is_categorical]
        z = np.nan_to_num((numbers - self.median) * self.scale)
        parts = [z / np.sqrt(1 + (z / 3) ** 2), np.isnan(numbers[:, self._is_gappy])]
        for column, known in zip(x[:, self._is_categorical].T, self.categories, strict=True):
            parts.append(column[:, None] == known)
        return np.concatenate(parts, axis=1, dtype=np.float32)


def _centre_and_scale(
    numbers: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median of each column over known values, and what its distance is multiplied with."""
    median, scale = np.zeros((2, numbers.shape[1]))
    for j, column in enumerate(numbers.T):
        known = column[~np.isnan(column)]
        if not len(known):
            continue
        low, median[j], high = np.quantile(known, [0.25, 0.5, 0.75])
        width = high - low if high > low else (known.max() - known.min()) / 2
        scale[j] = 1 / width if width > 1e-12 * abs(median[j]) else 0.0
    return median, scale
