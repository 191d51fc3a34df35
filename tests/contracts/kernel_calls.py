"""One stage of operations, applied by both sets of kernels, which must agree."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policysearch.ops import image_torch
from policysearch.ops.image_kernels import ImageSettings, apply_stages


def apply_stage(
    x: Tensor,
    ops: Sequence[str],
    op_index: Any,
    magnitude: Any,
    draws: Any,
    settings: ImageSettings,
) -> Tensor:
    """What `apply_stages` makes of a single stage, after a comparison with the torch kernels.

    Arguments have one row per sample and no axis of stages.
    """
    arguments = [np.asarray(values)[:, None] for values in (op_index, magnitude, draws)]
    result = apply_stages(x, ops, *arguments, settings)
    by_torch = apply_stages(x, ops, *arguments, settings, kernels=image_torch.apply)
    assert result.shape == by_torch.shape
    assert result.dtype == by_torch.dtype
    if x.dtype == torch.uint8 and x.numel():
        # Bilinear: one computes in doubles, the other in floats, and both drop fractions.
        allowed = 1 if settings.interpolation == "bilinear" else 0
        assert (result.int() - by_torch.int()).abs().max() <= allowed
    return result
