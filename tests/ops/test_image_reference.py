"""The operations that Pillow does not have, against slow formulas written out per pixel."""

import colorsys
import itertools
import math

import numpy as np
import pytest
import torch
from contracts.kernel_calls import apply_stage

from policysearch.ops.image_kernels import ImageSettings
from policysearch.ops.noise import normals


def arrays(n, channels, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, channels, height, width)).astype("u1")


def ours(a, op, magnitude, draws=None, fill=0.0):
    n = len(a)
    draws = np.full((n, 16), 0.5) if draws is None else draws
    magnitudes = np.broadcast_to(np.asarray(magnitude, dtype=np.float64), (n,)).copy()
    y = apply_stage(
        torch.from_numpy(a),
        [op],
        torch.zeros(n, dtype=torch.int64),
        torch.from_numpy(magnitudes),
        torch.from_numpy(draws),
        ImageSettings("nearest", fill),
    )
    return y.numpy()


def half_up(value):
    return math.floor(min(max(value, 0.0), 255.0) + 0.5)


def each(a, change):
    """Applies `change(value, sample, channel)` to every value."""
    out = np.empty_like(a)
    for i, c, y, x in itertools.product(*map(range, a.shape)):
        out[i, c, y, x] = change(int(a[i, c, y, x]), i, c)
    return out


def test_solarize_add_lifts_the_dark_half_only():
    a = arrays(3, 3, 6, 7)
    m = [40.0, 110.0, 200.4]
    expected = each(a, lambda v, i, _: half_up(v + m[i]) if v < 128 else v)
    np.testing.assert_array_equal(ours(a, "solarize_add", m), expected)


def test_gamma_is_a_power_of_the_fraction():
    a = arrays(4, 3, 6, 7)
    m = [0.5, -0.5, 2.0, -4.0]
    power = [1.5, 1 / 1.5, 3.0, 1 / 5]
    expected = each(a, lambda v, i, _: half_up(255 * (v / 255) ** power[i]))
    np.testing.assert_array_equal(ours(a, "gamma", m), expected)


def test_posterize_by_all_bits_is_black():
    assert (ours(arrays(2, 3, 5, 5), "posterize", 8.0) == 0).all()


@pytest.mark.parametrize("channels", [1, 3, 20])
def test_channel_shift_adds_one_offset_to_each_channel(channels):
    a = arrays(3, channels, 4, 5)
    draws = np.random.default_rng(1).random((3, 16))
    m = [0.1, 0.2, 1.0]
    expected = each(
        a, lambda v, i, c: half_up(v + 255 * (m[i] * (2 * float(draws[i, c % 16]) - 1)))
    )
    np.testing.assert_array_equal(ours(a, "channel_shift", m, draws), expected)


def test_hue_turns_the_hsv_angle():
    a = arrays(6, 3, 6, 6)
    a[0] = 77  # no colour, no hue
    a[1, 1:] = 0  # one channel only
    m = [0.1, 1 / 3, -0.5, 0.07, -0.02, 0.5]
    out = ours(a, "hue", m)
    for i, y, x in itertools.product(range(6), range(6), range(6)):
        h, s, v = colorsys.rgb_to_hsv(*(a[i, :, y, x] / 255))
        expected = 255 * np.array(colorsys.hsv_to_rgb((h + m[i]) % 1.0, s, v))
        # A level's half is rounded from float32 here, from a double there.
        assert np.abs(out[i, :, y, x] - expected).max() < 0.51
    assert (out[0] == 77).all()


def test_hue_by_a_third_moves_red_to_green():
    red = np.zeros((1, 3, 2, 2), dtype="u1")
    red[:, 0] = 200
    np.testing.assert_array_equal(ours(red, "hue", 1 / 3)[0, :, 0, 0], [0, 200, 0])


def test_gray_blends_towards_pillows_luma():
    a = arrays(3, 3, 6, 7)
    m = [0.25, 0.5, 1.0]
    out = ours(a, "gray", m)
    for i, y, x in itertools.product(range(3), range(6), range(7)):
        red, green, blue = (int(v) for v in a[i, :, y, x])
        gray = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
        expected = [math.floor(gray + (1 - m[i]) * (v - gray)) for v in (red, green, blue)]
        np.testing.assert_array_equal(out[i, :, y, x], expected)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_gray_of_other_channel_counts_is_their_mean(channels):
    a = arrays(2, channels, 6, 7)
    expected = np.floor(a.astype(float).mean(axis=1, keepdims=True) + 0.5)
    np.testing.assert_array_equal(ours(a, "gray", 1.0), np.broadcast_to(expected, a.shape))


