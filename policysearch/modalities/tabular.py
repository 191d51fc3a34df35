"""Rows of a table: floating `(n, d)`, columns of numbers and of categories as numbers.

Which columns hold categories is said when a policy is loaded; what operations need to know of the
columns they learn from the training rows (`transform.fit`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.draws import Drawn
from policysearch.errors import InvalidValueError, shortened
from policysearch.modalities.base import Batch, Modality, Restore, no_lengths
from policysearch.ops.stages import stage_groups
from policysearch.ops.table_facts import TableFacts, table_facts
from policysearch.ops.tabular_kernels import apply_stages
from policysearch.policy import Policy


@dataclass(frozen=True, eq=False)
class TabularSettings:
    """What operations on rows need to know besides the row.

    Attributes:
      categorical: Places of the columns of categories.
      facts: What training rows tell of the columns; `None`: not fitted.
    """

    categorical: tuple[int, ...] = ()
    facts: TableFacts | None = None


class TabularModality(Modality):
    """Numpy or torch `(d,)` or `(n, d)`, floating; NaN is a missing value."""

    def take_in(self, x: Any, lengths: Any = None, y: Any = None) -> tuple[Batch, Restore]:
        """See `Modality`."""
        no_lengths(lengths, "rows")
        rows = _as_tensor(x)
        if rows.ndim not in (1, 2) or rows.shape[-1] == 0:
            raise InvalidValueError(
                f"A row must be (d,), or a batch (n, d), with d above 0, got {tuple(rows.shape)}."
            )
        if not bool(rows.sum().isfinite()) and bool(rows.isinf().any()):
            raise InvalidValueError(
                "A row must be finite, or NaN where a value is missing, got infinity."
            )
        shape, is_array = rows.shape, isinstance(x, np.ndarray)
        batch = rows.reshape(-1, shape[-1])

        def restore(out: Tensor) -> Any:
            same = out.reshape(shape)
            return same.numpy() if is_array else same

        return Batch(batch, y=_classes(y, len(batch))), restore

    def apply(self, batch: Batch, drawn: Drawn, policy: Policy) -> Tensor:
        """See `Modality`."""
        x: Tensor = batch.x
        if (drawn.op_index < 0).all():
            return x
        settings = batch.settings
        if not isinstance(settings, TabularSettings) or settings.facts is None:
            raise InvalidValueError(
                "A tabular policy measures by the training rows, which it has not seen. Call "
                "transform.fit(x, y) with all of them first."
            )
        y = None if batch.y is None else torch.from_numpy(batch.y)
        groups = stage_groups(
            policy.modality, drawn.ops, drawn.op_index, drawn.magnitude, drawn.extra
        )
        return apply_stages(x, y, groups, settings.facts)

    def categorical(self, batch: Batch) -> Tensor | None:
        """From the settings, or what was learned of the columns (see `Modality`)."""
        settings = batch.settings
        if not isinstance(settings, TabularSettings):
            return None
        if settings.facts is not None:
            return settings.facts.is_categorical
        is_categorical = torch.zeros(batch.x.shape[1], dtype=torch.bool)
        is_categorical[list(settings.categorical)] = True
        return is_categorical

    def each(self, batches: Sequence[Batch], drawn: Drawn, policy: Policy) -> list[Any]:
        """All at once, which is many times as fast (see `Modality`)."""
        if len({batch.x.shape[1] for batch in batches}) != 1:
            return super().each(batches, drawn, policy)
        ys = [batch.y for batch in batches if batch.y is not None]
        y = np.concatenate(ys) if len(ys) == len(batches) else None
        x = torch.cat([batch.x for batch in batches])
        together = Batch(x, y=y, settings=batches[0].settings)
        return list(torch.split(self.apply(together, drawn, policy), 1))

    def settings(self, told: Any, categorical: Any = None, **said: Any) -> TabularSettings:
        """Checks the places of columns of categories (see `Modality`)."""
        super().settings(told, **said)
        known = told if isinstance(told, TabularSettings) else TabularSettings()
        if categorical is None:
            return known
        is_list = isinstance(categorical, Iterable) and not isinstance(categorical, (str, bytes))
        places: list[Any] = list(categorical) if is_list else [None]
        if not all(isinstance(p, (int, np.integer)) and p >= 0 for p in places):
            raise InvalidValueError(
                "`categorical` must list the places of columns, from 0, such as [0, 3], got "
                f"{shortened(categorical)}."
            )
        return dataclasses.replace(known, categorical=tuple(sorted({int(p) for p in places})))

    def fitted(self, told: Any, x: Any, y: Any = None) -> TabularSettings:
        """Learns facts about the columns (see `Modality`)."""
        batch, _ = self.take_in(x, y=y)
        known = told if isinstance(told, TabularSettings) else TabularSettings()
        n, d = batch.x.shape
        if not n:
            raise InvalidValueError("`x` must hold at least one training row, got none.")
        if known.categorical and known.categorical[-1] >= d:
            raise InvalidValueError(
                f"`categorical` must be below {d}, the number of columns, got "
                f"{known.categorical[-1]}."
            )
        is_categorical = np.zeros(d, dtype=np.bool_)
        is_categorical[list(known.categorical)] = True
        rows = batch.x.detach().to("cpu", torch.float64).numpy()
        return dataclasses.replace(known, facts=table_facts(rows, is_categorical, batch.y))


MODALITY = TabularModality()


def _as_tensor(x: Any) -> Tensor:
    if not isinstance(x, (np.ndarray, Tensor)):
        raise InvalidValueError(
            f"A row must be a numpy array or a torch tensor, got {type(x).__name__}. Turn a data "
            "frame into numbers first, categories as their codes."
        )
    is_floating = x.dtype.is_floating_point if isinstance(x, Tensor) else x.dtype.kind == "f"
    if not is_floating or (isinstance(x, np.ndarray) and x.dtype.itemsize > 8):
        name = str(x.dtype).removeprefix("torch.")
        raise InvalidValueError(
            f"A row must be floating, got {name}. Use x.astype('float64') or x.double()."
        )
    if isinstance(x, Tensor):
        return x
    is_plain = x.flags.writeable and x.flags.c_contiguous and x.dtype.isnative
    return torch.from_numpy(x if is_plain else np.array(x, dtype=x.dtype.newbyteorder("=")))


def _classes(y: Any, n: int) -> NDArray[np.int64] | None:
    """Classes where they are whole numbers, one a row; `None` for targets of another kind."""
    if y is None:
        return None
    found = np.atleast_1d(y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y))
    if found.ndim != 1 or found.dtype.kind not in "iub":
        return None
    if len(found) != n:
        raise InvalidValueError(f"`y` must have a class for each of {n} rows, got {len(found)}.")
    return found.astype(np.int64)
