"""The audio proxy: what it sees, that it learns, and that nothing but its arguments decides."""

import dataclasses

import numpy as np
import pytest
import torch
from ops.audio_signals import RATE, tone

from policysearch.data.dataset import Dataset
from policysearch.draws import Drawer
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.proxies.audio import AudioNetwork, AudioProxyConfig, config_for
from policysearch.proxies.base import settings_for
from policysearch.proxies.mel import frame_sizes, hertz_of, log_mel, mel, n_frames

NONE = Policy((), "audio", "audio-1")
CONFIG = AudioProxyConfig(batch_size=10)


def policy_of(*calls, probability=1.0):
    stages = tuple(Stage((call,), probability) for call in calls)
    return Policy((SubPolicy(stages),), "audio", "audio-1")


def tones(n, seed=0, length=2000, low=(300, 500), high=(1200, 1700)):
    """Clips of two classes, low and high tones with noise, of unequal lengths."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    hertz = np.where(y, rng.uniform(*high, n), rng.uniform(*low, n))
    lengths = rng.integers(length // 2, length + 1, n)
    time = np.arange(length) / RATE
    x = 0.3 * np.sin(2 * np.pi * hertz[:, None] * time + rng.uniform(0, 6, (n, 1)))
    x += rng.normal(0, 0.05, x.shape)
    x *= np.arange(length) < lengths[:, None]
    return Dataset(
        x[:, None].astype(np.float32),
        y.astype(np.int64),
        ("low", "high"),
        modality="audio",
        lengths=lengths.astype(np.int64),
        sample_rate=RATE,
    )


def trained(train, policy=NONE, n_epochs=8, seed=0, config=CONFIG):
    proxy = config.make(train, policy, n_epochs, seed)
    proxy.fit()
    return proxy


@pytest.mark.parametrize("hertz", [200, 440, 1000, 3000])
def test_a_tone_stands_in_the_band_of_its_frequency(hertz):
    energy = log_mel(tone(hertz), RATE, 40)[0].mean(dim=1)
    centres = hertz_of(np.linspace(mel(20), mel(RATE / 2), 42))[1:-1]
    band = int(energy.argmax())
    width = centres[min(band + 1, 39)] - centres[max(band - 1, 0)]
    assert abs(centres[band] - hertz) < width


def test_a_louder_tone_is_louder_by_its_decibels():
    quiet, loud = (log_mel(tone(440, amplitude=a), RATE, 40).max() for a in (0.1, 0.2))
    assert float(loud - quiet) == pytest.approx(np.log(4), abs=0.01)


def test_silence_has_the_lowest_value_and_is_finite():
    assert torch.unique(log_mel(torch.zeros(1, 1, 500), RATE, 40)).tolist() == [
        pytest.approx(np.log(1e-6))
    ]


@pytest.mark.parametrize("rate", [1000, 8000, 16_000, 44_100])
def test_no_band_is_empty_at_any_rate(rate):
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, rate)))
    size, hop = frame_sizes(rate)
    spectrogram = log_mel(noise, rate, 40)
    assert spectrogram.shape == (1, 40, n_frames(rate, rate))
    assert 0.016 <= size / rate <= 0.064
    assert hop == size // 2
    assert spectrogram.mean(dim=2).min() > np.log(1e-6) + 5


def test_two_channels_of_the_same_sound_are_like_one():
    both = tone(440).expand(1, 2, -1)
    torch.testing.assert_close(log_mel(both, RATE, 40), log_mel(tone(440), RATE, 40))


def test_it_tells_tones_apart_that_it_has_not_heard():
    proxy = trained(tones(40))
    test = tones(60, seed=1)
    says = proxy.predict(test)
    assert says.shape == (60, 2)
    assert (says.argmax(axis=1) == test.y).mean() > 0.95
    np.testing.assert_allclose(np.exp(says).sum(axis=1), 1, rtol=1e-5)


def test_augmentation_reaches_the_training():
    """Trained on low tones raised by an octave, it takes for high what is an octave above low."""
    train = tones(40, low=(300, 330), high=(900, 990))
    test = tones(40, seed=1, low=(600, 660), high=(1800, 1980))
    octaves = policy_of(OpCall("speed", 1.0, 1.0))  # an octave up or down
    lost = (trained(train).predict(test).argmax(1) == test.y).mean()
    found = (trained(train, octaves, 20).predict(test).argmax(1) == test.y).mean()
    assert found > lost + 0.2


@pytest.mark.parametrize("policy", [NONE, policy_of(OpCall("noise_snr", 5, 20), probability=0.5)])
def test_equal_seeds_give_equal_networks_and_others_do_not(policy):
    train, test = tones(20), tones(10, seed=1)
    state = torch.get_rng_state()
    first = trained(train, policy, 2).predict(test)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
    assert np.array_equal(trained(train, policy, 2).predict(test), first)
    assert not np.array_equal(trained(train, policy, 2, seed=1).predict(test), first)


def test_inputs_are_normalised_by_the_training_clips():
    quiet = tones(20)
    loud = dataclasses.replace(tones(20, seed=1), x=tones(20, seed=1).x * 10)
    proxy = CONFIG.make(quiet, NONE, 1, 0)
    inputs = proxy.inputs(quiet)
    is_there = inputs[:, -1:].bool().expand(-1, 40, -1)
    own = inputs[:, :-1][is_there]
    assert abs(float(own.mean())) < 0.01
    assert float(own.std()) == pytest.approx(1, abs=0.02)
    others = proxy.inputs(loud)[:, :-1][proxy.inputs(loud)[:, -1:].bool().expand(-1, 40, -1)]
    assert float(others.mean()) > 1


def test_padding_changes_nothing():
    train, test = tones(20), tones(10, seed=1)
    longer = dataclasses.replace(test, x=np.pad(test.x, ((0, 0), (0, 0), (0, 3000))))
    proxy = trained(train, n_epochs=2)
    np.testing.assert_allclose(proxy.predict(longer), proxy.predict(test), atol=1e-4)


def test_a_clip_does_not_depend_on_its_batch():
    network = AudioNetwork(3, 4, 0).eval()
    x = torch.randn(5, 41, 30, generator=torch.Generator().manual_seed(0))
    x[:, -1] = (torch.arange(30) < torch.tensor([[30], [11], [1], [7], [22]])).float()
    x[:, :-1] *= x[:, -1:]
    with torch.no_grad():
        whole = network(x)
        for i in range(5):
            torch.testing.assert_close(network(x[i : i + 1]), whole[i : i + 1])


def test_clips_that_became_longer_are_heard_to_their_end():
    whole = tones(10)
    short = np.where(np.arange(2000) < 1000, whole.x, 0)
    train = dataclasses.replace(whole, x=short, lengths=np.full(10, 1000))
    slower = policy_of(OpCall("speed", 1.0, 1.0))
    proxy = CONFIG.make(train, slower, 1, 0)
    changed = proxy.augmented(train, Drawer(slower, 0).draw(np.arange(10)), slower)
    assert set(changed.lengths.tolist()) == {500, 2000}
    heard = proxy.inputs(changed)[:, -1].sum(dim=1)
    assert set(heard.tolist()) == {500 // 128 + 1, 2000 // 128 + 1}


def test_the_settings_are_those_for_clips():
    assert isinstance(settings_for(tones(30)), AudioProxyConfig)
    assert config_for(tones(30)).batch_size == 8
    assert config_for(tones(30)).default_epochs(100) == 100
    assert config_for(tones(30)).default_epochs(10_000) == 20


def test_augmented_copies_are_scored_with_their_classes():
    proxy = trained(tones(30), n_epochs=2)
    says, y = proxy.predict_augmented(tones(10, seed=1), policy_of(OpCall("noise_snr", 5, 5)))
    assert len(says) == len(y) == 80
    assert y.tolist() == tones(10, seed=1).y.tolist() * 8
