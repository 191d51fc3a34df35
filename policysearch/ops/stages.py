"""The stages of a policy on a batch, as work for kernels: which samples get which operation.

Kernels know no policy, no level and no probability. What they share before they touch a sample,
whatever its kind, is here: arguments are checked, operations at a magnitude that changes nothing
are dropped, and samples with the same operation come together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policysearch.errors import InvalidValueError
from policysearch.ops.registry import get_spec
from policysearch.ops.spec import OpSpec


@dataclass(frozen=True, slots=True)
class StageGroup:
    """Samples that get the same operation at the same stage.

    Attributes:
      op: Name of the operation.
      rows: Their places in the batch, ascending, `(k,)`.
      magnitude: Of each, in the default unit of the op, with its sign, `(k,)`.
      draws: Uniform numbers of each in [0, 1), `(k, n_draws)` as the op declares.
    """

    op: str
    rows: NDArray[np.intp]
    magnitude: NDArray[np.float64]
    draws: NDArray[np.float64]

    def seeds(self, draw: int = 0) -> NDArray[np.int64]:
        """A draw as a seed of 53 bits, for operations that need many numbers; `(k,)`."""
        return (self.draws[:, draw] * 2.0**53).astype(np.int64)


def stage_groups(
    modality: str,
    ops: Sequence[str],
    op_index: ArrayLike,
    magnitude: ArrayLike,
    draws: ArrayLike,
) -> Iterator[StageGroup]:
    """Yields the work of a batch, stage by stage, within a stage in the order of `ops`.

    Args:
      modality: Whose operations they are.
      ops: Names of operations.
      op_index: Shape `(n, n_stages)`, integers: entry of `ops`, -1 to leave the sample alone.
      magnitude: Shape `(n, n_stages)`: in the default unit of the op, with its sign; ignored by
        ops without a magnitude.
      draws: Shape `(n, n_stages, k)`: uniform numbers in [0, 1); missing ones are 0.

    Raises:
      UnknownNameError: An operation is not in the table.
      InvalidValueError: A shape or value breaks the rules above.
    """
    specs = [get_spec(modality, name) for name in ops]
    index, amount, uniform = (np.asarray(values) for values in (op_index, magnitude, draws))
    _check(specs, index, amount, uniform)
    for stage in range(index.shape[1]):
        for i, spec in enumerate(specs):
            is_mine = index[:, stage] == i
            if spec.has_magnitude and spec.is_identity_at_low:
                is_mine &= amount[:, stage] != spec.low
            rows = is_mine.nonzero()[0]
            if spec.name == "identity" or not rows.size:
                continue
            mine = uniform[rows, stage, : spec.n_draws]
            missing = spec.n_draws - mine.shape[1]
            yield StageGroup(
                spec.name,
                rows,
                amount[rows, stage].astype(np.float64),
                np.pad(mine.astype(np.float64), ((0, 0), (0, missing))),
            )


def _check(
    specs: Sequence[OpSpec],
    index: NDArray[np.generic],
    magnitude: NDArray[np.float64],
    draws: NDArray[np.float64],
) -> None:
    shape = index.shape
    if len(shape) != 2 or magnitude.shape != shape:
        raise InvalidValueError(
            "`op_index` and `magnitude` must have shape (n, n_stages), "
            f"got {shape} and {magnitude.shape}."
        )
    if draws.ndim != 3 or draws.shape[:2] != shape:
        raise InvalidValueError(
            f"`draws` must have shape ({shape[0]}, {shape[1]}, k), got {draws.shape}."
        )
    if index.size and not -1 <= int(index.min()) <= int(index.max()) < len(specs):
        raise InvalidValueError(f"`op_index` must be in [-1, {len(specs) - 1}].")
    # The slack is for magnitudes that went through a decimal number or a sign.
    limits = [s.maximum * (1 + 1e-9) if s.has_magnitude else np.inf for s in specs]
    if not (np.abs(magnitude) <= np.array([*limits, np.inf])[index]).all():
        raise InvalidValueError(
            "`magnitude` must be finite and within the range of its operation."
        )
    if draws.size and not (draws.min() >= 0 and draws.max() < 1):
        raise InvalidValueError("`draws` must be in [0, 1).")


def batches_of(
    group: StageGroup, sizes: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the batch of each sample of a group begins, and its size.

    Args:
      group: Gives the samples.
      sizes: Sizes of the batches that lie one after the other.
    """
    edges = np.cumsum([0, *sizes])
    place = np.searchsorted(edges, group.rows, side="right") - 1
    return edges[place], np.diff(edges)[place]
