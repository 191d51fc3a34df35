"""What runs along one axis of time: floating `(n, C, T)` tensors, padded to their longest or not.

Time series and sound come in alike; what they are called and whether values may be missing is
theirs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.errors import InvalidValueError, shortened
from policysearch.modalities.base import Batch, Restore, TensorModality


class TraceModality(TensorModality):
    """Numpy or torch `(T,)`, `(C, T)` or `(n, C, T)`, floating.

    Attributes:
      noun: What one of them is called in messages.
      axis: Letter of the time axis in messages.
      may_miss_values: NaN is a missing value, not a mistake.
      advice: How whole numbers become what is taken.
    """

    noun: str
    axis: str
    may_miss_values: bool
    advice: str

    def take_in(
        self,
        x: Any,
        lengths: Any = None,
        y: Any = None,  # noqa: ARG002 -- no operation along time needs classes
    ) -> tuple[Batch, Restore]:
        """See `Modality`."""
        tensor = self._tensor(x)
        self._check(tensor)
        shape = tuple(tensor.shape)
        batch = tensor.reshape((1,) * (3 - len(shape)) + shape)
        is_array = isinstance(x, np.ndarray)

        def restore(out: Tensor) -> Any:
            same = out.reshape(shape)
            return same.numpy() if is_array else same

        return Batch(batch, self._lengths(lengths, batch, n_dims=len(shape))), restore

    def _tensor(self, x: Any) -> Tensor:
        if isinstance(x, Tensor):
            return x
        if not isinstance(x, np.ndarray):
            raise InvalidValueError(
                f"A {self.noun} must be a numpy array or a torch tensor, got {type(x).__name__}."
            )
        if x.dtype.kind != "f" or x.dtype.itemsize > 8:
            raise InvalidValueError(self._dtype_text(x.dtype.name))
        # torch warns of memory that must not be written to, and knows neither foreign byte orders
        # nor negative strides
        is_plain = x.flags.writeable and x.flags.c_contiguous and x.dtype.isnative
        return torch.from_numpy(x if is_plain else np.array(x, dtype=x.dtype.newbyteorder("=")))

    def _dtype_text(self, name: str) -> str:
        return f"A {self.noun} must be floating, got {name}. {self.advice}"

    def _check(self, x: Tensor) -> None:
        if not x.dtype.is_floating_point:
            raise InvalidValueError(self._dtype_text(str(x.dtype).removeprefix("torch.")))
        if x.requires_grad:
            raise InvalidValueError(
                f"A {self.noun} must not require grad: most operations cannot pass it. "
                "Use x.detach()."
            )
        if x.ndim not in (1, 2, 3) or 0 in x.shape[x.ndim == 3 :]:
            t = self.axis
            raise InvalidValueError(
                f"A {self.noun} must be ({t},) or (C, {t}), or a batch (n, C, {t}), none of C and "
                f"{t} 0, got shape {tuple(x.shape)}."
            )
        if x.device.type != "cpu" or math.isfinite(float(x.sum())):
            return  # a sum is many times as fast as a look at every value, and keeps NaN and inf
        if bool(x.isinf().any()):
            or_missing = ", or NaN where a value is missing" if self.may_miss_values else ""
            raise InvalidValueError(f"A {self.noun} must be finite{or_missing}, got infinity.")
        if not self.may_miss_values and bool(x.isnan().any()):
            raise InvalidValueError(f"A {self.noun} must be finite, got NaN.")

    def _lengths(self, lengths: Any, batch: Tensor, n_dims: int) -> NDArray[np.int64] | None:
        if lengths is None:
            return None
        if isinstance(lengths, Tensor):
            lengths = lengths.detach().cpu().numpy()
        found = np.atleast_1d(np.asarray(lengths))
        n, longest = len(batch), batch.shape[2]
        if found.dtype.kind not in "iu" or found.shape != (n,):
            form = f"{n} whole numbers" if n_dims == 3 else "one whole number"
            raise InvalidValueError(f"`lengths` must be {form}, got {shortened(lengths)}.")
        if found.size and not 1 <= int(found.min()) <= int(found.max()) <= longest:
            raise InvalidValueError(
                f"`lengths` must be in [1, {longest}], the length of the padded {self.noun}, got "
                f"{int(found.min())} to {int(found.max())}."
            )
        return found.astype(np.int64)
