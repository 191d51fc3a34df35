"""The operations of a batch in torch: any device, any dtype that images have.

Every sample brings its own operation and magnitude. A stage sorts the samples into families and
calls each family once, so that the number of torch calls depends on the operations that occur
and not on the number of samples.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.ops import (
    image_color,
    image_elastic,
    image_filter,
    image_geometry,
    image_medical,
    image_table,
    image_volume,
)
from policysearch.ops.kernel import OP_NAMES, ImageSettings, OpRows, in_groups

_Family = Callable[[Tensor, OpRows, ImageSettings], Tensor]
#: Operations by the module that computes them; of a volume, in each of its slices alike.
_IN_PLANE: tuple[tuple[frozenset[str], _Family], ...] = (
    (image_geometry.OPS, image_geometry.apply),
    (image_filter.OPS, image_filter.apply),
    (image_medical.OPS - {"gamma_retained"}, image_medical.apply),
)
#: Those that see the values of a volume as a whole.
_OF_VALUES: tuple[tuple[frozenset[str], _Family], ...] = (
    (image_table.OPS, image_table.apply),
    (image_color.OPS, image_color.apply),
    (frozenset({"gamma_retained"}), image_medical.apply),
)
_FAMILIES = _IN_PLANE + _OF_VALUES
_NO_FAMILY = -1


def _family_of(name: str) -> int:
    for family, (names, _) in enumerate(_FAMILIES):
        if name in names:
            return family
    return _NO_FAMILY


_CODE_FAMILY = np.array([*map(_family_of, OP_NAMES), _NO_FAMILY])


def apply(x: Tensor, stages: OpRows, settings: ImageSettings) -> Tensor:
    """Applies all stages in turn; see `image_kernels.apply_stages`, which checks and calls it."""
    x = x.contiguous()
    runs = image_elastic.find_runs(stages.code)
    for stage in range(stages.code.shape[1]):
        code = stages.code[:, stage]
        if runs is not None:
            code = np.where(runs.number[:, stage] > 0, _NO_FAMILY, code)
        rows = OpRows(code, stages.magnitude[:, stage], stages.draws[:, stage])
        if (rows.code >= 0).any():
            x = _as_floats(x, functools.partial(_apply_families, rows=rows, settings=settings))
        if runs is not None and runs.is_last[:, stage].any():
            x = _as_floats(
                x,
                functools.partial(_warp, stages=stages, runs=runs, last=stage, settings=settings),
            )
    return x


def _as_floats(x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """What a change makes of images that kernels take as floats, in their own dtype again."""
    if x.dtype == torch.uint16:
        return torch.round(change(x.to(torch.float32) / 65535) * 65535).to(torch.uint16)
    if x.dtype in (torch.float16, torch.bfloat16):
        return change(x.to(torch.float32)).to(x.dtype)
    return change(x)


def _warp(
    x: Tensor, stages: OpRows, runs: image_elastic.Runs, last: int, settings: ImageSettings
) -> Tensor:
    def bent(rows: NDArray[np.intp], part: Tensor) -> Tensor:
        warp = functools.partial(
            image_elastic.warp,
            stages=stages.take(rows),
            runs=runs.take(rows),
            last=last,
            settings=settings,
        )
        return _as_image(part, warp, True)

    def bent_deep(rows: NDArray[np.intp], part: Tensor) -> Tensor:
        return image_volume.warp(part, stages.take(rows), runs.take(rows), last, settings)

    is_mine, is_deep = runs.is_last[:, last], runs.is_deep[:, last]
    groups = [
        (rows, functools.partial(change, rows))
        for rows, change in (
            ((is_mine & ~is_deep).nonzero()[0], bent),
            (is_deep.nonzero()[0], bent_deep),
            ((~is_mine).nonzero()[0], lambda _, part: part),
        )
        if rows.size
    ]
    return in_groups(x, groups)


def _apply_families(x: Tensor, rows: OpRows, settings: ImageSettings) -> Tensor:
    family = _CODE_FAMILY[rows.code]
    present: set[int] = set(family.tolist())
    groups: list[tuple[NDArray[np.intp], Callable[[Tensor], Tensor]]] = []
    for k in sorted(present):
        chosen = (family == k).nonzero()[0]
        groups.append((chosen, _change(k, rows.take(chosen), settings)))
    return in_groups(x, groups)


def _change(family: int, rows: OpRows, settings: ImageSettings) -> Callable[[Tensor], Tensor]:
    if family == _NO_FAMILY:
        return lambda part: part
    change = _FAMILIES[family][1]
    is_in_plane = family < len(_IN_PLANE)
    return lambda part: _as_image(part, lambda view: change(view, rows, settings), is_in_plane)


def _as_image(x: Tensor, change: Callable[[Tensor], Tensor], is_in_plane: bool) -> Tensor:
    """Changes a volume `(n, C, D, H, W)` as an image: slices as channels, or one below another."""
    if x.ndim == 4:
        return change(x)
    return change(x.flatten(1, 2) if is_in_plane else x.flatten(2, 3)).view(x.shape)
