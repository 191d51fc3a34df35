"""Adversarial operations: samples moved to where the loss of the model grows.

The model is asked, never changed: it answers in `eval()` mode, so that statistics of batch
normalisation stay, gradients are taken with respect to the samples only, and every module is in
its own mode again afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policysearch.errors import InvalidValueError
from policysearch.trial import NotFiniteError

#: Logits `(k, n_classes)` of samples `(k, ...)`; images come as floats in [0, 1].
Model = Callable[[Tensor], Tensor]

#: Steps of `pgd`, and their size as a share of the bound (PGD, section 5: 2.5 bounds in all).
N_STEPS, STEP = 3, 2.5 / 3
#: Versions with a loss above this quantile of the batch have lost their class.
QUANTILE = 0.95


@contextlib.contextmanager
def left_as_it_is(module: nn.Module | None) -> Iterator[None]:
    """Lets a module answer in `eval()` mode, and puts the mode of each of its parts back."""
    modes = [] if module is None else [(part, part.training) for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def losses(model: Model, x: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each sample, `(k,)`, against targets `(k, n_classes)`."""
    logits = model(x)
    if not isinstance(logits, Tensor) or logits.shape != targets.shape:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InvalidValueError(
            f"`model` must give logits of shape {tuple(targets.shape)} for these samples and "
            f"classes, got {got}."
        )
    if not bool(logits.isfinite().all()):
        raise NotFiniteError(
            "`model` answered with NaN or infinite logits: its training has diverged, or the "
            "samples are not finite."
        )
    return F.cross_entropy(logits, targets.to(logits.dtype), reduction="none")


def fgsm(model: Model, x: Tensor, targets: Tensor, bound: Tensor, scale: Tensor) -> Tensor:
    """`x + m sign(gradient)`.

    Args:
      model: Gives logits.
      x: Shape `(k, ...)`, floating; values that may be differentiated by.
      targets: Shape `(k, n_classes)`, shares of classes.
      bound: Magnitudes, `(k, 1, ...)`.
      scale: What a unit of the magnitude is in values of `x`; broadcast to it.
    """
    return x + bound * scale * _direction(model, x, targets)


def pgd(
    model: Model, x: Tensor, targets: Tensor, bound: Tensor, scale: Tensor, start: Tensor
) -> Tensor:
    """Three steps uphill from `x + m start`, each put back to within m of `x` (see `fgsm`).

    Args:
      model: See `fgsm`.
      x: See `fgsm`.
      targets: See `fgsm`.
      bound: See `fgsm`.
      scale: See `fgsm`.
      start: Uniform in [-1, 1], like `x`.
    """
    moved = start
    for _ in range(N_STEPS):
        uphill = _direction(model, x + bound * scale * moved, targets)
        moved = (moved + STEP * uphill).clamp(-1.0, 1.0)
    return x + bound * scale * moved


def _direction(model: Model, x: Tensor, targets: Tensor) -> Tensor:
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        loss = losses(model, at, targets).sum()
        if not loss.requires_grad:
            raise InvalidValueError(
                "`model` must let gradients through to the samples; this one detaches them, or is "
                "called within torch.inference_mode()."
            )
        (gradient,) = torch.autograd.grad(loss, at)
    return gradient.sign().nan_to_num(0.0)
