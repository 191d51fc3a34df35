"""The contract of all audio operations, and what sound needs beyond it."""

import numpy as np
import pytest
import torch
from contracts.modality_contract import ModalityContract
from ops.audio_signals import RATE, displacement, voices

from policysearch.errors import InvalidValueError
from policysearch.modalities import Batch
from policysearch.ops.audio_kernels import KERNELS, AudioSettings
from policysearch.ops.registry import op_table
from policysearch.policy import Policy
from policysearch.transform import apply_drawn

TABLE = op_table("audio")
NAMES = [name for name in TABLE if name != "identity"]
SETTINGS = AudioSettings(RATE)
MOVING = {"shift", "speed", "tempo", "pitch"}


class AudioContract(ModalityContract):
    modality = "audio"

    def apply(self, batch, drawn):
        policy = Policy((), "audio", "audio-1")
        return apply_drawn(batch.x, drawn, policy, lengths=batch.lengths, settings=SETTINGS)

    def strength_samples(self, spec):
        self.is_moving = spec.name in MOVING
        return self.samples(64)

    is_moving = False

    def distance(self, a, b):
        # Waves that have fallen out of step differ by as much as they ever will: for operations
        # that move sound in time or frequency the distance it has moved counts.
        return displacement(b, a) if self.is_moving else super().distance(a, b)

    def assert_same(self, a, b):
        # Transforms of several clips at once take other paths than of one.
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5)

    def edges(self):
        lengths = np.array([1, 2, 9, 5])
        return {
            "one sample": Batch(voices(4, 2, 1)),
            "two samples": Batch(voices(4, 2, 2)),
            "short": Batch(voices(4, 1, 37)),
            "one clip": Batch(voices(1)),
            "half precision": Batch(voices(4, dtype=torch.float16)),
            "bfloat16": Batch(voices(4, dtype=torch.bfloat16)),
            "double": Batch(voices(4, 2, dtype=torch.float64)),
            "beyond full scale": Batch(torch.sign(voices(4)) * 1.5),
            "not contiguous": Batch(voices(4, 9, 200).transpose(1, 2)),
            "lengths down to one": Batch(silent(voices(4, 2, 9), lengths), lengths),
        }


def silent(x, lengths):
    """The clips with silence behind their lengths."""
    for row, length in zip(x, lengths, strict=True):
        row[:, length:] = 0
    return x


class TestClips(AudioContract):
    def samples(self, n):
        return Batch(voices(n))


class TestPaddedClips(AudioContract):
    """Every clip of its own length, with silence behind it."""

    def samples(self, n):
        lengths = 1200 + (np.arange(n) * 170) % 801
        return Batch(silent(voices(n), lengths), lengths)


def apply(name, x, level=1.0, lengths=None, seed=0, settings=SETTINGS):
    contract = TestClips()
    drawn = contract.drawn(TABLE[name], level, len(x), seed)
    policy = Policy((), "audio", "audio-1")
    return apply_drawn(x, drawn, policy, lengths=lengths, settings=settings)


def test_every_op_has_a_kernel_and_every_kernel_an_op():
    assert set(KERNELS) | {"background_mix"} == set(NAMES)


def test_every_op_has_natural_units_and_a_source():
    for spec in TABLE.values():
        assert spec.source
        if spec.has_magnitude:
            assert spec.unit in {"dB", "Hz", "s", "semitones", "bits", "fraction"}
            assert spec.minimum <= min(spec.low, spec.high)
            assert max(spec.low, spec.high) <= spec.maximum


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 2])
def test_silence_stays_silent(name, channels):
    assert not apply(name, torch.zeros(4, channels, 2000)).any()


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_behind_the_length_is_not_heard(name):
    lengths = np.array([2000, 1000, 1, 1500])
    x = voices(4)
    noisy = x.clone()
    for row, length in enumerate(lengths):
        noisy[row, :, length:] = float("nan")
    y = apply(name, noisy, lengths=lengths)
    assert y.isfinite().all()
    assert torch.equal(y, apply(name, silent(x, lengths), lengths=lengths))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in MOVING])
def test_only_operations_along_time_sound_on_behind_the_length(name):
    lengths = np.array([2000, 1000, 1, 1500])
    y = apply(name, voices(4), lengths=lengths)
    for row, length in enumerate(lengths):
        assert not y[row, :, length:].any()


@pytest.mark.parametrize("name", NAMES)
def test_everything_stays_finite_at_the_edges(name):
    for what, batch in TestClips().edges().items():
        out = apply(name, batch.x, lengths=batch.lengths)
        assert out.isfinite().all(), what


@pytest.mark.parametrize("name", [n for n in NAMES if n != "background_mix"])
def test_nan_stays_in_its_clip(name):
    x = voices(4)
    x[1, 0, 700] = float("nan")
    assert apply(name, x, 0.6)[[0, 2, 3]].isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_near_single(name):
    x = voices(4, dtype=torch.float16)
    difference = apply(name, x, 0.6).to(torch.float32) - apply(name, x.to(torch.float32), 0.6)
    assert difference.abs().max() < 0.01


@pytest.mark.parametrize("name", [n for n in NAMES if TABLE[n].family != "time"])
def test_channels_get_the_same_treatment(name):
    """A filter, a gain, a mask that differed by channel would move the sound in space."""
    x = voices(4).expand(-1, 2, -1)
    y = apply(name, x)
    is_alike = torch.equal(y[:, 0], y[:, 1])
    assert is_alike == (name not in {"noise_snr", "color_noise_snr"})


def test_a_batch_of_one_clip_has_no_other_to_mix_in():
    x = voices(1)
    assert torch.equal(apply("background_mix", x), x)


def test_the_sample_rate_is_asked_for():
    with pytest.raises(InvalidValueError, match=r"sample rate.*load_policy\(..., sample_rate="):
        apply("gain", voices(1), settings=None)
