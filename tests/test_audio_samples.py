"""What users hold of sound, through a policy: forms, the sample rate, recordings to mix in."""

import pickle

import numpy as np
import pytest
import torch
from ops.audio_signals import RATE, peak_hertz, tone, voices

import policysearch
from policysearch.errors import FormatError, InvalidValueError
from policysearch.modalities import modality_of
from policysearch.policy import Mix, OpCall, Policy, Stage, SubPolicy

CLIP = voices(1, 2)[0]


def policy_of(*calls, probability=1.0, mix=None):
    stages = tuple(Stage((call,), probability) for call in calls)
    return Policy((SubPolicy(stages),), "audio", "audio-1", mix=mix)


LOUD = policy_of(OpCall("gain", 6, 6, unit="dB"))
NOISE = policy_of(OpCall("noise_snr", 5, 40, unit="dB"))
OCTAVE = policy_of(OpCall("pitch", 12, 12, unit="semitones"))


@pytest.mark.parametrize(
    ("sample", "shape"),
    [
        (CLIP[0].numpy(), (1, 1, 2000)),
        (CLIP.numpy(), (1, 2, 2000)),
        (CLIP.numpy()[None], (1, 2, 2000)),
        (CLIP.numpy().astype(np.float64)[:, ::-1], (1, 2, 2000)),
        (CLIP[0], (1, 1, 2000)),
        (CLIP, (1, 2, 2000)),
        (voices(5), (5, 1, 2000)),
        (voices(5).to(torch.float16), (5, 1, 2000)),
    ],
)
def test_a_clip_goes_in_and_comes_out_in_its_own_form(sample, shape):
    batch, restore = modality_of("audio").take_in(sample)
    assert tuple(batch.x.shape) == shape
    assert (restore(batch.x) == sample).all()
    out = policysearch.load_policy(NOISE, sample_rate=RATE)(sample)
    assert type(out) is type(sample)
    assert out.dtype == sample.dtype
    assert out.shape == sample.shape
    assert (out != sample).any()


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        ([1.0], "numpy array or a torch tensor, got list"),
        (
            np.zeros(5, dtype=np.int16),
            r"must be floating, got int16. Scale whole numbers to -1..1",
        ),
        (torch.zeros(2, 5, dtype=torch.int16), "32768"),
        (torch.zeros(0), r"A clip must be \(T,\)"),
        (torch.full((5,), float("nan")), "must be finite, got NaN"),
        (torch.full((5,), float("inf")), "must be finite, got infinity"),
        (torch.zeros(5, requires_grad=True), "detach"),
    ],
)
def test_what_is_no_clip_is_told_what_one_is(sample, text):
    with pytest.raises(InvalidValueError, match=text):
        policysearch.load_policy(LOUD, sample_rate=RATE)(sample)


def test_the_rate_is_told_once_or_with_a_call():
    told = policysearch.load_policy(LOUD, sample_rate=RATE)
    later = policysearch.load_policy(LOUD)
    assert torch.equal(told(CLIP), later(CLIP, sample_rate=RATE))
    with pytest.raises(InvalidValueError, match="needs the sample rate"):
        later(CLIP)


def test_the_rate_of_a_call_wins():
    filtering = policysearch.load_policy(
        policy_of(OpCall("low_pass", 1000, 1000, unit="Hz")), sample_rate=1000
    )
    wave = tone(3000)[0]
    assert filtering(wave).abs().mean() > 0.1 * wave.abs().mean()
    assert filtering(wave, sample_rate=RATE).abs().mean() < 0.1 * wave.abs().mean()


@pytest.mark.parametrize("rate", [0, -8000, 44.1, "8000", True, 10**9])
def test_a_rate_is_a_whole_number_of_hertz(rate):
    with pytest.raises(InvalidValueError, match="`sample_rate` must be a whole number of Hz"):
        policysearch.load_policy(LOUD, sample_rate=rate)


def test_no_augmentation_is_for_sound_too():
    assert policysearch.load_policy("none", sample_rate=RATE)(CLIP) is CLIP


def test_a_rate_means_nothing_for_images():
    with pytest.raises(InvalidValueError, match="`sample_rate` is for audio policies"):
        policysearch.load_policy("randaugment", sample_rate=RATE)


