"""What operations on rows know of the columns: learned once, from training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Rows of a class among which neighbours are sought; of more, evenly spaced ones are taken.
MAX_ROWS_PER_CLASS = 1000


@dataclass(frozen=True, eq=False)
class TableFacts:
    """Facts about the columns of a table; all float64, columns in the order of the rows.

    Attributes:
      is_categorical: Columns of categories, `(d,)`.
      mean: Mean of known values, `(d,)`; 0 where nothing is known.
      std: Standard deviation of known values, `(d,)`; 0 for categories.
      filler: Mean, or most frequent category, `(d,)`; NaN where nothing is known.
      values: Known values of each column in order, then NaN, `(m, d)`.
      n_known: Known values of each column, `(d,)`, int64.
      categories: Categories of each column of them, `(k,)` each.
      rows: By class, rows `(r, d)` among which neighbours are sought; empty without classes.
      places: The same rows as `place` gives them.
    """

    is_categorical: Tensor
    mean: Tensor
    std: Tensor
    filler: Tensor
    values: Tensor
    n_known: Tensor
    categories: tuple[Tensor, ...]
    rows: dict[int, Tensor]
    places: dict[int, Tensor]

    def place(self, x: Tensor) -> Tensor:
        """Rows as points `(n, e)`: two that differ in a category are 1 apart in it.

        Numbers are in standard deviations. What is missing lies at the mean, and at no category.
        """
        numeric = ~self.is_categorical
        scale = torch.where(self.std > 0, self.std, 1.0)
        numbers = ((x - self.mean) / scale)[:, numeric].nan_to_num(0.0)
        parts = [numbers]
        for column, known in zip(x[:, self.is_categorical].T, self.categories, strict=True):
            parts.append((column[:, None] == known).to(x.dtype) * 0.5**0.5)
        return torch.cat(parts, dim=1)


def table_facts(
    x: NDArray[np.float64],
    is_categorical: NDArray[np.bool_],
    y: NDArray[np.int64] | None = None,
) -> TableFacts:
    """Learns facts from training rows.

    Args:
      x: Shape `(m, d)`, at least one row; NaN is a missing value, categories are numbers.
      is_categorical: Shape `(d,)`.
      y: Class of each row, `(m,)`; `None`: `interpolate` cannot be used.
    """
    table = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))
    is_known = ~table.isnan()
    n_known = is_known.sum(dim=0)
    mean = table.nan_to_num(0.0).sum(dim=0) / n_known.clamp_min(1)
    squares = torch.where(is_known, (table - mean) ** 2, 0.0).sum(dim=0)
    categorical = torch.from_numpy(is_categorical.copy())
    std = torch.where(categorical, 0.0, (squares / n_known.clamp_min(1)).sqrt())
    filler = torch.where(n_known > 0, mean, float("nan"))
    categories = []
    for j in categorical.nonzero()[:, 0].tolist():
        known, counts = torch.unique(table[is_known[:, j], j], return_counts=True)
        categories.append(known)
        if len(known):
            filler[j] = known[counts.argmax()]
    values = table.nan_to_num(float("inf")).sort(dim=0).values
    values = torch.where(values.isinf(), float("nan"), values)
    facts = TableFacts(categorical, mean, std, filler, values, n_known, tuple(categories), {}, {})
    if y is not None:
        for label in np.unique(y).tolist():
            members = np.flatnonzero(y == label)
            step = max(1, -(-len(members) // MAX_ROWS_PER_CLASS))
            facts.rows[label] = table[torch.from_numpy(members[::step])]
            facts.places[label] = facts.place(facts.rows[label])
    return facts
