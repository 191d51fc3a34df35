"""Time series: floating `(n, C, L)` tensors, with lengths where they are padded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.draws import Drawn
from policysearch.errors import InvalidValueError, shortened
from policysearch.modalities.base import Batch, Restore, TensorModality
from policysearch.ops.series_kernels import apply_stages
from policysearch.ops.stages import stage_groups
from policysearch.policy import Policy


class SeriesModality(TensorModality):
    """Numpy or torch `(L,)`, `(C, L)` or `(n, C, L)`, floating; NaN is a missing value."""

    def take_in(
        self,
        x: Any,
        lengths: Any = None,
        y: Any = None,  # noqa: ARG002 -- no operation on series needs classes
    ) -> tuple[Batch, Restore]:
        """See `Modality`."""
        tensor = _tensor(x)
        _check(tensor)
        shape = tuple(tensor.shape)
        batch = tensor.reshape((1,) * (3 - len(shape)) + shape)
        is_array = isinstance(x, np.ndarray)

        def restore(out: Tensor) -> Any:
            same = out.reshape(shape)
            return same.numpy() if is_array else same

        return Batch(batch, _lengths(lengths, batch, n_dims=len(shape))), restore

    def apply_chain(self, batch: Batch, drawn: Drawn, policy: Policy) -> Tensor:
        """See `TensorModality`."""
        x: Tensor = batch.x
        lengths = batch.lengths
        if lengths is None:
            lengths = np.full(len(x), x.shape[2], dtype=np.int64)
        groups = stage_groups(
            policy.modality, drawn.ops, drawn.op_index, drawn.magnitude, drawn.extra
        )
        return apply_stages(x, torch.from_numpy(lengths).to(x.device), groups)


MODALITY = SeriesModality()


def _tensor(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x
    if not isinstance(x, np.ndarray):
        raise InvalidValueError(
            f"A series must be a numpy array or a torch tensor, got {type(x).__name__}."
        )
    if x.dtype.kind != "f" or x.dtype.itemsize > 8:
        raise InvalidValueError(_dtype_text(x.dtype.name))
    # torch warns of memory that must not be written to, and knows neither foreign byte orders nor
    # negative strides
    is_plain = x.flags.writeable and x.flags.c_contiguous and x.dtype.isnative
    return torch.from_numpy(x if is_plain else np.array(x, dtype=x.dtype.newbyteorder("=")))


def _dtype_text(name: str) -> str:
    return f"A series must be floating, got {name}. Use x.astype('float32') or x.float()."


def _check(x: Tensor) -> None:
    if not x.dtype.is_floating_point:
        raise InvalidValueError(_dtype_text(str(x.dtype).removeprefix("torch.")))
    if x.requires_grad:
        raise InvalidValueError(
            "A series must not require grad: most operations cannot pass it. Use x.detach()."
        )
    if x.ndim not in (1, 2, 3) or 0 in x.shape[x.ndim == 3 :]:
        raise InvalidValueError(
            "A series must be (L,) or (C, L), or a batch (n, C, L), none of C and L 0, got shape "
            f"{tuple(x.shape)}."
        )
    if x.device.type == "cpu" and bool(x.isinf().any()):
        raise InvalidValueError(
            "A series must be finite, or NaN where a value is missing, got infinity."
        )


def _lengths(lengths: Any, batch: Tensor, n_dims: int) -> NDArray[np.int64] | None:
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
            f"`lengths` must be in [1, {longest}], the length of the padded series, got "
            f"{int(found.min())} to {int(found.max())}."
        )
    return found.astype(np.int64)
