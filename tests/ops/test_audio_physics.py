"""Audio operations against physics: frequencies, decibels, seconds, measured on what comes out."""

import numpy as np
import pytest
import torch
from ops.audio_signals import RATE, decibels, peak_hertz, tone, voices

from policysearch.ops.audio_clips import fast_length
from policysearch.ops.audio_kernels import AudioSettings, Clips, apply_stages
from policysearch.ops.audio_noise import white_noise
from policysearch.ops.stages import stage_groups

SETTINGS = AudioSettings(RATE)


def apply(x, op, magnitude=0.0, draws=(), settings=SETTINGS, lengths=None):
    """One op with one magnitude on all clips: samples and lengths."""
    n = len(x)
    drawn = np.broadcast_to(np.asarray(draws, dtype=float), (n, 1, len(draws)))
    amount = np.full((n, 1), float(magnitude))
    groups = stage_groups("audio", [op], np.zeros((n, 1), int), amount, drawn)
    lengths = np.full(n, x.shape[2]) if lengths is None else np.array(lengths)
    return apply_stages(x, lengths, groups, settings)


def changed(x, op, magnitude=0.0, draws=(), settings=SETTINGS):
    return apply(x, op, magnitude, draws, settings)[0]


def power(x):
    return float(x.to(torch.float64).square().mean())


