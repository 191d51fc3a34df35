"""Single operations against timm, albumentations and kornia, where they mean the same thing.

One table: our op, its magnitudes, their call, how far apart the results may be, and why. Each
distance was measured on the scenes below and is the bound itself, so that a larger one, and for
whole levels also a vanished one, is noticed. timm calls Pillow, so nothing is tolerated there.

Not in the table, because the meaning differs: timm's `rand`, `original` and `v0` levels and its
translations by fractions of a pixel; Gaussian blurs of timm (box filters) and albumentations
(kernel of OpenCV, mirrored border); kornia's `solarize` with additions (adds everywhere, then
inverts), `adjust_brightness` (adds) and `adjust_saturation` (HSV). kornia shears about the centre
of the first pixel, Pillow about its corner: the shear here is given as Pillow's matrix.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for news
pytest.importorskip("kornia", reason="kornia is not installed; use `make test-interop`")

import albumentations as A
import kornia.color
import kornia.enhance
import kornia.filters
import kornia.geometry.transform as warps
import torch
from kornia.augmentation import RandomAutoContrast
from PIL import Image
from timm.data import auto_augment as timm
from torch import Tensor
from torchvision_ops import dim, drawn, ours, scene, to_batch

from policysearch.policy import Policy
from policysearch.transform import PolicyTransform

SIZES = [(32, 32), (8, 8), (33, 20), (224, 224), (150, 301)]  # height, width
FACTORS = (-0.9, -0.33, 0.2, 0.9)
ANGLES = (-30.0, -7.3, 3.0, 30.0)
RATIOS = (-0.3, -0.1, 0.07, 0.3)
SHIFTS = (-0.45, -0.1, 0.07, 0.3)
EXPONENTS = (-0.5, -0.1, 0.2, 1.0)


@dataclass(frozen=True)
class Case:
    """What is compared.

    Attributes:
      magnitudes: In our unit.
      theirs: Their result for an image (in the form that the library takes) and a magnitude.
      most: Largest difference of two values; levels on uint8, the range being 1 on floats.
      share: Part of the values that differ at all, at most; on floats, by more than 1e-5.
      reason: Why anything may differ.
    """

    op: str
    magnitudes: tuple[float, ...]
    theirs: Callable[[Any, float], Any]
    most: float = 0.0
    share: float = 0.0
    reason: str = "equal"


def pixels(fraction: float, side: int) -> int:
    """A shift cut to whole pixels, towards zero."""
    return int(fraction * side)


def exponent(m: float) -> float:
    """The power that our gamma of magnitude m raises to."""
    return 1 + m if m >= 0 else 1 / (1 - m)


NEAREST = {"resample": Image.Resampling.NEAREST, "fillcolor": (0, 0, 0)}
TIMM = [
    Case("shear_x", RATIOS, lambda x, m: timm.shear_x(x, m, **NEAREST)),
    Case("shear_y", RATIOS, lambda x, m: timm.shear_y(x, m, **NEAREST)),
    Case(
        "translate_x",
        SHIFTS,
        lambda x, m: timm.translate_x_abs(x, -pixels(m, x.width), **NEAREST),
    ),
    Case(
        "translate_y",
        SHIFTS,
        lambda x, m: timm.translate_y_abs(x, -pixels(m, x.height), **NEAREST),
    ),
    Case("rotate", ANGLES, lambda x, m: timm.rotate(x, m, **NEAREST)),
    Case("brightness", FACTORS, lambda x, m: timm.brightness(x, 1 + m)),
    Case("contrast", FACTORS, lambda x, m: timm.contrast(x, 1 + m)),
    Case("color", FACTORS, lambda x, m: timm.color(x, 1 + m)),
    Case("sharpness", FACTORS, lambda x, m: timm.sharpness(x, 1 + m)),
    Case("gray", (0.0, 0.3, 1.0), timm.desaturate),
    Case("posterize", (0, 1, 2, 4, 7), lambda x, m: timm.posterize(x, 8 - m)),
    Case("solarize", (0, 1, 100, 128, 256), lambda x, m: timm.solarize(x, 256 - m)),
    Case("solarize_add", (0, 1, 50, 110), timm.solarize_add),
    Case("autocontrast", (0,), lambda x, _: timm.auto_contrast(x)),
    Case("equalize", (0,), lambda x, _: timm.equalize(x)),
    Case("invert", (0,), lambda x, _: timm.invert(x)),
]


def jitter(
    brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0, hue: float = 0.0
) -> A.ColorJitter:
    """A colour jitter that is not random."""
    return A.ColorJitter(*((v, v) for v in (brightness, contrast, saturation, hue)), p=1)


def albumentation(make: Callable[[float], Any]) -> Callable[[Any, float], Any]:
    """The result of a transform made for a magnitude."""
    return lambda x, m: make(m)(image=x)["image"]


def shifted(x: Any, m: float) -> Any:
    """A shift along x by albumentations, nearest."""
    by = {"x": (pixels(m, x.shape[1]),) * 2, "y": (0, 0)}
    return A.Affine(translate_px=by, interpolation=0, p=1)(image=x)["image"]


ALBUMENTATIONS = [
    Case("flip_horizontal", (0,), albumentation(lambda _: A.HorizontalFlip(p=1))),
    Case("flip_vertical", (0,), albumentation(lambda _: A.VerticalFlip(p=1))),
    Case("translate_x", SHIFTS, shifted),
    Case("invert", (0,), albumentation(lambda _: A.InvertImg(p=1))),
    Case("posterize", (1, 2, 4, 7), albumentation(lambda m: A.Posterize((8 - m,) * 2, p=1))),
    Case(
        "solarize",
        (1, 100, 128, 255, 256),
        albumentation(lambda m: A.Solarize(((256 - m) / 255,) * 2, p=1)),
    ),
    Case("brightness", FACTORS, albumentation(lambda m: jitter(brightness=1 + m))),
    Case(
        "rotate",
        ANGLES,
        albumentation(lambda m: A.Affine(rotate=(m, m), interpolation=0, p=1)),
        255,
        0.0005,
        "centres on the border of two pixels, which OpenCV and Pillow round differently",
    ),
    Case(
        "gray",
        (1.0,),
        albumentation(lambda _: A.ToGray(p=1)),
        1,
        0.001,
        "weights of 15 bits, Pillow: 16",
    ),
    Case(
        "contrast",
        FACTORS,
        albumentation(lambda m: jitter(contrast=1 + m)),
        1,
        0.15,
        "the mean gray value is not rounded to a level",
    ),
    Case(
        "color",
        FACTORS,
        albumentation(lambda m: jitter(saturation=1 + m)),
        2,
        0.4,
        "rounds where Pillow drops fractions; gray values as above, times the factor",
    ),
    Case(
        "gamma",
        EXPONENTS,
        albumentation(lambda m: A.RandomGamma((100 * exponent(m),) * 2, p=1)),
        1,
        0.6,
        "drops fractions of a level where ours rounds",
    ),
    Case(
        "hue",
        (-0.1, 0.05, 0.25),
        albumentation(lambda m: jitter(hue=m)),
        6,
        0.4,
        "OpenCV's HSV image has 180 hues and whole levels",
    ),
    Case(
        "autocontrast",
        (0,),
        albumentation(lambda _: A.AutoContrast(method="pil", cutoff=0, p=1)),
        4,
        0.6,
        "rounds where Pillow drops fractions, and overlooks level 255",
    ),
    Case(
        "equalize",
        (0,),
        albumentation(lambda _: A.Equalize(mode="pil", p=1)),
        45,
        1.0,
        "counts the pixels of a level itself, where Pillow counts those below it",
    ),
]

#: float32 rounds at 6e-8; formulas of a few steps stay below this.
ROUNDING = 5e-7


def kornia_shear(x: Tensor, m: float) -> Tensor:
    """Pillow's shear along x, given to kornia as a matrix over pixel centres."""
    matrix = torch.tensor([[[1.0, -m, -m / 2], [0.0, 1.0, 0.0]]])
    return warps.warp_affine(x, matrix, x.shape[2:], mode="nearest")


