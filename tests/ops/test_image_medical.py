"""Operations on medical images beside slow formulas, and what they keep."""

import numpy as np
import pytest
import torch
from contracts.op_contract import images
from hypothesis import given, settings
from hypothesis import strategies as st

from policysearch.baselines import baseline_policies
from policysearch.errors import FormatError
from policysearch.named import resolve_policy
from policysearch.ops.image_kernels import ImageSettings, apply_stages
from policysearch.ops.image_medical import KERNELS
from policysearch.ops.kernel import OP_CODE, OpRows
from policysearch.resources import space_files
from policysearch.space_yaml import load_space, parse_yaml, space_from_dict
from policysearch.transform import PolicyTransform

SPACE = space_files()["image/medical"].read_text()
NEAREST, BILINEAR = ImageSettings("nearest", 0.0), ImageSettings("bilinear", 0.0)


def apply(x, *calls, how=BILINEAR, draws=None, seed=0):
    """Applies (op, magnitude) calls in turn, with the same draws for all samples or seeded."""
    n, k = len(x), len(calls)
    if draws is None:
        draws = np.random.default_rng(seed).random((n, k, 4))
    else:
        draws = np.broadcast_to(np.asarray(draws, dtype=float), (n, k, len(draws)))
    index = np.broadcast_to(np.arange(k), (n, k))
    magnitude = np.broadcast_to([m for _, m in calls], (n, k))
    return apply_stages(x, [op for op, _ in calls], index, magnitude, draws, how)


def ramps(side=60, dtype=torch.float32):
    """Column and row of each pixel's centre, as shares of the side."""
    place = (torch.arange(side, dtype=dtype) + 0.5) / side
    return torch.stack([place.expand(side, side), place[:, None].expand(side, side)])[None]


def test_elastic_keeps_the_border_and_never_folds_within_its_range():
    x = ramps().expand(300, 2, 60, 60).clone()
    out = apply(x, ("elastic", 0.08))
    change = out - x
    assert change[:, :, 3:-3, 3:-3].abs().amax() > 0.03
    assert change.abs().amax() <= 0.08
    border = torch.cat([change[..., 0], change[..., -1], change[:, :, 0], change[:, :, -1]])
    assert border.abs().max() < 2e-3
    right, down = (out[:, :, 1:-1, 2:] - out[:, :, 1:-1, :-2]), (
        out[:, :, 2:, 1:-1] - out[:, :, :-2, 1:-1]
    )  # fmt: skip
    jacobian = right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]
    assert jacobian.min() > 0


@pytest.mark.parametrize("how", [NEAREST, BILINEAR], ids=["nearest", "bilinear"])
def test_affine_operations_beside_an_elastic_one_are_resampled_once(how):
    x = images(3, 2, 40, 40, torch.float32)
    draws = np.random.default_rng(1).random((3, 4, 4))
    index = np.tile([0, 1, 2, 1], (3, 1))
    magnitude = np.tile([20.0, 0.08, 0.3, 0.05], (3, 1))
    ops = ["rotate", "elastic", "scale"]
    at_once = apply_stages(x, ops, index, magnitude, draws, how)
    # The same maps on the coordinates themselves, one after the other, without loss.
    place = ramps(40, torch.float64).expand(3, 2, 40, 40).clone()
    smooth = apply_stages(place, ops, index, magnitude, draws, BILINEAR)
    step = place
    for k in range(4):
        step = apply_stages(
            step, ops, index[:, k : k + 1], magnitude[:, k : k + 1], draws[:, k : k + 1], BILINEAR
        )
    inside = (step > 0.1) & (step < 0.9)
    inside = inside.all(dim=1, keepdim=True).expand_as(step)
    assert inside.double().mean() > 0.3
    assert (smooth - step).abs()[inside].max() < 2e-3, "ramps survive any number of resamplings"
    one_by_one = x
    for k in range(4):
        one_by_one = apply_stages(
            one_by_one, ops, index[:, k : k + 1], magnitude[:, k : k + 1], draws[:, k : k + 1], how
        )
    assert at_once.std() > one_by_one.std() or how is NEAREST, "one resampling blurs less"
    assert not torch.equal(at_once, one_by_one)


def test_what_stands_between_parts_the_run():
    x = images(4, 1, 24, 24, torch.float32)
    together = apply(x, ("elastic", 0.08), ("invert", 0.0), ("rotate", 30.0), seed=3)
    draws = np.random.default_rng(3).random((4, 3, 4))
    step = x
    for k, (op, m) in enumerate((("elastic", 0.08), ("invert", 0.0), ("rotate", 30.0))):
        step = apply_stages(
            step, [op], np.zeros((4, 1), int), np.full((4, 1), m), draws[:, k : k + 1], BILINEAR
        )
    assert torch.equal(together, step)


def test_bias_field_is_the_exponential_of_a_cubic():
    x = torch.full((50, 3, 21, 17), 0.2, dtype=torch.float64)
    field = (apply(x, ("bias_field", 0.3)) / 0.2).log()
    assert torch.equal(field[:, 0], field[:, 2])
    v, u = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 17), indexing="ij")
    terms = [u**i * v**j for i in range(4) for j in range(4 - i) if i + j]
    basis = np.stack([t.ravel() for t in terms], axis=1)
    coefficients, residual, *_ = np.linalg.lstsq(
        basis, field[:, 0].flatten(1).numpy().T, rcond=None
    )
    assert residual.max() < 1e-18
    assert 0.25 < np.abs(coefficients).max() <= 0.3


