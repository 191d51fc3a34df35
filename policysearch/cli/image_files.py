"""Augmenting image files: colours, and transparency that moves with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from policysearch.cli.image_store import Opened, encode, open_image
from policysearch.data.image_file import CHANGES, IMAGES
from policysearch.draws import Drawn
from policysearch.ops.registry import get_spec
from policysearch.policy import Policy
from policysearch.transform import apply_drawn

_Pixel = TypeVar("_Pixel", np.uint8, np.uint16)


class ImageStore:
    """JPEG, PNG, PPM, WebP and BMP files (see `Store`)."""

    kind = IMAGES
    changes: Mapping[str, str] = CHANGES

    def open(self, path: Path) -> Opened:
        """See `Store`."""
        return open_image(path)

    def augmented(self, opened: Opened, drawn: Drawn, policy: Policy) -> bytes:
        """See `Store`."""
        return augmented(opened, drawn, policy)


def augmented(opened: Opened, drawn: Drawn, policy: Policy) -> bytes:
    """An encoded image with one row of draws applied."""
    colour = _applied(opened.colour, drawn, policy)
    if opened.alpha is None:
        return encode(opened, colour, None)
    # Transparency moves with the picture; what comes in from outside is transparent.
    moves = np.array([get_spec("image", op).family == "geometry" for op in drawn.ops] + [False])
    moving = dataclasses.replace(
        drawn, op_index=np.where(moves[drawn.op_index], drawn.op_index, -1)
    )
    clear = Policy(interpolation=policy.interpolation, fill=0.0)
    if drawn.mix is None:
        return encode(opened, colour, _applied(opened.alpha, moving, clear))
    # An average of 8 bits drops fractions of a level, and what is opaque would not stay so.
    deep = _applied(opened.alpha.astype(np.uint16) * 257, moving, clear)
    return encode(opened, colour, (deep >> 8).astype(np.uint8))


def _applied(pixels: NDArray[_Pixel], drawn: Drawn, policy: Policy) -> NDArray[_Pixel]:
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    batch = torch.from_numpy(np.ascontiguousarray(planes))[None]
    out = apply_drawn(batch, drawn, policy)[0].numpy()
    return np.ascontiguousarray(out[0] if pixels.ndim == 2 else out.transpose(1, 2, 0))
