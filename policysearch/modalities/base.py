"""What a transform needs to know of a kind of data, and what those made of tensors share."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.draws import Drawn
from policysearch.errors import InvalidValueError
from policysearch.mixture import mixed, repeated
from policysearch.policy import Policy

#: Which kind of data a setting of `load_policy` is for.
_SETTINGS = {
    "sample_rate": "audio",
    "background": "audio",
    "representation": "audio",
    "thesaurus": "text",
    "unknown": "text",
    "categorical": "tabular",
}

#: Turns augmented samples back into what the user gave: its type, and one sample or many.
Restore = Callable[[Any], Any]


@dataclass(frozen=True)
class Batch:
    """Samples as the kernels of their modality see them, with what belongs to each.

    Attributes:
      x: One entry per sample along the first axis; a tensor, an array or a list.
      lengths: Steps of each sample that are data and no padding, `(n,)` int64; `None`: all.
      y: Class of each sample, `(n,)` int64, for operations that need it; `None`: not known.
      settings: What a modality needs to know of all samples, such as their sample rate.
    """

    x: Any
    lengths: NDArray[np.int64] | None = None
    y: NDArray[np.int64] | None = None
    settings: Any = None

    def __len__(self) -> int:
        return len(self.x)

    def repeated(self, part: slice, n_copies: int) -> Batch:
        """The samples of a part, each several times in a row; for tensors."""
        lengths, y = (
            None if values is None else np.repeat(values[part], n_copies)
            for values in (self.lengths, self.y)
        )
        return Batch(repeated(self.x[part], n_copies), lengths, y, self.settings)


class Modality(abc.ABC):
    """One kind of data, for a transform: from the user's samples to augmented ones and back.

    Attributes:
      bounds: Least and largest value of `as_floats`, where there are such.
    """

    bounds: tuple[float | None, float | None] = (None, None)

    def one(self, x: Any) -> tuple[Any, Restore]:
        """A single sample as `take_in` knows one, with the function that undoes that."""
        return x, lambda out: out

    @abc.abstractmethod
    def take_in(self, x: Any, lengths: Any = None, y: Any = None) -> tuple[Batch, Restore]:
        """Turns one sample, or many, into a batch, with the function that turns it back.

        Args:
          x: What the user holds. Not modified, here nor later.
          lengths: True length of each sample, for modalities whose samples may be padded.
          y: Classes, as the user holds them; only those are looked at that an op needs.

        Raises:
          InvalidValueError: For another type, shape, dtype or range; says what to do.
        """

    @abc.abstractmethod
    def apply(self, batch: Batch, drawn: Drawn, policy: Policy) -> Any:
        """Applies what was drawn, one row per sample.

        Returns:
          The new `x` of the batch; the old one itself where no stage applies. A sample's result
          depends on the sample and its row alone, unless an op needs others by its nature.
        """

    def after(self, batch: Batch, drawn: Drawn, policy: Policy) -> Batch:
        """The batch with what was drawn applied."""
        return dataclasses.replace(batch, x=self.apply(batch, drawn, policy))

    def settings(self, told: Any, **said: Any) -> Any:
        """What is known of all samples: `told` before, with what is said now (not `None`).

        Raises:
          InvalidValueError: For a value that is wrong, or means nothing for this kind of data.
        """
        for name, value in said.items():
            if value is not None:
                raise InvalidValueError(
                    f"`{name}` is for {_SETTINGS[name]} policies. Leave it out."
                )
        return told

    def fitted(self, told: Any, x: Any, y: Any = None) -> Any:  # noqa: ARG002
        """What is known of all samples, with what operations learn from training samples.

        Args:
          told: What was known before.
          x: All training samples, as `take_in` takes them.
          y: Their classes.
        """
        return told

    def moved(self, mask: Any, batch: Batch, drawn: Drawn, policy: Policy) -> Any:  # noqa: ARG002
        """Masks of samples, moved as what was drawn moves these.

        Raises:
          InvalidValueError: For a kind of data that has no masks, or masks of another shape.
        """
        raise InvalidValueError(
            f"`mask` is for image policies, this one is for {policy.modality} data. Leave it out."
        )

    def categorical(self, batch: Batch) -> Tensor | None:  # noqa: ARG002
        """Which columns hold categories, `(d,)` bool; `None` where there are no such columns."""
        return None

    def rounded(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        """Averages, in the scale of the dtype, as values of it."""
        return values.to(dtype)

    def as_floats(self, x: Tensor) -> Tensor:
        """Samples as a model gets them, float32."""
        return x.to(torch.float32)

    def of_floats(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Inverse of `as_floats`, for floats that were changed."""
        return self.rounded(x, dtype)

    def unit_of(self, x: Tensor, lengths: NDArray[np.int64] | None) -> Tensor:  # noqa: ARG002
        """What a magnitude of 1 of an adversarial operation is in values of floats `x`."""
        return torch.ones((), dtype=x.dtype, device=x.device)

    def one_by_one(self, drawn: Drawn, policy: Policy) -> OneByOne:
        """Applies drawn rows to single samples that come one after the other."""
        return OneByOne(self, drawn, policy)

    def each(self, batches: Sequence[Batch], drawn: Drawn, policy: Policy) -> list[Any]:
        """Applies drawn rows to batches of one sample each; returns the `x` of each."""
        one_by_one = self.one_by_one(drawn, policy)
        return [one_by_one.apply(batch, row) for row, batch in enumerate(batches)]