def kornia_blur(x: Tensor, m: float) -> Tensor:
    """Gaussian of standard deviation m, cut at three of them."""
    side = 2 * max(1, math.ceil(3 * m)) + 1
    return kornia.filters.gaussian_blur2d(x, (side, side), (m, m), border_type="replicate")


KORNIA = [
    Case("invert", (0,), lambda x, _: kornia.enhance.invert(x)),
    Case("flip_horizontal", (0,), lambda x, _: warps.hflip(x)),
    Case("flip_vertical", (0,), lambda x, _: warps.vflip(x)),
    Case("solarize", (1, 100, 128, 256), lambda x, m: kornia.enhance.solarize(x, (256 - m) / 255)),
    Case(
        "posterize",
        (1, 2, 4, 7),
        lambda x, m: kornia.enhance.posterize(x, 8 - int(m)),
        ROUNDING,
        reason="levels as floats",
    ),
    Case("equalize", (0,), lambda x, _: kornia.enhance.equalize(x), ROUNDING, 0.0, "as above"),
    Case(
        "brightness",
        FACTORS,
        lambda x, m: kornia.enhance.adjust_brightness_accumulative(x, 1 + m),
        ROUNDING,
        reason="rounding",
    ),
    Case(
        "contrast",
        FACTORS,
        lambda x, m: kornia.enhance.adjust_contrast_with_mean_subtraction(x, 1 + m),
        5e-6,
        reason="gray weights of three digits, Pillow's have 16 bits",
    ),
    Case(
        "color",
        FACTORS,
        lambda x, m: kornia.enhance.adjust_saturation_with_gray_subtraction(x, 1 + m),
        1e-5,
        reason="gray weights, as above",
    ),
    Case(
        "gray",
        (1.0,),
        lambda x, _: kornia.color.rgb_to_grayscale(x).expand_as(x),
        1e-5,
        reason="gray weights, as above",
    ),
    Case(
        "gamma",
        EXPONENTS,
        lambda x, m: kornia.enhance.adjust_gamma(x, exponent(m)),
        ROUNDING,
        reason="rounding",
    ),
    Case(
        "hue",
        (-0.5, -0.1, 0.25),
        lambda x, m: kornia.enhance.adjust_hue(x, 2 * math.pi * m),
        5e-6,
        reason="kornia goes through HSV with the hue in radians",
    ),
    Case(
        "sharpness",
        FACTORS,
        lambda x, m: kornia.enhance.sharpness(x, 1 + m),
        ROUNDING,
        reason="rounding",
    ),
    Case("blur", (0.5, 1.0, 2.0), kornia_blur, 1e-6, reason="two sums of up to 13 terms"),
    Case(
        "autocontrast",
        (0,),
        lambda x, _: RandomAutoContrast(p=1.0)(x),
        1e-5,
        reason="kornia adds 1e-6 to the range that it divides by",
    ),
    Case("shear_x", RATIOS, kornia_shear),
    Case(
        "translate_x",
        SHIFTS,
        lambda x, m: warps.translate(
            x, torch.tensor([[float(pixels(m, x.shape[3])), 0.0]]), mode="nearest"
        ),
    ),
    Case(
        "rotate",
        ANGLES,
        lambda x, m: warps.rotate(x, torch.tensor([m]), mode="nearest"),
        1.0,
        0.0005,
        "centres on the border of two pixels: float32 here, 16.16 fixed point in Pillow",
    ),
    Case(
        "scale",
        (-0.4, -0.1, 0.07, 0.4),
        lambda x, m: warps.scale(x, torch.tensor([exponent(m)]), mode="nearest"),
        1.0,
        0.004,
        "as above; whole rows and columns fall on such a border",
    ),
]


