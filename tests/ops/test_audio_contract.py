"""What every audio operation must keep, asked of the whole table."""

import itertools

import numpy as np
import pytest
import torch
from ops.audio_signals import RATE, displacement, voices

from policysearch.errors import InvalidValueError, UnknownNameError
from policysearch.ops.audio_kernels import AudioSettings, Clips, apply_stages
from policysearch.ops.registry import op_table

TABLE = op_table("audio")
NAMES = list(TABLE)
SETTINGS = AudioSettings(RATE, Clips(voices(3, length=700), np.array([700, 500, 700])))
N_DRAWS = 2


def plan(spec, n, level, seed=0):
    """Op index, magnitudes of alternating sign and draws for `n` clips with one op."""
    sign = np.where(np.arange(n) % 2, -1.0, 1.0) if spec.is_signed else np.ones(n)
    magnitude = sign * spec.magnitude(level) if spec.has_magnitude else np.zeros(n)
    draws = np.random.default_rng(seed).random((n, N_DRAWS))
    return np.zeros(n, dtype=np.int64), magnitude, draws


def apply(x, ops, index, magnitude, draws, settings=SETTINGS, lengths=None):
    stages = (np.asarray(part)[:, None] for part in (index, magnitude, draws))
    return apply_stages(x, ops, *stages, settings, lengths)


def changed(name, x, level, lengths=None, seed=0, settings=SETTINGS):
    spec = TABLE[name]
    return apply(x, [name], *plan(spec, len(x), level, seed), settings, lengths)


def assert_near(a, b):
    """Equal but for rounding: transforms of other batch sizes take other paths."""
    torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
class TestAudioOps:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
    @pytest.mark.parametrize("channels", [1, 2])
    @pytest.mark.parametrize("length", [1, 2, 37, 2000])
    def test_keeps_shape_and_dtype_and_input(self, name, dtype, channels, length):
        x = voices(4, channels, length, dtype)
        before = x.clone()
        for level in (0.3, 1.0):
            y, lengths = changed(name, x, level)
            assert y.shape == x.shape
            assert y.dtype == x.dtype
            assert y.isfinite().all()
            assert lengths.shape == (4,)
            assert (lengths >= 0).all()
            assert (lengths <= length).all()
        assert torch.equal(x, before), "the input was changed"

    def test_leaves_clips_without_op_alone(self, name):
        spec = TABLE[name]
        x = voices(6, 2)
        index, magnitude, draws = plan(spec, 6, 1.0)
        index[::2] = -1
        y, _ = apply(x, [name], index, magnitude, draws)
        assert torch.equal(y[::2], x[::2])
        alone, _ = apply(x, [name], index * 0 - 1, magnitude, draws)
        assert alone is x

    def test_level_zero_is_the_identity_where_declared(self, name):
        x = voices(4)
        y, _ = changed(name, x, 0.0)
        assert torch.equal(y, x) == TABLE[name].is_identity_at_low

    def test_strength_never_falls_as_level_rises(self, name):
        x = voices(64)
        is_moving = TABLE[name].family == "time" and name != "time_mask"
        changes = []
        for level in (0.0, 0.25, 0.5, 0.75, 1.0):
            y, _ = changed(name, x, level)
            change = displacement(x, y) if is_moving else float((y - x).abs().mean())
            changes.append(change)
        assert all(b >= a - 1e-4 for a, b in itertools.pairwise(changes)), changes
        assert name == "identity" or changes[-1] > 0.005

    def test_a_clip_does_not_depend_on_its_batch(self, name):
        spec = TABLE[name]
        x = voices(7)
        lengths = np.array([2000, 1500, 2000, 900, 2000, 1, 2000])
        others = [n for n in NAMES if n != name]
        index, magnitude, draws = plan(spec, 7, 0.7)
        mixed_index, mixed_magnitude = index.copy(), magnitude.copy()
        for k in (1, 4, 6):
            other = TABLE[others[(5 * k) % len(others)]]
            mixed_index[k] = 1 + others.index(other.name)
            mixed_magnitude[k] = other.magnitude(0.5) if other.has_magnitude else 0.0
        batch, batch_lengths = apply(x, [name], index, magnitude, draws, lengths=lengths)
        mixed, _ = apply(x, [name, *others], mixed_index, mixed_magnitude, draws, lengths=lengths)
        for i in (0, 2, 3, 5):
            row = slice(i, i + 1)
            alone, alone_lengths = apply(
                x[row], [name], index[row], magnitude[row], draws[row], lengths=lengths[row]
            )
            assert_near(alone, batch[row])
            assert_near(alone, mixed[row])
            assert alone_lengths[0] == batch_lengths[i]

    def test_a_magnitude_does_not_depend_on_its_neighbours(self, name):
        spec = TABLE[name]
        x = voices(5)
        levels = np.array([0.1, 0.4, 0.0, 0.9, 1.0])
        magnitude = spec.low + (spec.high - spec.low) * levels
        index, _, draws = plan(spec, 5, 1.0)
        batch, _ = apply(x, [name], index, magnitude, draws)
        for i in range(5):
            row = slice(i, i + 1)
            alone, _ = apply(x[row], [name], index[row], magnitude[row], draws[row])
            assert_near(alone, batch[row])

    def test_same_arguments_give_the_same_samples(self, name):
        x = voices(4)
        torch.manual_seed(5)
        state = torch.get_rng_state()
        first, _ = changed(name, x, 0.8)
        assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
        assert torch.equal(changed(name, x, 0.8)[0], first)

    def test_only_declared_draws_matter(self, name):
        spec = TABLE[name]
        x = voices(4)
        index, magnitude, draws = plan(spec, 4, 1.0)
        other = draws.copy()
        other[:, spec.n_draws :] = 0.999 - other[:, spec.n_draws :]
        first, _ = apply(x, [name], index, magnitude, draws)
        assert torch.equal(first, apply(x, [name], index, magnitude, other)[0])
        for k in range(spec.n_draws):
            other = draws.copy()
            other[:, k] = 0.999 - draws[:, k]
            assert not torch.equal(first, apply(x, [name], index, magnitude, other)[0])

    @pytest.mark.parametrize("channels", [1, 2])
    def test_silence_stays_silent(self, name, channels):
        x = torch.zeros(4, channels, 2000)
        y, _ = changed(name, x, 1.0)
        assert not y.any()

    def test_what_lies_past_the_length_is_not_heard(self, name):
        x = voices(4)
        lengths = np.array([2000, 1000, 1, 0])
        noisy = x.clone()
        for row, length in enumerate(lengths):
            noisy[row, :, length:] = float("nan")
        y, new_lengths = changed(name, noisy, 0.8, lengths)
        if name == "identity":
            return  # nothing is done at all
        assert y.isfinite().all()
        for row, length in enumerate(new_lengths):
            assert not y[row, :, length:].any()
        assert new_lengths[3] == 0

    def test_full_scale_and_beyond_stays_finite(self, name):
        square = torch.sign(voices(4)) * 1.5
        assert changed(name, square, 1.0)[0].isfinite().all()

    def test_nan_stays_in_its_clip(self, name):
        x = voices(4)
        x[1, 0, 700] = float("nan")
        y, _ = changed(name, x, 0.6)
        assert y[[0, 2, 3]].isfinite().all()

    def test_takes_an_empty_batch(self, name):
        y, lengths = changed(name, voices(1)[:0], 1.0)
        assert y.shape == (0, 1, 2000)
        assert lengths.shape == (0,)

    def test_takes_a_batch_that_is_not_contiguous(self, name):
        x = voices(4, 2)
        strided = x.permute(0, 2, 1).contiguous().permute(0, 2, 1)
        assert_near(changed(name, strided, 0.7)[0], changed(name, x, 0.7)[0])

    def test_half_precision_is_near_single(self, name):
        x = voices(4).to(torch.float16)
        y, _ = changed(name, x, 0.6)
        expected, _ = changed(name, x.to(torch.float32), 0.6)
        assert (y.to(torch.float32) - expected).abs().max() < 0.01


