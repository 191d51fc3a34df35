"""Corruptions of images, after CIFAR-10-C at its highest severity.

Sizes are those for 32 pixels and grow with larger images. Values are those of the code that made
CIFAR-10-C, severity 5; the kernels are ours.

References:
  Hendrycks & Dietterich, Benchmarking neural network robustness to common corruptions and
  perturbations, ICLR 2019 (arXiv:1903.12261), section 3 and appendix B.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Images = NDArray[Any]
Unit = NDArray[np.float32]

_SIDE = 32
#: Luminance table of the JPEG standard (ITU-T T.81, table K.1).
_QUANTA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_QUALITY = 40


def _unit(x: Images) -> Unit:
    """Images `(n, C, ...)` of any accepted dtype as float32 in [0, 1]."""
    scale = np.iinfo(x.dtype).max if x.dtype.kind == "u" else 1
    unit: Unit = x.astype(np.float32) / np.float32(scale)
    return unit


def _clipped(x: NDArray[Any]) -> Unit:
    clipped: Unit = np.clip(x, 0.0, 1.0).astype(np.float32)
    return clipped


def _growth(x: Images) -> float:
    return float(max(1.0, min(x.shape[2:]) / _SIDE))


def gaussian_noise(x: Images, rng: np.random.Generator) -> Unit:
    """Normal noise of standard deviation 0.1."""
    unit = _unit(x)
    return _clipped(unit + 0.1 * rng.standard_normal(unit.shape, dtype=np.float32))


def impulse_noise(x: Images, rng: np.random.Generator) -> Unit:
    """7 % of all values become 0 or 1."""
    unit, drawn = _unit(x), rng.random(x.shape, dtype=np.float32)
    return np.where(drawn < 0.035, np.float32(0), np.where(drawn < 0.07, np.float32(1), unit))


def gaussian_blur(x: Images, rng: np.random.Generator) -> Unit:
    """A Gaussian filter of standard deviation 1 pixel; draws nothing."""
    del rng
    sigma = (0.0, 0.0) + (_growth(x),) * (x.ndim - 2)
    return _clipped(ndimage.gaussian_filter(_unit(x), sigma, mode="nearest"))


def contrast(x: Images, rng: np.random.Generator) -> Unit:
    """Differences to the mean of each channel shrink to 15 %; draws nothing."""
    del rng
    unit = _unit(x)
    mean = unit.mean(axis=tuple(range(2, x.ndim)), keepdims=True)
    return _clipped(mean + 0.15 * (unit - mean))


def pixelate(x: Images, rng: np.random.Generator) -> Unit:
    """Blocks of their mean, 65 % as many as pixels along each side; draws nothing."""
    del rng
    unit, share = _unit(x), 0.65 / _growth(x)
    for axis in range(2, x.ndim):
        side = x.shape[axis]
        n_blocks = max(1, round(share * side))
        starts = np.arange(n_blocks) * side // n_blocks
        sizes = np.diff(starts, append=side)
        shape = [1] * x.ndim
        shape[axis] = n_blocks
        means = np.add.reduceat(unit, starts, axis=axis) / sizes.reshape(shape)
        unit = np.repeat(means, sizes, axis=axis)
    return _clipped(unit)


def compression(x: Images, rng: np.random.Generator) -> Unit:
    """Rounds the cosine transform of 8 x 8 blocks as JPEG of quality 40 does; draws nothing.

    Every channel by itself with the table for luminance: it works for any number of channels.
    """
    del rng
    height, width = x.shape[-2:]
    edge = [(0, 0)] * (x.ndim - 2) + [(0, -height % 8), (0, -width % 8)]
    padded = np.pad(_unit(x) * 255 - 128, edge, mode="edge")
    lead, (rows, columns) = padded.shape[:-2], padded.shape[-2:]
    blocks = padded.reshape(*lead, rows // 8, 8, columns // 8, 8).swapaxes(-3, -2)
    quanta = (_QUANTA * (50 / _QUALITY)).astype(np.float32)
    rounded = np.round(fft.dctn(blocks, axes=(-2, -1), norm="ortho") / quanta) * quanta
    back = fft.idctn(rounded, axes=(-2, -1), norm="ortho").swapaxes(-3, -2)
    return _clipped((back.reshape(*lead, rows, columns)[..., :height, :width] + 128) / 255)


_NOISES = frozenset({"gaussian_noise", "rician_noise"})
_BLURS = frozenset({"blur", "sharpness", "low_resolution", "motion"})
_TONES = frozenset({"contrast", "autocontrast", "equalize", "gamma", "window_level"})

IMAGE_CORRUPTIONS: dict[
    str, tuple[Callable[[Images, np.random.Generator], Unit], frozenset[str]]
] = {
    "impulse_noise": (impulse_noise, frozenset()),
    "pixelate": (pixelate, frozenset({"low_resolution"})),
    "compression": (compression, frozenset()),
    "gaussian_noise": (gaussian_noise, _NOISES),
    "gaussian_blur": (gaussian_blur, _BLURS),
    "contrast": (contrast, _TONES),
}