class OneByOne:
    """Draws for several samples that come one by one."""

    def __init__(self, modality: Modality, drawn: Drawn, policy: Policy) -> None:
        self._modality = modality
        self._drawn = drawn
        self._policy = policy

    def apply(self, batch: Batch, row: int) -> Any:
        """Applies row `row` of the draws to a batch of one sample; returns its `x`."""
        return self._modality.apply(batch, self._drawn.rows(row, row + 1), self._policy)


class TensorModality(Modality):
    """A kind of data whose batches are one tensor, so that chains can be averaged."""

    @abc.abstractmethod
    def apply_chain(self, batch: Batch, drawn: Drawn, policy: Policy) -> Tensor:
        """Applies draws of a single chain (see `apply`)."""

    def as_values(self, total: Tensor, dtype: torch.dtype) -> Tensor:
        """An average, float32 or float64, as values of the batch's dtype."""
        return total.to(dtype)

    def apply(self, batch: Batch, drawn: Drawn, policy: Policy) -> Tensor:
        """Applies draws, and averages the chains of each sample where they are mixed."""
        if drawn.mix is None:
            return self.apply_chain(batch, drawn, policy)

        def chains_of(part: slice) -> Tensor:
            copies = batch.repeated(part, drawn.n_chains)
            chains = drawn.rows(part.start, part.stop).in_rows(len(copies))
            return self.apply_chain(copies, chains, policy)

        return self.average(batch.x, drawn, drawn.mix, chains_of)

    def average(
        self,
        x: Tensor,
        drawn: Drawn,
        mix: NDArray[np.float64],
        chains_of: Callable[[slice], Tensor],
    ) -> Tensor:
        """Averages samples with their chains (see `mixture.mixed`); `x` where no op was drawn."""
        is_changed = (drawn.op_index >= 0).any(axis=1, keepdims=True)
        if not is_changed.any():
            return x
        alone = np.eye(1, mix.shape[1])  # averaging a sample with itself could cost it a level
        return mixed(x, np.where(is_changed, mix, alone), chains_of, self.as_values)


def no_lengths(lengths: Any, many: str) -> None:
    """Refuses lengths for a modality whose samples have none."""
    if lengths is not None:
        raise InvalidValueError(f"`lengths` is for padded series, {many} have none. Leave it out.")


def with_rows(x: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """A copy of `x` with other values in some rows, in any dtype.

    Args:
      x: Shape `(n, ...)`.
      rows: Whole numbers `(k,)`, or bool `(n,)`.
      values: Shape `(k, ...)`.
    """
    out = x.clone()
    target, source = out, values.to(out)
    if x.dtype == torch.uint16:  # torch cannot write into its rows by their numbers
        target, source = out.view(torch.int16), source.view(torch.int16)
    target[rows.to(out.device)] = source
    return out
