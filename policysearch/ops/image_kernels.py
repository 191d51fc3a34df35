"""The way into the image kernels: one stage of a policy on a batch.

Every sample brings its own operation and magnitude. A stage sorts the samples into families and
calls each family once, so that the number of torch calls depends on the operations that occur
and not on the number of samples. Kernels know no policy, no level and no probability.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.errors import InvalidValueError
from policysearch.ops import image_color, image_filter, image_geometry, image_table
from policysearch.ops.kernel import N_DRAWS, OP_CODE, OP_NAMES, ImageSettings, OpRows, in_groups
from policysearch.ops.registry import get_spec, op_table

__all__ = ["ImageSettings", "apply_stage"]

_Family = Callable[[Tensor, OpRows, ImageSettings], Tensor]
_FAMILIES: tuple[_Family, ...] = (
    image_geometry.apply,
    image_table.apply,
    image_color.apply,
    image_filter.apply,
)
_FAMILY_OPS = (image_geometry.OPS, image_table.OPS, image_color.OPS, image_filter.OPS)
_NO_FAMILY = -1


def _family_of(name: str) -> int:
    for family, names in enumerate(_FAMILY_OPS):
        if name in names:
            return family
    return _NO_FAMILY


# Family of each op code, and magnitude that is the identity (NaN: none).
_CODE_FAMILY = np.array([_family_of(name) for name in OP_NAMES])
_CODE_IDLE = np.array(
    [
        spec.low if spec.is_identity_at_low and spec.has_magnitude else np.nan
        for spec in op_table("image").values()
    ]
)


def apply_stage(
    x: Tensor,
    ops: Sequence[str],
    op_index: Tensor,
    magnitude: Tensor,
    draws: Tensor,
    settings: ImageSettings,
) -> Tensor:
    """Applies to every sample its own operation, as `image-1` defines it.

    Args:
      x: Shape `(n, C, H, W)`, on any device: `uint8`; `uint16`, computed as floats and rounded
        back; or floating in [0, 1] (half precision is computed in float32).
      ops: Names of operations.
      op_index: Shape `(n,)`, int64: entry of `ops` for each sample, -1 to leave it as it is.
      magnitude: Shape `(n,)`, float64: in the default unit of the op, with its sign; ignored
        by ops without a magnitude.
      draws: Shape `(n, 16)` or wider, float64: uniform numbers in [0, 1).
      settings: Interpolation and fill.

    Returns:
      A new tensor of the same shape and dtype, on the same device. Changed floats are cut to
      [0, 1]; NaN stays NaN. The result of a sample does not depend on the others.

    Raises:
      UnknownNameError: An operation is not in the table.
      InvalidValueError: A shape or dtype breaks the rules above.
    """
    codes = np.array([_code(name) for name in ops], dtype=np.int64)
    rows = _rows(x, codes, op_index, magnitude, draws)
    if x.dtype == torch.uint16:
        values = x.to(torch.float32) / 65535
        out = _apply_families(values, rows, settings)
        return torch.round(out * 65535).to(torch.uint16)
    if x.dtype in (torch.float16, torch.bfloat16):
        return _apply_families(x.to(torch.float32), rows, settings).to(x.dtype)
    return _apply_families(x, rows, settings)


def _code(name: str) -> int:
    return OP_CODE[get_spec("image", name).name]


def _rows(
    x: Tensor, codes: NDArray[np.int64], op_index: Tensor, magnitude: Tensor, draws: Tensor
) -> OpRows:
    """Checks the arguments of a stage and moves its plan to the host; code -1: leave alone."""
    if x.ndim != 4:
        raise InvalidValueError(f"`x` must have shape (n, C, H, W), got {tuple(x.shape)}.")
    if x.dtype not in (torch.uint8, torch.uint16) and not x.dtype.is_floating_point:
        raise InvalidValueError(f"`x` must be uint8, uint16 or floating, got {x.dtype}.")
    n = x.shape[0]
    if op_index.shape != (n,) or magnitude.shape != (n,):
        raise InvalidValueError(
            f"`op_index` and `magnitude` must have shape ({n},), "
            f"got {tuple(op_index.shape)} and {tuple(magnitude.shape)}."
        )
    if draws.ndim != 2 or draws.shape[0] != n or draws.shape[1] < N_DRAWS:
        raise InvalidValueError(
            f"`draws` must have shape ({n}, at least {N_DRAWS}), got {tuple(draws.shape)}."
        )
    index = op_index.cpu().numpy()
    if n and not -1 <= index.min() <= index.max() < len(codes):
        raise InvalidValueError(f"`op_index` must be in [-1, {len(codes) - 1}].")
    code = np.append(codes, -1)[index]
    return OpRows(code, magnitude.cpu().numpy().astype(np.float64), draws.cpu().numpy())


def _apply_families(x: Tensor, rows: OpRows, settings: ImageSettings) -> Tensor:
    is_idle = (rows.code < 0) | (_CODE_IDLE[rows.code] == rows.magnitude)
    family = np.where(is_idle, _NO_FAMILY, _CODE_FAMILY[rows.code])
    present: set[int] = set(family.tolist())
    if x.numel() == 0 or present <= {_NO_FAMILY}:
        return x.clone()
    groups: list[tuple[NDArray[np.intp], Callable[[Tensor], Tensor]]] = []
    for k in sorted(present):
        chosen = (family == k).nonzero()[0]
        groups.append((chosen, _change(k, rows.take(chosen), settings)))
    return in_groups(x, groups)


def _change(family: int, rows: OpRows, settings: ImageSettings) -> Callable[[Tensor], Tensor]:
    if family == _NO_FAMILY:
        return lambda part: part
    return lambda part: _FAMILIES[family](part, rows, settings)
