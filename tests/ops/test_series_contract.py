"""The contract of all operations on time series, and what each of them does."""

import numpy as np
import pytest
import torch
from contracts.modality_contract import ModalityContract

from policysearch.modalities import Batch
from policysearch.ops.registry import op_table
from policysearch.ops.series_kernels import KERNELS

NAN = float("nan")


def series(n, channels=3, length=40, dtype=torch.float32):
    """Sums of waves with a trend and noise: the channels differ in scale and mean."""
    rng = np.random.default_rng([n, channels, length])
    t = np.linspace(0, 1, length)
    waves = sum(
        rng.normal(size=(n, channels, 1)) * np.sin(2 * np.pi * (k * t + rng.random((n, 1, 1))))
        for k in (1, 2, 5)
    )
    noise = rng.normal(0, 0.1, (n, channels, length))
    values = (waves + noise) * (1 + np.arange(channels))[:, None] + 0.5 * t
    return torch.from_numpy(values).to(dtype)


class SeriesContract(ModalityContract):
    modality = "series"

    def strength_samples(self, spec):
        if spec.name != "permutation":
            return self.samples(64)
        # On a wave two pieces are as far apart as five; on a ramp values tell how far they moved.
        return Batch(torch.linspace(0, 1, 60).expand(4000, 1, 60))

    def edges(self):
        with_gaps = series(4, 2, 20)
        with_gaps[:, :, [0, 7, 8]] = NAN
        return {
            "one step": Batch(series(4, 2, 1)),
            "two steps": Batch(series(4, 2, 2)),
            "one sample": Batch(series(1, 1, 9)),
            "constant": Batch(torch.full((4, 2, 9), 3.5)),
            "missing values": Batch(with_gaps),
            "nothing but missing values": Batch(torch.full((4, 2, 9), NAN)),
            "half precision": Batch(series(4, 2, 9, torch.float16)),
            "bfloat16": Batch(series(4, 2, 9, torch.bfloat16)),
            "double": Batch(series(4, 2, 9, torch.float64)),
            "not contiguous": Batch(series(4, 9, 2).transpose(1, 2)),
            "lengths down to one": Batch(series(4, 2, 9), np.array([1, 2, 9, 5])),
        }


class TestSeries(SeriesContract):
    def samples(self, n):
        return Batch(series(n))


class TestPaddedSeries(SeriesContract):
    """Every series of its own length."""

    def samples(self, n):
        return Batch(series(n, length=60), 30 + (np.arange(n) * 7) % 31)


def apply(name, batch, level=1.0, seed=0):
    contract = TestSeries()
    spec = op_table("series")[name]
    return contract.apply(batch, contract.drawn(spec, level, len(batch), seed))


NAMES = [name for name in op_table("series") if name != "identity"]


