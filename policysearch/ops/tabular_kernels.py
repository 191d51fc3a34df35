"""Operations on rows of a table, in torch: the stages of a policy on a batch.

Kernels see float64 `(k, d)` batches of rows that get the same operation, each with its own
magnitude and draws, and facts about the columns from the training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from policysearch.errors import InvalidValueError
from policysearch.ops.noise import normals, uniform_places
from policysearch.ops.stages import StageGroup
from policysearch.ops.table_facts import TableFacts

#: Neighbours that `interpolate` chooses among.
N_NEIGHBOURS = 5
#: Standard deviations within which two rows are the same one, such as in single precision.
SAME_ROW = 1e-4


@dataclass(frozen=True)
class TableRows:
    """Rows that get the same operation.

    Attributes:
      x: Shape `(k, d)`, float64. Must not be modified.
      y: Class of each, `(k,)`; `None`: not known.
      group: Their magnitudes and draws.
      facts: What is known of the columns.
    """

    x: Tensor
    y: Tensor | None
    group: StageGroup
    facts: TableFacts

    @property
    def magnitude(self) -> Tensor:
        """Magnitudes, `(k, 1)`."""
        return torch.from_numpy(self.group.magnitude)[:, None]

    def uniform(self, draw: int) -> Tensor:
        """A uniform number for every cell, `(k, d)`, from a draw."""
        return uniform_places(self.seeds(draw), self.x.shape[1])

    def seeds(self, draw: int) -> Tensor:
        """A draw as seeds, `(k,)`, int64."""
        return torch.from_numpy(self.group.seeds(draw))

    def replaced(self, is_hit: Tensor, values: Tensor) -> Tensor:
        """The rows with other values in cells that are hit, where both are known."""
        return torch.where(is_hit & ~self.x.isnan() & ~values.isnan(), values, self.x)


def gaussian_noise(rows: TableRows) -> Tensor:
    """`x + m std n(0, 1)` in every column of numbers."""
    noise = normals(rows.seeds(0), rows.x.shape[1]).to(rows.x.dtype)
    return rows.x + rows.magnitude * rows.facts.std * noise


def swap_noise(rows: TableRows) -> Tensor:
    """A cell whose uniform number is below m becomes a known training value of its column."""
    return rows.replaced(rows.uniform(0) < rows.magnitude, _from_column(rows))


def categorical_resample(rows: TableRows) -> Tensor:
    """As `swap_noise`, in columns of categories."""
    is_hit = (rows.uniform(0) < rows.magnitude) & rows.facts.is_categorical
    return rows.replaced(is_hit, _from_column(rows))


def feature_dropout(rows: TableRows) -> Tensor:
    """A cell whose uniform number is below m becomes its column's mean or commonest category."""
    is_hit = rows.uniform(0) < rows.magnitude
    return rows.replaced(is_hit, rows.facts.filler.expand_as(rows.x))


def interpolate(rows: TableRows) -> Tensor:
    """`x + m (z - x)`, z one of the nearest training rows of the class, x itself left out.

    A category becomes that of z where its uniform number is below m.
    """
    if rows.y is None or not rows.facts.rows:
        raise InvalidValueError(
            "Op 'interpolate' stays within the class of a row, which it is not told. Call "
            "transform.fit(x, y) with the training rows, and transform(x, y) with each batch."
        )
    z = torch.full_like(rows.x, float("nan"))
    share = torch.from_numpy(rows.group.draws[:, 0].copy())
    for label in sorted(set(rows.y.tolist()) & rows.facts.rows.keys()):
        mine = (rows.y == label).nonzero()[:, 0]
        candidates = rows.facts.rows[label]
        distance = torch.cdist(
            rows.facts.place(rows.x[mine]),
            rows.facts.places[label],
            compute_mode="donot_use_mm_for_euclid_dist",  # a pair's distance is that of any batch
        )
        distance[distance < SAME_ROW] = float("inf")
        nearest = distance.sort(dim=1, stable=True)
        n_found = nearest.values[:, :N_NEIGHBOURS].isfinite().sum(dim=1)
        chosen = (share[mine] * n_found).long()
        found = candidates[nearest.indices.gather(1, chosen[:, None])[:, 0]]
        z[mine] = torch.where((n_found > 0)[:, None], found, float("nan"))
    moved = rows.x + rows.magnitude * (z - rows.x)
    is_hit = rows.uniform(1) < rows.magnitude
    values = torch.where(rows.facts.is_categorical, z, moved)
    return rows.replaced(is_hit | ~rows.facts.is_categorical, values)


Kernel = Callable[[TableRows], Tensor]

KERNELS: dict[str, Kernel] = {
    "gaussian_noise": gaussian_noise,
    "swap_noise": swap_noise,
    "feature_dropout": feature_dropout,
    "categorical_resample": categorical_resample,
    "interpolate": interpolate,
}


def apply_stages(
    x: Tensor, y: Tensor | None, groups: Iterable[StageGroup], facts: TableFacts
) -> Tensor:
    """Applies to every row its own operations, as `tabular-1` defines them.

    Args:
      x: Shape `(n, d)`, floating, on any device; computed in float64 on the CPU. NaN is a missing
        value. Not modified.
      y: Class of each row, `(n,)`, int64, for `interpolate`.
      groups: The work, see `policysearch.ops.stages.stage_groups`.
      facts: What training rows tell of the columns.

    Returns:
      A new tensor of the same shape, dtype and device; `x` itself where nothing is to be done.

    Raises:
      InvalidValueError: For other columns than those of the training rows.
    """
    if x.ndim != 2 or not x.dtype.is_floating_point or x.shape[1] != len(facts.std):
        raise InvalidValueError(
            f"`x` must be floating of shape (n, {len(facts.std)}), with the columns that the "
            f"transform was fitted to, got {x.dtype} of {tuple(x.shape)}."
        )
    out: Tensor | None = None
    for group in groups:
        if out is None:
            out = x.to("cpu", torch.float64, copy=True)
        places = torch.from_numpy(group.rows)
        rows = TableRows(out[places], None if y is None else y[places], group, facts)
        out[places] = KERNELS[group.op](rows)
    return x if out is None else out.to(x)


def _from_column(rows: TableRows) -> Tensor:
    """A known training value for every cell, each as often as it occurs; NaN where none is."""
    n_known = rows.facts.n_known
    pick = (rows.uniform(1) * n_known).long().minimum((n_known - 1).clamp_min(0))
    return rows.facts.values.gather(0, pick)
