"""Images: `(n, C, H, W)` tensors, or volumes `(n, C, D, H, W)`, compiled where that helps."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.draws import Drawn
from policysearch.errors import InvalidValueError
from policysearch.mixture import as_levels
from policysearch.modalities.base import Batch, OneByOne, Restore, TensorModality, no_lengths
from policysearch.modalities.image_samples import as_batch
from policysearch.ops.image_kernels import (
    ImageSettings,
    StagesAhead,
    apply_stages,
    as_rows,
    move,
)
from policysearch.ops.registry import op_table
from policysearch.policy import Policy

_TOP = {torch.uint8: 255.0, torch.uint16: 65535.0}
_Like = tuple[torch.Size, torch.dtype, torch.device]


class ImageModality(TensorModality):
    """PIL images, numpy `(H, W)` or `(H, W, C)`, torch `(C, H, W)` or `(n, C, H, W)`.

    Volumes are batches `(n, C, D, H, W)` in torch.
    """

    bounds = (0.0, 1.0)

    def one(self, x: Any) -> tuple[Any, Restore]:
        """A tensor of four axes is a volume `(C, D, H, W)` (see `Modality`)."""
        if isinstance(x, Tensor) and x.ndim == 4:
            return x[None], lambda out: out[0]
        return super().one(x)

    def take_in(
        self,
        x: Any,
        lengths: Any = None,
        y: Any = None,  # noqa: ARG002 -- no operation on an image alone needs its class
    ) -> tuple[Batch, Restore]:
        """See `Modality`."""
        no_lengths(lengths, "images")
        batch, restore = as_batch(x)
        return Batch(batch), restore

    def apply_chain(self, batch: Batch, drawn: Drawn, policy: Policy) -> Tensor:
        """See `TensorModality`."""
        x: Tensor = batch.x
        if x.ndim == 4:
            _warn_of_depth(drawn.ops)
        return apply_stages(
            x, drawn.ops, drawn.op_index, _magnitudes(drawn, x), drawn.extra, _settings(policy)
        )

    def moved(self, mask: Any, batch: Batch, drawn: Drawn, policy: Policy) -> Any:
        """Masks moved as their images are, nearest (see `Modality`)."""
        if policy.mix is not None:
            raise InvalidValueError(
                "A policy with `mix` averages images, and masks have no average. Use one without."
            )
        masks = torch.from_numpy(np.ascontiguousarray(mask)) if is_array(mask) else mask
        spatial = tuple(batch.x.shape[2:])
        if not isinstance(masks, Tensor) or tuple(masks.shape[-len(spatial) :]) != spatial:
            got = tuple(masks.shape) if isinstance(masks, Tensor) else type(mask).__name__
            raise InvalidValueError(
                f"`mask` must be an array or tensor that ends in {spatial}, as the images do, got "
                f"{got}."
            )
        lead = math.prod(masks.shape[: -len(spatial)])
        if lead % max(1, len(batch)) or lead < len(batch):
            raise InvalidValueError(
                f"`mask` must hold the same number of masks for each of {len(batch)} images, got "
                f"shape {tuple(masks.shape)}."
            )
        whole = masks.reshape(len(batch), -1, *spatial) if len(batch) else masks[:, None]
        out = move(whole, drawn.ops, drawn.op_index, _magnitudes(drawn, batch.x), drawn.extra)
        same = out.reshape(masks.shape)
        return same.numpy() if is_array(mask) else same

    def as_values(self, total: Tensor, dtype: torch.dtype) -> Tensor:
        """Levels of the dtype, floats cut to [0, 1]."""
        return as_levels(total, dtype)

    def rounded(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        """To the nearest level of whole numbers, half rounds up; floats cut to [0, 1]."""
        return as_levels(values + 0.5 if dtype == torch.uint8 else values.clone(), dtype)

    def as_floats(self, x: Tensor) -> Tensor:
        """Images in [0, 1], float32."""
        return x.to(torch.float32) / _TOP.get(x.dtype, 1.0)

    def of_floats(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Levels of the dtype."""
        return self.rounded(x * _TOP.get(dtype, 1.0), dtype)

    def one_by_one(self, drawn: Drawn, policy: Policy) -> OneByOne:
        """See `Modality`."""
        return _ImagesOneByOne(self, drawn, policy)


MODALITY = ImageModality()


def is_array(mask: Any) -> bool:
    """Whether a mask is numpy's."""
    return isinstance(mask, np.ndarray)


@functools.lru_cache(maxsize=256)
def _deep(ops: tuple[str, ...]) -> tuple[str, ...]:
    table = op_table("image")
    return tuple(op for op in ops if op in table and table[op].needs_depth)


def _warn_of_depth(ops: tuple[str, ...]) -> None:
    """Says that flat images stay as they are under operations on volumes."""
    if deep := _deep(ops):
        warnings.warn(
            f"{', '.join(deep)}: these move volumes through their depth, and leave flat images as "
            "they are. A volume is (n, C, D, H, W): x[None] of (C, D, H, W), x[None, None] of "
            "(D, H, W).",
            stacklevel=2,
        )


def _settings(policy: Policy) -> ImageSettings:
    return ImageSettings(policy.interpolation, policy.fill)


def _magnitudes(drawn: Drawn, x: Tensor) -> NDArray[np.float64]:
    """Magnitudes in default units: shifts by pixels as fractions of the side they move along."""
    if not drawn.is_pixels.any():
        return drawn.magnitude
    along_y = np.array([name == "translate_y" for name in drawn.ops])
    side = np.where(along_y[drawn.op_index], x.shape[-2], x.shape[-1])
    fraction = np.clip(drawn.magnitude / side, -1.0, 1.0)
    return np.where(drawn.is_pixels, fraction, drawn.magnitude)


class _ImagesOneByOne(OneByOne):
    """Draws for several samples that come one by one, as single images.

    They are compiled together, which costs about as much as compiling one, as soon as two
    neighbours have the same shape.
    """

    def __init__(self, modality: ImageModality, drawn: Drawn, policy: Policy) -> None:
        super().__init__(modality, drawn, policy)
        self._images = modality
        # One value, so that threads see a shape with its own stages or not at all.
        self._compiled_for: tuple[_Like, StagesAhead | None] | None = None

    def apply(self, batch: Batch, row: int) -> Tensor:
        """Applies row `row` of the draws to an image, shape `(1, C, H, W)`."""
        x: Tensor = batch.x
        like = (x.shape, x.dtype, x.device)
        known = self._compiled_for
        if known is None or known[0] != like:
            self._compiled_for = like, None
            return self._images.apply(batch, self._drawn.rows(row, row + 1), self._policy)
        stages = known[1]
        if stages is None:
            stages = self._compiled(x)
            self._compiled_for = like, stages
        n_chains, mix = self._drawn.n_chains, self._drawn.mix
        if mix is None:
            return stages.apply(x, row)

        def chains_of(_: slice) -> Tensor:
            return torch.cat([stages.apply(x, row * n_chains + i) for i in range(n_chains)])

        drawn = self._drawn.rows(row, row + 1)
        return self._images.average(x, drawn, mix[row : row + 1], chains_of)

    def _compiled(self, x: Tensor) -> StagesAhead:
        drawn = self._drawn
        chains = drawn.in_rows(len(drawn) * drawn.n_chains)
        return StagesAhead(
            as_rows(chains.ops, chains.op_index, _magnitudes(chains, x), chains.extra),
            x,
            _settings(self._policy),
        )
