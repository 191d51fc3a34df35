"""The way into the image kernels: the stages of a policy on a batch.

Kernels know no policy, no level and no probability. Two sets of them have one meaning: machine
code for `uint8` on the CPU (`image_native`), torch for everything else (`image_torch`). A sample
takes the way that knows all its operations, so its result does not depend on the others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from policysearch.errors import InvalidValueError
from policysearch.ops import image_elastic, image_torch
from policysearch.ops.image_geometry import MAX_SIDE_INT32
from policysearch.ops.kernel import N_DRAWS, OP_CODE, ImageSettings, OpRows, in_groups
from policysearch.ops.registry import get_spec, op_table

__all__ = ["ImageSettings", "apply_stages"]

Kernels = Callable[[Tensor, OpRows, ImageSettings], Tensor]

# Magnitude of each op code that is the identity (NaN: none).
_CODE_IDLE = np.array(
    [
        spec.low if spec.is_identity_at_low and spec.has_magnitude else np.nan
        for spec in op_table("image").values()
    ]
    + [np.nan]
)
# Largest magnitude of each op code; one that does nothing may stand beside any.
_CODE_LIMIT = np.array(
    [
        spec.maximum * (1 + 1e-9) if spec.has_magnitude else np.inf
        for spec in op_table("image").values()
    ]
    + [np.inf]
)


def apply_stages(
    x: Tensor,
    ops: Sequence[str],
    op_index: ArrayLike,
    magnitude: ArrayLike,
    draws: ArrayLike,
    settings: ImageSettings,
    kernels: Kernels | None = None,
) -> Tensor:
    """Applies to every sample its own operations, one per stage, as `image-1` defines them.

    Args:
      x: Shape `(n, C, H, W)`, on any device, in any memory layout: `uint8`; `uint16`, computed as
        floats and rounded back; or floating in [0, 1] (half precision is computed in float32).
        Volumes are `(n, C, D, H, W)`: operations in the plane do the same in each of the D
        slices, statistics are those of the whole volume. Those that move through the depth leave
        flat images, and a single slice, as they are.
      ops: Names of operations.
      op_index: Shape `(n, n_stages)`, integers: entry of `ops`, -1 to leave the sample alone.
      magnitude: Shape `(n, n_stages)`: in the default unit of the op, with its sign; ignored by
        ops without a magnitude.
      draws: Shape `(n, n_stages, k)`: uniform numbers in [0, 1); missing ones up to 16 are 0.
      settings: Interpolation and fill.
      kernels: Kernels to use; the default is the fastest that know the dtype and device.

    Returns:
      A new tensor of the same shape, dtype and device; `x` itself where nothing is to be done.
      Changed floats are cut to [0, 1]; NaN stays NaN. The result of a sample does not depend on
      the others.

    Raises:
      UnknownNameError: An operation is not in the table.
      InvalidValueError: A shape or dtype breaks the rules above.
    """
    check_images(x)
    stages = as_rows(ops, np.asarray(op_index), np.asarray(magnitude), np.asarray(draws))
    stages = _for_depth(stages, x)
    if len(stages.code) != len(x):
        raise InvalidValueError(
            f"`op_index` must have shape ({len(x)}, n_stages), got {stages.code.shape}."
        )
    if x.numel() == 0 or (stages.code < 0).all():
        return x
    return (kernels or _fastest(x))(x, stages, settings)


def move(
    x: Tensor,
    ops: Sequence[str],
    op_index: ArrayLike,
    magnitude: ArrayLike,
    draws: ArrayLike,
) -> Tensor:
    """Moves what belongs to images, such as masks, along with them: nearest, filled with 0.

    Args:
      x: Shape `(n, C, H, W)` or `(n, C, D, H, W)`, any dtype; no value is changed, only moved.
      ops: As in `apply_stages`; operations that move nothing are left out.
      op_index: Likewise.
      magnitude: Likewise.
      draws: Likewise.
    """
    stages = as_rows(ops, np.asarray(op_index), np.asarray(magnitude), np.asarray(draws))
    stages = _for_depth(stages, x)
    code = np.where(np.isin(stages.code, image_elastic.MOVING), stages.code, -1)
    if x.numel() == 0 or (code < 0).all():
        return x
    plain = x if x.dtype.is_floating_point else x.to(torch.int64)
    moving = OpRows(code, stages.magnitude, stages.draws)
    return image_torch.apply(plain, moving, ImageSettings("nearest", 0.0)).to(x.dtype)


def check_images(x: Tensor) -> None:
    """Raises `InvalidValueError` where `x` is no batch of images that kernels know."""
    if x.ndim not in (4, 5):
        raise InvalidValueError(
            f"`x` must have shape (n, C, H, W) or (n, C, D, H, W), got {tuple(x.shape)}."
        )
    if x.dtype not in (torch.uint8, torch.uint16) and not x.dtype.is_floating_point:
        raise InvalidValueError(f"`x` must be uint8, uint16 or floating, got {x.dtype}.")


def as_rows(
    ops: Sequence[str],
    op_index: NDArray[np.int64],
    magnitude: NDArray[np.float64],
    draws: NDArray[np.float64],
) -> OpRows:
    """Stages as kernels read them, checked; operations that change nothing get code -1."""
    shape = op_index.shape
    if len(shape) != 2 or magnitude.shape != shape:
        raise InvalidValueError(
            "`op_index` and `magnitude` must have shape (n, n_stages), "
            f"got {shape} and {magnitude.shape}."
        )
    if draws.ndim != 3 or draws.shape[:2] != shape:
        raise InvalidValueError(
            f"`draws` must have shape ({shape[0]}, {shape[1]}, k), got {draws.shape}."
        )
    if op_index.size and not -1 <= op_index.min() <= op_index.max() < len(ops):
        raise InvalidValueError(f"`op_index` must be in [-1, {len(ops) - 1}].")
    code = _codes(tuple(ops))[op_index]
    # The slack is for magnitudes that went through a decimal number or a sign.
    if not (np.abs(magnitude) <= _CODE_LIMIT[code]).all():
        raise InvalidValueError(
            "`magnitude` must be finite and within the range of its operation."
        )
    if draws.size and not (draws.min() >= 0 and draws.max() < 1):
        raise InvalidValueError("`draws` must be in [0, 1).")
    code = np.where(_CODE_IDLE[code] == magnitude, -1, code)
    if draws.shape[2] == 0:
        draws = np.broadcast_to(np.float64(0), (*shape, N_DRAWS))
    elif draws.shape[2] < N_DRAWS:
        given, draws = draws, np.zeros((*shape, N_DRAWS))
        draws[:, :, : given.shape[2]] = given
    return OpRows(code, np.asarray(magnitude, dtype=np.float64), draws)


def _for_depth(stages: OpRows, x: Tensor) -> OpRows:
    """Stages without what moves through a depth, where images have none."""
    if x.ndim == 5 and x.shape[2] > 1:
        return stages
    is_deep = np.isin(stages.code, image_elastic.DEEP)
    if not is_deep.any():
        return stages
    return OpRows(np.where(is_deep, -1, stages.code), stages.magnitude, stages.draws)


@functools.lru_cache(maxsize=64)
def _codes(ops: tuple[str, ...]) -> NDArray[np.int64]:
    return np.array([OP_CODE[get_spec("image", name).name] for name in ops] + [-1])


def _fastest(x: Tensor) -> Kernels:
    compiler = compiler_for(x)
    return image_torch.apply if compiler is None else functools.partial(_by_ability, compiler)


def compiler_for(x: Tensor) -> ModuleType | None:
    """The module `image_program` where machine code takes images like these."""
    is_plain = x.dtype == torch.uint8 and x.device.type == "cpu" and x.ndim == 4
    if not is_plain or max(x.shape[2:]) > MAX_SIDE_INT32:
        return None
    return native_compiler()


@functools.cache
def native_compiler() -> ModuleType | None:
    """The module `image_program`, or `None` where numba cannot be imported."""
    try:
        from policysearch.ops import image_program
    except ImportError:
        return None
    return image_program


def _by_ability(
    compiler: ModuleType, x: Tensor, stages: OpRows, settings: ImageSettings
) -> Tensor:
    is_known = compiler.knows(stages.code)
    groups = [
        (rows, functools.partial(kernels, stages=stages.take(rows), settings=settings))
        for rows, kernels in (
            (is_known.nonzero()[0], compiler.apply),
            ((~is_known).nonzero()[0], image_torch.apply),
        )
        if rows.size
    ]
    return in_groups(x, groups)


class StagesAhead:
    """Stages of samples to come, each of which is one image of the same shape, dtype and device.

    Compiling them together costs about as much as compiling one.

    Args:
      stages: One row for each sample to come.
      like: A batch with the shape, dtype and device of the images.
      settings: Interpolation and fill.
    """

    def __init__(self, stages: OpRows, like: Tensor, settings: ImageSettings) -> None:
        self._stages = stages = _for_depth(stages, like)
        self._settings = settings
        self._is_idle = np.asarray((stages.code < 0).all(axis=1))
        compiler = compiler_for(like)
        self._program = None
        if compiler is not None and compiler.knows(stages.code).all():
            self._program = compiler.Program(stages, like, settings)

    def apply(self, x: Tensor, row: int) -> Tensor:
        """Applies the stages of a row to `x`, shape `(1, C, H, W)`; see `apply_stages`."""
        if self._is_idle[row]:
            return x
        if self._program is not None:
            result: Tensor = self._program.run(x, row)
            return result
        return _fastest(x)(x, self._stages.take(np.array([row])), self._settings)
