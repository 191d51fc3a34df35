"""Averaging chains: the weights of a `Mix` from uniform numbers, and the average of values.

Kept apart from drawing and applying, which know of one chain at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.policy import Mix

_Floats = NDArray[np.float64]

#: Bytes of chains computed at a time. Larger parts are no faster on a CPU, and take more memory;
#: elsewhere it is the number of calls that costs.
_CHAIN_BYTES, _CHAIN_BYTES_ELSEWHERE = 1 << 19, 1 << 28
_LOWEST = 2.0**-54  # half a step of the uniform numbers, where they are 0


def n_mix_draws(mix: Mix) -> int:
    """Uniform numbers per sample that the weights take."""
    return 2 + mix.width


def mix_weights(mix: Mix, u: _Floats) -> _Floats:
    """Weights of the sample and of each of its chains.

    Args:
      mix: Gives width and alpha.
      u: Shape `(n, n_mix_draws(mix))`, uniform in [0, 1).

    Returns:
      Shape `(n, 1 + width)`, at least 0, with sum 1. First the share of the sample, from
      Beta(alpha, alpha); then the rest, divided by Dirichlet(alpha, ..., alpha).
    """
    share = _dirichlet(mix.alpha, u[:, :2])
    return np.concatenate([share[:, :1], share[:, 1:] * _dirichlet(mix.alpha, u[:, 2:])], axis=1)


def _dirichlet(alpha: float, u: _Floats) -> _Floats:
    """Symmetric Dirichlet draws, shape of `u`: gamma quantiles divided by their sum.

    As logarithms: with a small alpha all quantiles of a row may be too small for a float.
    """
    logs = _log_gamma_quantile(alpha, np.maximum(u, _LOWEST))
    parts = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(parts / parts.sum(axis=1, keepdims=True))


def _log_gamma_quantile(alpha: float, u: _Floats) -> _Floats:
    if alpha == 1.0:
        return np.asarray(np.log(-np.log1p(-u)))
    from scipy.special import gammaincinv, gammaln

    quantile = gammaincinv(alpha, u)
    is_tiny = quantile < 1e-200  # there P(alpha, x) is x^alpha / Gamma(alpha + 1) to all digits
    tiny = (np.log(u) + gammaln(alpha + 1.0)) / alpha
    return np.where(is_tiny, tiny, np.log(np.where(is_tiny, 1.0, quantile)))


def mixed(
    x: Tensor,
    weights: _Floats,
    chains_of: Callable[[slice], Tensor],
    as_values: Callable[[Tensor, torch.dtype], Tensor],
) -> Tensor:
    """Averages samples with what their chains make of them, a part of the batch at a time.

    The sum is formed in float32 (float64 for float64): the sample times its weight, then one chain
    after the other.

    Args:
      x: Shape `(n, ...)`, such as images `(n, C, H, W)`. Not modified.
      weights: Shape `(n, 1 + width)`: of the sample, then of each chain; with sum 1.
      chains_of: Gives the chains of the samples in a slice, shape `(k * width, ...)`, those of
        one sample next to each other.
      as_values: Turns a sum into values of the dtype of `x`, such as `as_levels`.

    Returns:
      A new tensor like `x`.
    """
    out = torch.empty_like(x)
    for part in _parts(x, weights.shape[1] - 1):
        out[part] = as_values(_average(x[part], chains_of(part), weights[part]), x.dtype)
    return out


def repeated(x: Tensor, width: int) -> Tensor:
    """Every sample `width` times, copies next to each other."""
    return x[:, None].expand(-1, width, *x.shape[1:]).flatten(0, 1)


def _parts(x: Tensor, width: int) -> Iterator[slice]:
    n_bytes = _CHAIN_BYTES if x.device.type == "cpu" else _CHAIN_BYTES_ELSEWHERE
    step = max(1, n_bytes // max(1, x[:1].numel() * x.element_size() * width))
    for start in range(0, len(x), step):
        yield slice(start, start + step)


def _average(x: Tensor, chains: Tensor, weights: _Floats) -> Tensor:
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    factors = torch.from_numpy(weights).to(dtype).to(x.device)
    factors = factors.view(*weights.shape, *[1] * (x.ndim - 1))
    total = x.to(dtype) * factors[:, 0]
    term = torch.empty_like(total)
    width = factors.shape[1] - 1
    for i in range(width):
        total += term.copy_(chains[i::width]).mul_(factors[:, 1 + i])
    return total


def as_levels(total: Tensor, dtype: torch.dtype) -> Tensor:
    """Sums as image values.

    `uint8` drops fractions of a level, as torchvision does; `uint16` is rounded to the nearest
    level; floats are cut to [0, 1], and NaN stays NaN.
    """
    if dtype == torch.uint8:
        return total.clamp_(0, 255).to(dtype)
    if dtype == torch.uint16:
        return total.round_().clamp_(0, 65535).to(dtype)
    return total.clamp_(0, 1).to(dtype)