def test_ghosting_weakens_every_gth_frequency_along_the_axis_that_is_drawn():
    x = images(1, 1, 64, 48, torch.float64) * 0.5 + 0.2
    for axis, (draw, dim) in enumerate(((0.2, 2), (0.7, 3))):
        out = apply(x, ("ghosting", 0.6), draws=[draw, 0.99])
        before, after = (torch.fft.rfft(v, dim=dim).abs() for v in (x, out))
        ratio = (after.sum(dim=5 - dim) / before.sum(dim=5 - dim))[0, 0]
        expected = torch.ones_like(ratio)
        expected[10::10] = 0.4
        torch.testing.assert_close(ratio, expected, rtol=0, atol=1e-9), axis


def test_motion_keeps_the_low_frequencies_of_the_still_image():
    x = images(40, 1, 64, 64, torch.float64)
    draws = np.random.default_rng(0).random((40, 16)) * [[0.5, *[1] * 15]]  # along columns
    op = OpRows(np.full(40, OP_CODE["motion"]), np.full(40, 10.0), draws)
    out = KERNELS["motion"](x, op)  # what is cut to the range is not seen
    before, after = (torch.fft.rfft(v, dim=2) for v in (x, out))
    assert (before - after)[:, :, :3].abs().max() < 1e-9
    assert (before - after)[:, :, 20:].abs().amax(dim=(1, 2, 3)).min() > 0.1


def test_rician_noise_lifts_black_and_has_the_deviation_it_says():
    m = 0.08
    black = apply(torch.zeros(1, 1, 300, 300), ("rician_noise", m))
    assert black.mean().item() == pytest.approx(m * (np.pi / 2) ** 0.5, rel=0.01)
    bright = apply(torch.full((1, 1, 300, 300), 0.5), ("rician_noise", m))
    assert bright.std().item() == pytest.approx(m, rel=0.03)
    assert bright.mean().item() == pytest.approx(0.5 + m**2 / (2 * 0.5), abs=1e-3)


def test_low_resolution_at_a_half_interpolates_every_second_pixel():
    x = images(1, 2, 16, 12, torch.float64)
    out = apply(x, ("low_resolution", 0.5))
    small = x[:, :, 1::2, 1::2]
    expected = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-9)


def test_a_window_is_moved_and_widened():
    x = torch.linspace(0, 1, 11, dtype=torch.float64).view(1, 1, 1, 11)
    out = apply(x, ("window_level", 0.2), draws=[1 - 1e-12, 0.5])
    torch.testing.assert_close(out, (x - 0.1).clamp(0, 1))
    wide = apply(x, ("window_level", 0.25), draws=[0.5, 1 - 1e-12])
    torch.testing.assert_close(wide, (x - 0.5) / 1.25 + 0.5)


@settings(max_examples=25, deadline=None)
@given(m=st.floats(-0.5, 0.5), low=st.floats(0.2, 0.4), span=st.floats(0.05, 0.2))
def test_gamma_keeps_mean_and_deviation_of_every_channel(m, low, span):
    x = images(2, 3, 12, 12, torch.float64) * span + low
    out = apply(x, ("gamma_retained", m))
    for before, after in ((x, out), (x.std(dim=(2, 3)), out.std(dim=(2, 3)))):
        dims = (2, 3) if before.ndim == 4 else ()
        torch.testing.assert_close(after.mean(dim=dims), before.mean(dim=dims), rtol=0, atol=1e-6)


def test_a_constant_image_stays_under_gamma_ghosts_and_low_resolution():
    x = torch.full((2, 1, 9, 9), 0.4)
    for op, m in (("gamma_retained", 0.5), ("ghosting", 0.8), ("low_resolution", 0.5)):
        torch.testing.assert_close(apply(x, (op, m)), x, rtol=0, atol=1e-6)


def test_the_medical_space_leaves_out_what_breaks_the_meaning_of_gray_values():
    space = load_space("medical")
    ops = {entry.op for entry in space.ops}
    assert not ops & {"posterize", "solarize", "solarize_add", "invert", "equalize", "hue"}
    assert not ops & {"flip_horizontal", "flip_vertical"}
    arms = baseline_policies(space)
    assert list(arms) == ["none", "default", "trivialaugment", "randaugment", "uniformaugment"]
    nnunet = resolve_policy("nnunet").policy
    assert arms["default"].sub_policies == nnunet.sub_policies
    for arm in arms.values():
        assert {call.op for _, call in arm.calls()} <= ops | {"identity"}
    with pytest.raises(FormatError, match=r"policy 'nnunett'.*at `default_policy`.*'nnunet'"):
        space_from_dict(parse_yaml(SPACE.replace("nnunet", "nnunett"), "x"), "x", "x")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32], ids=str)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_medical_policy_takes_all_depths_and_channels(dtype, channels):
    policy = baseline_policies(load_space("medical"))["uniformaugment"]
    x = images(12, channels, 24, 30, dtype)
    out = PolicyTransform(policy, seed=1)(x, index=range(12))
    assert out.shape == x.shape
    assert out.dtype == dtype
    alone = PolicyTransform(policy, seed=1)(x[5], index=5)
    torch.testing.assert_close(alone.double(), out[5].double(), rtol=0, atol=1e-5)