def scenes() -> list[Image.Image]:
    """RGB images of several sizes, over the whole range of levels and over a narrow one."""
    return [change(scene(size, "RGB")) for size in SIZES for change in (lambda x: x, dim)]


def cases(table: list[Case]) -> Any:
    return pytest.mark.parametrize("case", table, ids=lambda case: case.op)


def gaps(case: Case, theirs: Callable[[Image.Image, float], Any]) -> np.ndarray:
    """Differences in levels, over all scenes and magnitudes, in one row."""
    found = [
        ours(image, [[(case.op, m)]], is_pixels=False)[0].astype(int) - theirs(image, m)
        for image, m in itertools.product(scenes(), case.magnitudes)
    ]
    return np.abs(np.concatenate([gap.ravel() for gap in found]))


@cases(TIMM)
def test_op_equals_timm(case: Case) -> None:
    assert gaps(case, lambda x, m: np.asarray(case.theirs(x, m)).astype(int)).max() == 0


@cases(ALBUMENTATIONS)
def test_op_is_as_far_from_albumentations_as_stated(case: Case) -> None:
    found = gaps(case, lambda x, m: case.theirs(np.array(x), m).astype(int))
    assert found.max() <= case.most, case.reason
    assert (found > 0).mean() <= case.share, case.reason
    assert (found.max() > 0) == (case.most > 0), f"no longer so: {case.reason}"


@cases(KORNIA)
def test_op_on_floats_is_as_near_to_kornia_as_stated(case: Case) -> None:
    n_off = n_values = 0
    for image, m in itertools.product(scenes(), case.magnitudes):
        x = to_batch([image]).float() / 255
        plan = drawn([[(case.op, m)]], is_pixels=False)
        gap = (PolicyTransform(Policy()).replay(x, plan) - case.theirs(x, m)).abs()
        assert gap.max() <= case.most, f"{m} {image.size}: {case.reason}"
        n_off, n_values = n_off + int((gap > 1e-5).sum()), n_values + gap.numel()
    assert n_off <= case.share * n_values, case.reason


@pytest.mark.parametrize("angle", ANGLES)
def test_bilinear_rotation_is_kornias_but_at_the_border(angle: float) -> None:
    """Beyond the border kornia sees zeros, ours repeats it: there alone they differ."""
    for image in scenes():
        x = to_batch([image]).float() / 255
        plan = drawn([[("rotate", angle)]], is_pixels=False)
        mine = PolicyTransform(Policy(interpolation="bilinear")).replay(x, plan)
        theirs = warps.rotate(x, torch.tensor([angle]))
        weight = warps.rotate(torch.ones_like(x), torch.tensor([angle]))  # part inside the image
        is_inside = weight > 1 - 1e-5
        # Coordinates in float32 are off by up to 1e-5 pixels of a picture of 301.
        gap = (mine - theirs).abs()
        assert gap[is_inside].max() <= 1e-4
        # The border is about one pixel wide, on both of its sides; little else differs.
        assert (gap > 1e-4).float().mean() <= 2.2 * sum(image.size) / math.prod(image.size)