def middle(x):
    """The clip without its ends, where windows and filters meet silence."""
    return x[..., x.shape[2] // 4 : -x.shape[2] // 4]


@pytest.mark.parametrize("semitones", [4, -4, 1, 12, -7.5, 24])
def test_pitch_moves_a_tone_by_semitones(semitones):
    raised = changed(tone(440), "pitch", semitones)
    assert peak_hertz(raised) == pytest.approx(440 * 2 ** (semitones / 12), abs=0.5)
    # As loud as before, and as long.
    assert decibels(power(middle(raised)) / power(middle(tone(440)))) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("magnitude", [0.2, -0.25, 1.0])
def test_tempo_keeps_pitch_and_loudness_and_changes_the_length(magnitude):
    rate = 1 + magnitude if magnitude > 0 else 1 / (1 - magnitude)
    x = torch.nn.functional.pad(tone(440, 4000), (0, 8000))
    y, lengths = apply(x, "tempo", magnitude, lengths=[4000])
    assert lengths[0] == round(4000 / rate)
    played = y[..., : lengths[0]]
    assert peak_hertz(played) == pytest.approx(440, abs=1)
    assert decibels(power(middle(played)) / power(tone(440))) == pytest.approx(0, abs=0.3)


def test_tempo_moves_events():
    """Two clicks lie closer together, and each is still a click."""
    x = torch.zeros(1, 1, RATE)
    x[..., 2000] = x[..., 5000] = 1.0
    energy = changed(x, "tempo", 0.25)[0, 0].square()
    for expected in (1600, 4000):
        near = energy[expected - 300 : expected + 300]
        place = float((near * torch.arange(600)).sum() / near.sum()) + expected - 300
        assert place == pytest.approx(expected, abs=80)
        assert float(near.sum() / energy.sum()) > 0.4


@pytest.mark.parametrize(("magnitude", "rate"), [(0.25, 1.25), (-0.25, 0.8), (1.0, 2.0)])
def test_speed_plays_the_same_curve_at_another_rate(magnitude, rate):
    def curve(seconds):
        waves = [np.sin(2 * np.pi * f * seconds + f) for f in (120, 700, 1900)]
        return np.sum(waves, axis=0) * np.sin(np.pi * seconds / (6000 / RATE)) ** 2

    x = np.zeros(RATE)
    x[:6000] = curve(np.arange(6000) / RATE)
    y, lengths = apply(torch.from_numpy(x)[None, None], "speed", magnitude, lengths=[6000])
    n = min(RATE, round(6000 / rate))
    assert lengths[0] == n
    expected = curve(np.arange(n) * rate / RATE)
    assert np.abs(y[0, 0, :n].numpy() - expected).max() < 0.02
    assert not y[0, 0, n:].any()


def test_speed_folds_nothing_back():
    """3.9 kHz at double speed is beyond what 8 kHz sampling can hold: it must vanish."""
    assert power(changed(tone(3900), "speed", 1.0)) < 1e-3 * power(tone(3900))


@pytest.mark.parametrize(
    ("op", "hertz", "expected_db"),
    [
        ("low_pass", 250, 0),
        ("low_pass", 1000, -3.01),
        ("low_pass", 2000, -24.1),
        ("high_pass", 500, -24.1),
        ("high_pass", 1000, -3.01),
        ("high_pass", 3500, 0),
    ],
)
def test_pass_filters_fall_by_24_db_an_octave(op, hertz, expected_db):
    x = tone(hertz)
    y = middle(changed(x, op, 1000))
    assert decibels(power(y) / power(middle(x))) == pytest.approx(expected_db, abs=0.1)


def test_frequency_mask_removes_its_band_and_nothing_else():
    # The mel scale ends at 2146 mel; from 0.25 to 0.5 of it lie 427 to 1113 Hz.
    draws = (0.25 / 0.75,)
    removed = power(changed(tone(800), "freq_mask", 0.25, draws)) / power(tone(800))
    assert decibels(removed) < -30
    for hertz in (300, 1400, 3000):
        kept = power(changed(tone(hertz), "freq_mask", 0.25, draws)) / power(tone(hertz))
        assert decibels(kept) == pytest.approx(0, abs=0.1)
    assert not changed(tone(800), "freq_mask", 1.0, draws).any()


@pytest.mark.parametrize("op", ["noise_snr", "color_noise_snr", "background_mix"])
@pytest.mark.parametrize("snr_db", [20.0, 5.0, -3.0])
def test_noise_has_the_ratio_that_was_asked_for(op, snr_db):
    x = voices(4)
    lengths = np.array([2000, 1200, 300, 2000])
    x[1, :, 1200:] = 0
    x[2, :, 300:] = 0
    settings = AudioSettings(RATE, Clips(voices(5, length=800), np.full(5, 800)))
    y, _ = apply(x, op, snr_db, (0.3, 0.8), settings, lengths)
    for clip, noisy, length in zip(x, y, lengths, strict=True):
        noise = (noisy - clip)[:, :length]
        assert decibels(power(clip[:, :length]) / power(noise)) == pytest.approx(snr_db, abs=0.01)
        assert not noisy[:, length:].any()


def test_white_noise_is_normal_flat_and_of_its_own_for_every_seed():
    seeds = (np.arange(64) + 0.1) / 64
    noise = white_noise(seeds, 2, 8000, torch.zeros(1, dtype=torch.float64))
    assert noise.mean().abs() < 0.01
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert (noise**4).mean() == pytest.approx(3, abs=0.1)
    spectrum = torch.fft.rfft(noise).abs().square().mean(dim=(0, 1))
    octaves = [float(spectrum[2**k * 60 : 2 ** (k + 1) * 60].mean()) for k in range(6)]
    assert max(octaves) / min(octaves) < 1.1
    rows = noise.flatten(0, 1)
    correlations = (rows @ rows.T / 8000).fill_diagonal_(0).abs()
    assert correlations.max() < 6 / np.sqrt(8000)
    shorter = white_noise(seeds, 2, 100, noise)
    assert torch.equal(shorter, noise[..., :100])


@pytest.mark.parametrize(("draw", "slope_db"), [(0.0, -6), (0.5, 0), (0.99999, 6)])
def test_coloured_noise_has_the_drawn_slope(draw, slope_db):
    x = tone(440, 2**17)
    noise = (changed(x, "color_noise_snr", 0.0, (0.4, draw)) - x)[0, 0].to(torch.float64)
    spectrum = torch.fft.rfft(noise).abs().square()
    hertz = np.fft.rfftfreq(2**17, 1 / RATE)
    levels = [
        decibels(float(spectrum[(hertz >= low) & (hertz < 2 * low)].mean()))
        for low in (60, 120, 240, 480, 960, 1920)
    ]
    assert np.polyfit(range(6), levels, 1)[0] == pytest.approx(slope_db, abs=0.3)


def test_gain_is_in_decibels():
    assert decibels(power(changed(tone(440), "gain", 6)) / power(tone(440))) == pytest.approx(6)
    assert decibels(power(changed(tone(440), "gain", -9)) / power(tone(440))) == pytest.approx(-9)


def test_bitcrush_leaves_as_many_levels_as_its_bits_hold():
    ramp = torch.linspace(-1, 1, 10_001)[None, None, :-1]
    y = changed(ramp, "bitcrush", 5)
    assert len(y.unique()) in (32, 33)  # both ends are there
    assert (y - ramp).abs().max() <= 2**-5 + 1e-6


def test_tanh_distortion_flattens_peaks_and_keeps_loudness():
    x = tone(440)
    y = changed(x, "tanh_distortion", 0.7)
    assert power(y) == pytest.approx(power(x), rel=1e-4)
    # A sine's peak is 3 dB above its loudness, that of a square is 0 dB.
    assert decibels(float(y.abs().max()) ** 2 / power(y)) < 0.6
    assert peak_hertz(y) == pytest.approx(440, abs=0.1)
    louder = changed(3 * x, "tanh_distortion", 0.7)
    torch.testing.assert_close(louder, 3 * y)


@pytest.mark.parametrize(("magnitude", "first", "length"), [(0.3, 600, 1300), (-0.3, 0, 700)])
def test_shift_moves_by_a_fraction_of_the_length(magnitude, first, length):
    x = torch.zeros(1, 1, 2000)
    x[..., :1000] = torch.arange(1, 1001) / 1000
    y, lengths = apply(x, "shift", magnitude, lengths=[1000])
    assert lengths[0] == length
    start = round(1000 * magnitude)
    expected = torch.zeros(2000)
    source = slice(max(0, -start), 1000)
    expected[max(0, start) : start + 1000] = x[0, 0, source]
    assert torch.equal(y[0, 0], expected)
    assert not y[0, 0, : max(0, start)].any()


def test_shift_loses_what_leaves_the_room():
    x = torch.ones(1, 1, 100)
    y, lengths = apply(x, "shift", 0.4)
    assert y[0, 0].tolist() == [0] * 40 + [1] * 60
    assert lengths[0] == 100


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_time_mask_silences_one_stretch_inside_the_clip(draw):
    x = torch.ones(1, 1, 1000)
    x[..., 800:] = 0
    y, _ = apply(x, "time_mask", 0.2, (draw,), lengths=[800])
    (silent,) = (y[0, 0, :800] == 0).nonzero(as_tuple=True)
    assert len(silent) == 160
    assert silent[-1] - silent[0] == 159
    assert silent[0] == int(draw * 641)


def test_reverb_decays_by_60_db_in_its_time():
    x = torch.zeros(16, 1, 2 * RATE, dtype=torch.float64)
    x[..., 0] = 1.0
    seeds = np.random.default_rng(0).random(16)
    y = torch.cat(
        [changed(row[None], "reverb", 0.5, (u,)) for row, u in zip(x, seeds, strict=True)]
    )
    response = y[:, 0].square().mean(dim=0)
    assert float(response.sum()) == pytest.approx(1.0)
    direct, echoes = float(response[0]), float(response[1:].sum())
    assert decibels(echoes / direct) == pytest.approx(0, abs=0.1)
    # Backward-integrated energy (Schroeder 1965) between -5 and -35 dB, extrapolated to -60 dB.
    left = response[1:].flip(0).cumsum(0).flip(0)
    level = 10 * np.log10(np.maximum(left.numpy() / float(left[0]), 1e-12))
    fit = (level <= -5) & (level >= -35)
    slope = np.polyfit(np.arange(len(level))[fit] / RATE, level[fit], 1)[0]
    assert -60 / slope == pytest.approx(0.5, rel=0.05)


def test_background_is_another_clip_of_the_batch_when_there_is_no_bank():
    x = torch.cat([tone(300), tone(1000)])
    y = changed(x, "background_mix", 0.0, (0.7, 0.0))
    torch.testing.assert_close(y[0], x[0] + x[1], atol=2e-3, rtol=0)
    alone = changed(x[:1], "background_mix", 0.0, (0.7, 0.0))
    assert torch.equal(alone, x[:1])


def test_a_short_background_is_repeated_and_several_channels_become_one():
    bank = Clips(torch.tensor([[[1.0, 0.0, 0.0], [1.0, -2.0, 0.0]]]), np.array([2]))
    x = torch.ones(1, 1, 6)
    y = changed(x, "background_mix", 0.0, (0.0, 0.0), AudioSettings(RATE, bank))
    torch.testing.assert_close(y, 1 + torch.tensor([[[1.0, -1.0] * 3]]))


def test_a_silent_background_adds_nothing():
    bank = Clips(torch.zeros(2, 1, 5), np.array([5, 0]))
    x = tone(440)
    assert torch.equal(changed(x, "background_mix", 0.0, (0.6, 0.5), AudioSettings(RATE, bank)), x)


@pytest.mark.parametrize("n", [1, 2, 7, 8000, 8001, 9001, 44_101])
def test_fast_lengths_are_even_and_of_small_factors(n):
    length = fast_length(n)
    assert n <= length <= max(2, 1.2 * n + 1)
    assert length % 2 == 0
    for factor in (2, 3, 5):
        while length % factor == 0:
            length //= factor
    assert length == 1