@pytest.mark.parametrize("op", ["color", "gray", "hue", "channel_shuffle"])
def test_gray_images_stay_gray(op):
    a = arrays(3, 1, 6, 7)
    np.testing.assert_array_equal(ours(a, op, 0.5), a)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channel_shuffle_draws_every_other_order_alike(channels):
    orders = math.factorial(channels) - 1
    n = orders * 40
    a = np.broadcast_to(np.arange(channels, dtype="u1")[None, :, None, None], (n, channels, 1, 1))
    draws = np.zeros((n, 16))
    draws[:, 0] = (np.arange(n) + 0.5) / n
    seen = [tuple(row) for row in ours(a.copy(), "channel_shuffle", 0.0, draws)[:, :, 0, 0]]
    assert tuple(range(channels)) not in seen
    assert {seen.count(order) for order in set(seen)} == {40}
    assert len(set(seen)) == orders


def test_channel_shuffle_of_many_channels_keeps_them_all():
    a = arrays(5, 9, 3, 3)
    draws = np.random.default_rng(2).random((5, 16))
    out = ours(a, "channel_shuffle", 0.0, draws)
    for before, after in zip(a, out, strict=True):
        assert {c.tobytes() for c in before} == {c.tobytes() for c in after}
        assert not np.array_equal(before, after)


def slow_blur(plane, sigma):
    """Two-dimensional sum over the window, weights as a product, border repeated."""
    height, width = plane.shape
    reach = max(math.ceil(3 * sigma), 1)
    weight = {k: math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1)}
    total = sum(weight.values())
    out = np.zeros((height, width))
    for y, x in itertools.product(range(height), range(width)):
        for j, i in itertools.product(weight, weight):
            row, column = min(max(y + j, 0), height - 1), min(max(x + i, 0), width - 1)
            out[y, x] += weight[j] * weight[i] / total**2 * plane[row, column]
    return out


def test_blur_is_a_gaussian_mean_with_its_own_sigma_per_sample():
    a = arrays(4, 2, 9, 7)
    sigma = [0.3, 0.8, 1.5, 2.0]
    out = ours(a, "blur", sigma)
    for i, c in itertools.product(range(4), range(2)):
        # Half a level is rounding, a thousandth is float32.
        assert np.abs(out[i, c] - slow_blur(a[i, c].astype(float), sigma[i])).max() < 0.501


def test_blur_is_cut_at_three_sigma_of_its_own_sample():
    x = np.random.default_rng(8).random((3, 1, 9, 13))
    sigma = [0.4, 2.0, 1.2]
    out = ours(x, "blur", sigma)
    for i in range(3):
        np.testing.assert_allclose(out[i, 0], slow_blur(x[i, 0], sigma[i]), atol=1e-12)


def test_blur_keeps_a_flat_image():
    flat = np.full((1, 3, 10, 10), 201, dtype="u1")
    np.testing.assert_array_equal(ours(flat, "blur", 1.7), flat)


