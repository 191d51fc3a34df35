"""The classic operations against Pillow, called as torchvision and the papers call it."""

import numpy as np
import pytest
import torch
from contracts.kernel_calls import apply_stage
from PIL import Image, ImageEnhance, ImageOps

from policysearch.ops.image_kernels import ImageSettings

RESAMPLE = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}
SIZES = [(1, 1), (2, 5), (8, 8), (32, 32), (17, 31), (40, 23)]

FACTORS = [-1.0, -0.9, -0.37, -0.05, 0.05, 0.3, 0.5, 0.9, 1.0]
COLOR_CASES = (
    [(op, m) for op in ("brightness", "contrast", "color", "sharpness") for m in FACTORS]
    + [("posterize", m) for m in (1, 2, 3, 4, 5.4, 7)]
    + [("solarize", m) for m in (1, 50, 128, 200.5, 255, 256)]
    + [(op, 0) for op in ("autocontrast", "equalize", "invert")]
)
GEOMETRY_CASES = (
    [(op, m) for op in ("shear_x", "shear_y") for m in (-4, -0.3, -0.2, -0.01, 0.1, 0.3, 0.77, 1)]
    + [
        (op, m)
        for op in ("translate_x", "translate_y")
        for m in (-1, -0.45, -0.1, 0.03, 0.25, 0.333, 0.45)
    ]
    + [("rotate", m) for m in (-180, -90, -45, -30, -7.3, 0.2, 15, 29.9, 30, 45, 90, 135, 180)]
    + [("scale", m) for m in (-4, -0.5, -0.4, -0.1, 0.1, 0.25, 0.4, 1, 4)]
    + [("flip_horizontal", 0), ("flip_vertical", 0)]
)


def pictures(height, width, channels):
    """Noise, a smooth slope, a narrow range and a flat area: uint8 arrays (H, W, C)."""
    rng = np.random.default_rng([height, width, channels])
    y, x = np.mgrid[:height, :width, :channels][:2]
    noise = rng.integers(0, 256, (height, width, channels))
    slope = np.clip(40 + 5 * x + 3 * y + 20 * np.arange(channels), 0, 255)
    narrow = 90 + noise // 6
    flat = np.where(x < width // 2, 200, 55)
    return [a.astype(np.uint8) for a in (noise, slope, narrow, flat)]


def to_pillow(a):
    return Image.fromarray(a[..., 0] if a.shape[2] == 1 else a)


def from_pillow(image):
    a = np.asarray(image)
    return a[..., None] if a.ndim == 2 else a


def ours(arrays, op, magnitude, interpolation="nearest", fill=0.0):
    """Applies one op to arrays (H, W, C), as a batch."""
    x = torch.from_numpy(np.stack(arrays).transpose(0, 3, 1, 2).copy())
    n = len(arrays)
    y = apply_stage(
        x,
        [op],
        torch.zeros(n, dtype=torch.int64),
        torch.full((n,), float(magnitude), dtype=torch.float64),
        torch.zeros((n, 16), dtype=torch.float64),
        ImageSettings(interpolation, fill),
    )
    return y.numpy().transpose(0, 2, 3, 1).astype(int)


def pillow_color(image, op, m):
    enhancers = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "color": ImageEnhance.Color,
        "sharpness": ImageEnhance.Sharpness,
    }
    if op in enhancers:
        return enhancers[op](image).enhance(1 + m)
    if op == "posterize":
        return ImageOps.posterize(image, 8 - round(m))
    if op == "solarize":
        return ImageOps.solarize(image, 256 - m)
    return getattr(ImageOps, op)(image)


def pillow_geometry(image, op, m, interpolation, fill):
    width, height = image.size
    if op == "flip_horizontal":
        return ImageOps.mirror(image)
    if op == "flip_vertical":
        return ImageOps.flip(image)
    color = (fill,) * 3 if image.mode == "RGB" else fill
    if op == "rotate":
        return image.rotate(m, RESAMPLE[interpolation], fillcolor=color)
    step = 1 / (1 + m) if m >= 0 else 1 - m
    matrix = {
        # AutoAugment's own matrix; torchvision reaches it with center=[0, 0].
        "shear_x": (1, m, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, m, 1, 0),
        # torchvision's AutoAugment passes int(pixels).
        "translate_x": (1, 0, -int(m * width), 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, -int(m * height)),
        # torchvision's matrix for `scale` about the middle.
        "scale": (
            *(step, 0, step * (-width * 0.5) + width * 0.5),
            *(0, step, step * (-height * 0.5) + height * 0.5),
        ),
    }[op]
    affine = Image.Transform.AFFINE
    return image.transform(image.size, affine, matrix, RESAMPLE[interpolation], fillcolor=color)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("op", "m"), COLOR_CASES)