def test_a_policy_in_semitones_moves_a_tone_by_them():
    out = policysearch.load_policy(OCTAVE, sample_rate=RATE, seed=3)(tone(440)[0])
    assert min(abs(peak_hertz(out[None]) - hertz) for hertz in (220, 880)) < 1


def test_recordings_are_mixed_in_and_alone_nothing_is():
    mixing = policy_of(OpCall("background_mix", 0, 0, unit="dB"))
    alone = policysearch.load_policy(mixing, sample_rate=RATE)
    assert torch.equal(alone(CLIP), CLIP)
    noises = tone(3000, 480)
    with_noise = policysearch.load_policy(mixing, sample_rate=RATE, background=noises)
    added = with_noise(CLIP) - CLIP
    assert peak_hertz(added[None, :1]) == pytest.approx(3000, abs=5)


@pytest.mark.parametrize(
    ("background", "rate", "text"),
    [
        (torch.zeros(1, 1, 5), None, "`background` needs a `sample_rate`"),
        (torch.zeros(0, 1, 5), RATE, "at least one recording"),
        (torch.zeros(1, 1, 5, dtype=torch.int16), RATE, "must be floating"),
    ],
)
def test_recordings_are_checked(background, rate, text):
    with pytest.raises(InvalidValueError, match=text):
        policysearch.load_policy(LOUD, sample_rate=rate, background=background)


def test_a_longer_clip_goes_on_into_its_padding():
    slow = policysearch.load_policy(policy_of(OpCall("tempo", 1, 1)), sample_rate=RATE)
    x = torch.zeros(20, 1, 6000)
    x[:, :, :2000] = voices(20)
    y = slow(x, lengths=[2000] * 20)
    ends = [int(row.nonzero()[-1]) + 1 for row in y[:, 0]]
    assert set(ends) == {1000, 4000}


def test_a_sample_is_the_same_alone_in_a_batch_and_in_a_loader():
    names = policysearch.load_policy("audiomentations", sample_rate=RATE, seed=1)
    x = voices(6)
    together = names(x, index=np.arange(6), epoch=0)
    for i in range(6):
        alone = names(x[i], index=i, epoch=0)
        torch.testing.assert_close(alone, together[i], rtol=0, atol=2e-5)
    data = policysearch.AugmentedDataset(torch.utils.data.TensorDataset(x, torch.arange(6)), names)
    torch.testing.assert_close(data[2][0], together[2], rtol=0, atol=2e-5)


def test_a_transform_survives_pickling_with_its_rate():
    transform = policysearch.load_policy(NOISE, sample_rate=RATE, seed=2)
    again = pickle.loads(pickle.dumps(transform))
    assert torch.equal(again(CLIP, index=3), transform(CLIP, index=3))


def test_chains_of_clips_are_averaged():
    mixing = policy_of(OpCall("gain", 6, 6), mix=Mix(3, 1.0))
    out = policysearch.load_policy(mixing, sample_rate=RATE)(voices(4))
    ratio = out / voices(4)
    assert ratio.min() > 0.5
    assert ratio.max() < 2.0
    assert (ratio - 1).abs().max() > 0.01


@pytest.mark.parametrize("name", ["default-audio", "specaugment", "audiomentations"])
def test_shipped_policies_apply(name):
    out = policysearch.load_policy(name, sample_rate=RATE)(voices(16))
    assert out.shape == (16, 1, 2000)
    assert (out != voices(16)).any(dim=2).float().mean() > 0.8


def test_an_op_of_another_kind_of_data_is_not_known():
    with pytest.raises(FormatError, match="audio op"):
        policysearch.load_policy(policy_of(OpCall("rotate", 1, 1)), sample_rate=RATE)


def test_values_whose_sum_overflows_are_no_infinity():
    loud = torch.full((2, 1, 400), 3e38)
    transform = policysearch.load_policy(LOUD, sample_rate=RATE)
    assert transform(loud).shape == loud.shape
    both = torch.tensor([float("inf"), float("-inf"), 0.0])
    with pytest.raises(InvalidValueError, match="got infinity"):
        transform(both)