def test_every_op_has_a_kernel_and_every_kernel_an_op():
    assert list(KERNELS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_left_alone_and_changes_nothing(name):
    lengths = np.array([25, 40, 31, 12])
    x = series(4)
    padded = apply(name, Batch(x, lengths))
    other = x.clone()
    for i, length in enumerate(lengths):
        assert torch.equal(padded[i, :, length:], x[i, :, length:])
        other[i, :, length:] = 1e6
    same = apply(name, Batch(other, lengths))
    for i, length in enumerate(lengths):
        assert torch.equal(same[i, :, :length], padded[i, :, :length])


@pytest.mark.parametrize("name", NAMES)
def test_a_series_does_not_depend_on_how_far_it_is_padded(name):
    x = series(4, length=25)
    longer = torch.cat([x, torch.zeros(4, 3, 30)], dim=2)
    a = apply(name, Batch(x))
    b = apply(name, Batch(longer, np.full(4, 25)))
    torch.testing.assert_close(b[:, :, :25], a, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_an_affine_change_of_a_channel_passes_through(name):
    x = series(6, dtype=torch.float64)
    scale = torch.tensor([0.01, 3.0, 100.0], dtype=torch.float64)[:, None]
    shift = torch.tensor([5.0, -2.0, 30.0], dtype=torch.float64)[:, None]
    expected = apply(name, Batch(x)) * scale + shift
    torch.testing.assert_close(apply(name, Batch(x * scale + shift)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_channel_stays_constant(name):
    x = series(4)
    x[:, 1] = 7.25
    out = apply(name, Batch(x))
    torch.testing.assert_close(out[:, 1], x[:, 1])


@pytest.mark.parametrize("name", NAMES)
def test_missing_values_stay_missing_and_spoil_no_others(name):
    x = series(8, length=40)
    x[:, 0, 10:13] = NAN
    out = apply(name, Batch(x))
    assert not out[:, 1:].isnan().any()
    if op_table("series")[name].family == "value":
        assert torch.equal(out.isnan(), x.isnan())
    else:
        # A gap of 3 moves; at double or half speed, and with both its borders, it has 1 to 8.
        assert (out[:, 0].isnan().sum(dim=1) <= 8).all()


def test_jitter_has_the_deviation_it_says():
    x = series(400, length=200)
    change = apply("jitter", Batch(x), level=1.0) - x
    std = x.std(dim=2, unbiased=False)
    ratio = change.std(dim=2) / std
    assert abs(ratio.mean().item() - 0.1) < 0.001
    assert abs(change.mean().item() / std.mean().item()) < 0.001


def test_scaling_goes_up_and_down_about_the_mean():
    x = series(2, dtype=torch.float64)
    out = apply("scaling", Batch(x))
    mean = x.mean(dim=2, keepdim=True)
    factor = torch.tensor([1.3, 1 / 1.3], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(out, mean + factor * (x - mean))


def test_drift_starts_at_nothing_and_reaches_its_magnitude():
    x = series(50, length=81, dtype=torch.float64)
    change = (apply("drift", Batch(x)) - x) / x.std(dim=2, keepdim=True, unbiased=False)
    assert change[..., 0].abs().max() < 1e-9
    at_knots = change[..., ::20].abs().amax(dim=2)
    torch.testing.assert_close(at_knots, torch.full_like(at_knots, 0.5))


def test_frequency_noise_keeps_the_mean_and_the_spectrum_near():
    x = series(200, dtype=torch.float64)
    out = apply("frequency_noise", Batch(x))
    torch.testing.assert_close(out.mean(dim=2), x.mean(dim=2))
    before, after = (torch.fft.rfft(v)[..., 1:-1].abs() for v in (x, out))
    logs = (after / before).log()
    assert abs(logs.std().item() - 0.3) < 0.01
    assert abs(logs.mean().item()) < 0.01


def test_sign_flip_twice_is_nothing():
    x = series(3, dtype=torch.float64)
    once = apply("sign_flip", Batch(x))
    torch.testing.assert_close(apply("sign_flip", Batch(once)), x)
    torch.testing.assert_close(once.mean(dim=2), x.mean(dim=2))


def test_channel_dropout_leaves_at_least_one_channel_and_drops_as_often_as_it_says():
    x = series(2000, channels=4)
    out = apply("channel_dropout", Batch(x), level=1.0)
    is_flat = out.std(dim=2) < 1e-6
    assert is_flat.sum(dim=1).max() == 3
    # Of four channels at chance 1/2, all four are drawn in 1 of 16 cases, and one is then kept.
    expected = 4 * 0.5 - 0.5**4
    assert abs(is_flat.sum(dim=1).double().mean().item() - expected) < 5 * (1 / 2000) ** 0.5


def test_time_mask_covers_its_share_in_one_piece():
    x = series(300, channels=1, length=50)
    out = apply("time_mask", Batch(x))
    is_masked = (out != x)[:, 0]
    assert (is_masked.sum(dim=1) == 15).all()
    edges = is_masked.int().diff(dim=1).abs().sum(dim=1)
    assert edges.max() <= 2
    assert is_masked[:, 0].any()
    assert is_masked[:, -1].any()


@pytest.mark.parametrize("name", ["time_warp", "window_slice", "window_warp"])
def test_time_runs_forward_and_within_the_series(name):
    ramp = torch.arange(101, dtype=torch.float64).expand(200, 1, 101).clone()
    out = apply(name, Batch(ramp))
    assert (out.diff(dim=2) > 0).all()
    assert out.min() >= 0
    assert out.max() <= 100
    span = out[..., -1] - out[..., 0]
    if name == "window_slice":
        torch.testing.assert_close(span, torch.full_like(span, 70.0))
    else:
        torch.testing.assert_close(span, torch.full_like(span, 100.0))


def test_window_warp_runs_one_stretch_at_half_or_double_speed():
    ramp = torch.arange(1001, dtype=torch.float64).expand(2, 1, 1001).clone()
    out = apply("window_warp", Batch(ramp))
    for row, slowness, n_steps in ((0, 2.0, 0.6 / 1.3), (1, 0.5, 0.15 / 0.85)):
        whole = 1 + 0.3 * (slowness - 1)
        speeds = out[row, 0].diff()
        is_warped = (speeds - whole / slowness).abs() < 1e-6
        assert abs(is_warped.double().mean().item() - n_steps) < 0.005
        is_plain = (speeds - whole).abs() < 1e-6
        assert abs((is_warped | is_plain).double().mean().item() - 1) < 0.005


def test_permutation_moves_whole_segments():
    ramp = torch.arange(20, dtype=torch.float64).expand(200, 1, 20).clone()
    out = apply("permutation", Batch(ramp))
    assert torch.equal(out.sort(dim=2).values, ramp)
    segments = out.view(200, 5, 4)
    assert (segments.diff(dim=2) == 1).all()
    assert len({tuple(row) for row in segments[..., 0].tolist()}) > 60  # of 120 orders


def test_permutation_of_fewer_steps_than_segments_cuts_between_all_steps():
    ramp = torch.arange(3, dtype=torch.float64).expand(50, 1, 3).clone()
    out = apply("permutation", Batch(ramp))
    assert torch.equal(out.sort(dim=2).values, ramp)
    assert len({tuple(row) for row in out[:, 0].tolist()}) == 6