@pytest.mark.parametrize("name", [name for name in NAMES if TABLE[name].is_identity_at_low])
def test_identity_is_reached_without_a_jump(name):
    x = voices(4)
    y, _ = changed(name, x, 1e-7)
    # The kernels themselves, not the short cut at level zero, end in the identity.
    assert (x - y).abs().mean() < 1e-3


def test_every_op_has_natural_units_and_a_source():
    for spec in TABLE.values():
        assert spec.source
        if spec.has_magnitude:
            assert spec.unit in {"dB", "Hz", "s", "semitones", "bits", "fraction"}
            assert spec.minimum <= min(spec.low, spec.high)
            assert max(spec.low, spec.high) <= spec.maximum


def test_stages_are_applied_in_order():
    x = voices(3)
    index = np.array([[0, 1]] * 3)
    magnitude = np.array([[6.0, 8.0]] * 3)
    draws = np.zeros((3, 2, 0))
    both, _ = apply_stages(x, ["gain", "bitcrush"], index, magnitude, draws, SETTINGS)
    louder = x * 10 ** (6 / 20)
    torch.testing.assert_close(both, torch.round(louder * 128) / 128)


def test_an_unknown_op_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'reverb'"):
        apply(voices(1), ["reverbs"], [0], [0.1], np.zeros((1, 1)))


@pytest.mark.parametrize(
    ("x", "arguments", "text"),
    [
        (torch.zeros(4, 4), {}, "shape"),
        (torch.zeros(1, 1, 4, dtype=torch.int16), {}, "32768"),
        (torch.zeros(1, 1, 0), {}, "one sample"),
        (torch.zeros(1, 1, 4), {"index": 1}, "op_index"),
        (torch.zeros(1, 1, 4), {"magnitude": 1000.0}, "0 to 60 dB"),
        (torch.zeros(1, 1, 4), {"magnitude": float("nan")}, "finite"),
        (torch.zeros(1, 1, 4), {"lengths": [5]}, "lengths"),
        (torch.zeros(1, 1, 4), {"lengths": [0.5]}, "whole numbers"),
        (torch.zeros(1, 1, 4), {"draws": 1.0}, "draws"),
    ],
)
def test_wrong_arguments_say_which_rule_they_break(x, arguments, text):
    n = len(x)
    with pytest.raises(InvalidValueError, match=text):
        apply_stages(
            x,
            ["gain"],
            np.full((n, 1), arguments.get("index", 0)),
            np.full((n, 1), arguments.get("magnitude", 1.0)),
            np.full((n, 1, 2), arguments.get("draws", 0.0)),
            SETTINGS,
            arguments.get("lengths"),
        )