def slow_mix(z):
    mask = (1 << 64) - 1
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def slow_normals(seed, count):
    """SplitMix64 in Python integers, Box-Muller in doubles."""
    golden, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    key = slow_mix((seed + golden) & mask)
    cosines, sines = [], []
    for place in range(1, (count + 1) // 2 + 1):
        bits = slow_mix((key + place * golden) & mask)
        radius = math.sqrt(-2 * math.log(((bits >> 40) + 0.5) / 2**24))
        angle = 2 * math.pi * (bits & 0xFFFFFF) / 2**24
        cosines.append(radius * math.cos(angle))
        sines.append(radius * math.sin(angle))
    return (cosines + sines)[:count]


def test_noise_is_the_hash_of_its_draw_and_place():
    draws = np.random.default_rng(3).random((3, 16))
    a = arrays(3, 3, 5, 7)
    m = [0.02, 0.1, 0.5]
    out = ours(a, "gaussian_noise", m, draws)
    for i in range(3):
        noise = np.reshape(slow_normals(int(draws[i, 0] * 2**53), 105), (3, 5, 7))
        expected = np.clip(a[i] + 255 * m[i] * noise, 0, 255)
        assert np.abs(out[i] - expected).max() < 0.501


def test_noise_numbers_are_standard_normal_and_unrelated():
    seeds = torch.arange(40) + (1 << 40)
    z = normals(seeds, 10_000).double().numpy()
    # Five standard errors of 400,000 numbers.
    assert abs(z.mean()) < 5 / math.sqrt(z.size)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / z.size)
    assert abs((z**4).mean() - 3) < 5 * math.sqrt(96 / z.size)
    within = [np.mean(z[:, :-lag] * z[:, lag:]) for lag in (1, 2, 3, 32, 5000)]
    across = np.mean(z[:-1] * z[1:])
    assert np.abs([*within, across]).max() < 5 / math.sqrt(z.size // 2)


def test_cutout_fills_a_square_around_a_drawn_pixel():
    a = np.maximum(arrays(40, 2, 9, 12), 1)
    rng = np.random.default_rng(4)
    draws = rng.random((40, 16))
    m = rng.uniform(0.05, 1, 40)
    expected = a.copy()
    for i in range(40):
        side = math.floor(m[i] * 9 + 0.5)
        left = math.floor(draws[i, 0] * 12) - side // 2
        upper = math.floor(draws[i, 1] * 9) - side // 2
        for y, x in itertools.product(range(upper, upper + side), range(left, left + side)):
            if 0 <= y < 9 and 0 <= x < 12:
                expected[i, :, y, x] = 128
    np.testing.assert_array_equal(ours(a, "cutout", m, draws, fill=0.5), expected)


def test_crop_pads_and_cuts_at_a_drawn_place():
    a = arrays(60, 2, 8, 12)
    rng = np.random.default_rng(5)
    draws = rng.random((60, 16))
    m = rng.uniform(0.05, 0.5, 60)
    out = ours(a, "crop", m, draws, fill=1.0)
    for i in range(60):
        px, py = math.floor(m[i] * 12 + 0.5), math.floor(m[i] * 8 + 0.5)
        padded = np.pad(a[i], ((0, 0), (py, py), (px, px)), constant_values=255)
        x, y = math.floor(draws[i, 0] * (2 * px + 1)), math.floor(draws[i, 1] * (2 * py + 1))
        np.testing.assert_array_equal(out[i], padded[:, y : y + 8, x : x + 12])


def test_translate_in_whole_pixels_survives_its_fraction():
    """Three pixels written as a fraction of any side are three pixels, not two."""
    for side in range(4, 400):
        a = np.zeros((1, 1, 1, side), dtype="u1")
        a[..., 0] = 9
        assert ours(a, "translate_x", 3 / side)[0, 0, 0].argmax() == 3


@pytest.mark.parametrize(("op", "m"), [("brightness", -0.37), ("gamma", 0.5), ("sharpness", 0.5)])
def test_uint16_is_the_float_result_to_the_nearest_level(op, m):
    a = np.random.default_rng(9).integers(0, 65536, (2, 3, 12, 12)).astype(np.uint16)
    expected = 65535 * ours(a / 65535, op, m)
    # Half a level is rounding, the rest float32 at 65535.
    assert np.abs(ours(a, op, m) - expected).max() < 0.52


def test_float_posterize_and_equalize_stand_on_levels():
    """On floats that stand for levels both give the levels that `uint8` gives."""
    a = arrays(3, 3, 20, 20)
    for op, m in (("posterize", 3.0), ("equalize", 0.0), ("solarize", 101.0)):
        levels = ours(a, op, m).astype(np.float64)
        np.testing.assert_allclose(ours(a / 255.0, op, m) * 255, levels, atol=1e-3)


def test_float_autocontrast_uses_the_exact_extremes():
    x = np.random.default_rng(6).uniform(0.3, 0.6, (2, 3, 8, 8))
    low, high = x.min(axis=(2, 3), keepdims=True), x.max(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(ours(x, "autocontrast", 0.0), (x - low) / (high - low), atol=1e-9)


def test_float_blend_ops_follow_their_lines():
    x = np.random.default_rng(7).random((3, 3, 8, 8))
    gray = np.einsum("nchw,c->nhw", x, np.array([19595, 38470, 7471]) / 65536)[:, None]
    m = np.array([-0.8, 0.3, 0.9])
    f = (1 + m)[:, None, None, None]
    cases = {
        "brightness": f * x,
        "contrast": gray.mean(axis=(2, 3), keepdims=True) * (1 - f) + f * x,
        "color": gray + f * (x - gray),
    }
    for op, expected in cases.items():
        np.testing.assert_allclose(ours(x, op, m), np.clip(expected, 0, 1), atol=1e-9)