def test_color_equals_pillow_in_every_pixel(op, m, channels):
    for size in SIZES:
        arrays = pictures(*size, channels)
        result = ours(arrays, op, m)
        for a, y in zip(arrays, result, strict=True):
            np.testing.assert_array_equal(y, from_pillow(pillow_color(to_pillow(a), op, m)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("op", "m"), GEOMETRY_CASES)
def test_nearest_equals_pillow_in_every_pixel(op, m, channels):
    for size in SIZES:
        arrays = pictures(*size, channels)
        result = ours(arrays, op, m, "nearest", 0.5)
        for a, y in zip(arrays, result, strict=True):
            expected = from_pillow(pillow_geometry(to_pillow(a), op, m, "nearest", 128))
            np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("op", "m"), GEOMETRY_CASES)
def test_bilinear_equals_pillow_in_every_pixel(op, m, channels):
    for size in SIZES:
        arrays = pictures(*size, channels)
        result = ours(arrays, op, m, "bilinear", 1.0)
        for a, y in zip(arrays, result, strict=True):
            expected = from_pillow(pillow_geometry(to_pillow(a), op, m, "bilinear", 255))
            np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize(("op", "m"), GEOMETRY_CASES)
def test_float_geometry_equals_pillows_float_mode(op, m, interpolation):
    rng = np.random.default_rng(7)
    for height, width in SIZES:
        a = rng.random((height, width, 1)).astype(np.float32)
        image = Image.fromarray(a[..., 0])
        x = torch.from_numpy(a.transpose(2, 0, 1)[None].copy())
        y = apply_stage(
            x,
            [op],
            torch.zeros(1, dtype=torch.int64),
            torch.tensor([float(m)], dtype=torch.float64),
            torch.zeros((1, 16), dtype=torch.float64),
            ImageSettings(interpolation, 0.25),
        )
        expected = pillow_geometry(image, op, m, interpolation, 0.25)
        # Places are float32 numbers in [-1, 1] here: an error of 1e-6 of 40 pixels.
        tolerance = 0 if interpolation == "nearest" else 2e-5
        np.testing.assert_allclose(y[0, 0], np.asarray(expected), rtol=0, atol=tolerance)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_geometry_equals_pillow_at_random_magnitudes(interpolation):
    rng = np.random.default_rng(3)
    high = {"shear_x": 1, "shear_y": 1, "rotate": 180, "scale": 4, "translate_x": 1}
    for op, top in high.items():
        for _ in range(60):
            height, width = (int(v) for v in rng.integers(1, 48, 2))
            a = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            m = float(rng.uniform(-top, top))
            expected = from_pillow(pillow_geometry(to_pillow(a), op, m, interpolation, 0))
            result = ours([a], op, m, interpolation)[0]
            np.testing.assert_array_equal(result, expected, err_msg=f"{op} {m}")


@pytest.mark.parametrize("op", ["shear_x", "rotate", "scale"])
def test_nearest_equals_pillow_on_a_large_image(op):
    a = np.random.default_rng(4).integers(0, 256, (224, 300, 3), dtype=np.uint8)
    m = {"shear_x": 0.29, "rotate": -23.0, "scale": 0.17}[op]
    expected = from_pillow(pillow_geometry(to_pillow(a), op, m, "nearest", 0))
    np.testing.assert_array_equal(ours([a], op, m)[0], expected)


@pytest.mark.parametrize("op", ["brightness", "contrast", "color", "sharpness"])
def test_color_equals_pillow_at_random_factors(op):
    rng = np.random.default_rng(5)
    for _ in range(60):
        height, width = (int(v) for v in rng.integers(1, 40, 2))
        a = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        m = float(rng.uniform(-1, 1))
        expected = from_pillow(pillow_color(to_pillow(a), op, m))
        np.testing.assert_array_equal(ours([a], op, m)[0], expected, err_msg=f"{op} {m}")


def test_gray_by_the_whole_amount_is_pillows_gray():
    for a in pictures(20, 30, 3):
        expected = np.asarray(to_pillow(a).convert("L"))
        result = ours([a], "gray", 1.0)[0]
        for channel in range(3):
            np.testing.assert_array_equal(result[..., channel], expected)


def test_one_stage_of_many_ops_equals_pillow_sample_by_sample():
    """The fused way: every sample with its own op, magnitude and sign, in one call."""
    rng = np.random.default_rng(6)
    cases = [c for c in COLOR_CASES + GEOMETRY_CASES if c[0] != "posterize" or c[1] < 8]
    ops = sorted({op for op, _ in cases})
    a = rng.integers(0, 256, (len(cases), 32, 32, 3), dtype=np.uint8)
    y = apply_stage(
        torch.from_numpy(a.transpose(0, 3, 1, 2).copy()),
        ops,
        torch.tensor([ops.index(op) for op, _ in cases]),
        torch.tensor([float(m) for _, m in cases], dtype=torch.float64),
        torch.zeros((len(cases), 16), dtype=torch.float64),
        ImageSettings("nearest", 0.0),
    )
    for image, (op, m), result in zip(a, cases, y.numpy(), strict=True):
        if (op, m) in GEOMETRY_CASES:
            expected = pillow_geometry(to_pillow(image), op, m, "nearest", 0)
        else:
            expected = pillow_color(to_pillow(image), op, m)
        np.testing.assert_array_equal(result.transpose(1, 2, 0), from_pillow(expected))
