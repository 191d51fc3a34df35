"""Between the images that users hold (PIL, numpy, torch; one or many) and batches for kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policysearch.errors import InvalidValueError

_PIL_MODES = {"L", "RGB", "RGBA", "I;16"}


def as_batch(x: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """Turns a sample or batch into `(n, C, H, W)`, with the function that turns it back.

    Args:
      x: PIL image (modes L, RGB, RGBA, I;16); numpy `(H, W)` or `(H, W, C)`; torch `(C, H, W)` or
        `(n, C, H, W)`; volumes torch `(n, C, D, H, W)`, one as `x[None]`. Dtypes uint8, uint16, or
        floating in [0, 1].

    Raises:
      InvalidValueError: For another type, shape, dtype or range; says what to do.
    """
    if isinstance(x, Tensor):
        return _from_tensor(x)
    if isinstance(x, np.ndarray):
        return _from_array(x)
    if hasattr(x, "getbands") and hasattr(x, "mode"):
        return _from_pil(x)
    raise InvalidValueError(
        f"An image must be a PIL image, a numpy array or a torch tensor, got {type(x).__name__}."
    )


def _from_tensor(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    _check_dtype(str(x.dtype).removeprefix("torch."))
    if x.requires_grad:
        raise InvalidValueError(
            "An image must not require grad: most operations cannot pass it. Use x.detach()."
        )
    if x.ndim not in (3, 4, 5):
        raise InvalidValueError(
            f"A torch image must be (C, H, W) or a batch (n, C, H, W), got shape {tuple(x.shape)}"
            "; volumes are (n, C, D, H, W)."
        )
    batch = x if x.ndim >= 4 else x[None]
    if batch.numel() == 0 and batch.shape[0] != 0:
        raise InvalidValueError(f"An image must not be empty, got shape {tuple(x.shape)}.")
    if x.is_floating_point() and x.device.type == "cpu" and x.numel():
        known = x.nan_to_num(0.5)  # NaN stays NaN, but must not hide its neighbours
        _check_range(float(known.min()), float(known.max()))
    kind = type(x)
    if kind is not Tensor:  # such as `torchvision.tv_tensors.Image`: what goes in comes out
        return batch.as_subclass(Tensor), lambda out: _unbatched(out, x.ndim).as_subclass(kind)
    return batch, lambda out: _unbatched(out, x.ndim)


def _unbatched(out: Tensor, ndim: int) -> Tensor:
    return out if ndim >= 4 else out[0]


def _from_array(x: np.ndarray[Any, Any]) -> tuple[Tensor, Callable[[Tensor], Any]]:
    _check_dtype(x.dtype.name)
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise InvalidValueError(
            f"A numpy image must be (H, W) or (H, W, C), got shape {x.shape}. For a batch give a "
            "torch tensor (n, C, H, W), for volumes (n, C, D, H, W)."
        )
    if x.ndim == 3 and x.shape[2] > 16:
        raise InvalidValueError(
            f"A numpy image must have its channels last, got shape {x.shape}. "
            "Use x.transpose(1, 2, 0); for a volume torch.from_numpy(x)[None, None]."
        )
    if not x.dtype.isnative:
        raise InvalidValueError(
            f"A numpy image must have native byte order, got {x.dtype.str}. "
            "Use x.astype(x.dtype.newbyteorder('='))."
        )
    if x.dtype.kind == "f":
        known = np.nan_to_num(x, nan=0.5)
        _check_range(float(known.min()), float(known.max()))
    # torch warns of memory that must not be written to, such as a mapped file, and knows no
    # negative strides
    is_plain = x.flags.writeable and x.flags.c_contiguous
    whole = torch.from_numpy(x if is_plain else np.array(x, order="C"))
    if x.ndim == 2:
        return whole[None, None], lambda out: out[0, 0].numpy()
    return whole.permute(2, 0, 1)[None], _to_pixels


def _to_pixels(out: Tensor) -> np.ndarray[Any, Any]:
    return out[0].permute(1, 2, 0).contiguous().numpy()


def _from_pil(x: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    from PIL import Image

    if x.mode not in _PIL_MODES:
        raise InvalidValueError(
            f"A PIL image must have mode {', '.join(sorted(_PIL_MODES))}, got {x.mode!r}. "
            "Use image.convert('RGB')."
        )
    batch, restore = _from_array(np.array(x))
    return batch, lambda out: Image.fromarray(restore(out))


def _check_dtype(name: str) -> None:
    if name not in {"uint8", "uint16", "float16", "bfloat16", "float32", "float64"}:
        raise InvalidValueError(f"An image must have dtype uint8, uint16 or floating, got {name}.")


def _check_range(low: float, high: float) -> None:
    if low < -1e-3 or high > 1.001:  # NaN passes: it stays NaN
        raise InvalidValueError(
            f"Floating images must lie in [0, 1], got {low:g} to {high:g}. Augment before "
            "normalising, or scale first."
        )
