"""The table of audio operations, version `audio-1`. Magnitudes are natural units.

Sources: AM = audiomentations 0.43, the default range of its class of that kind; SpecAugment = Park
et al., 2019 (arXiv:1904.08779), table 1, with 80 mel channels.
Ratios of signal to noise, cut-off frequencies of a low-pass and bit depths fall as strength rises:
`low` is the magnitude at level 0, the weakest, and the larger number.
"""

from __future__ import annotations

from policysearch.ops.spec import OpSpec

FRACTION = "fraction"
STRETCH_SOURCE = "Ko et al., 2015 (Interspeech): 0.9 to 1.1; AM TimeStretch: 0.8 to 1.25"

AUDIO_OPS: tuple[OpSpec, ...] = (
    OpSpec("identity", "amplitude", "Leaves the clip as it is.", "TrivialAugment, table 1"),
    OpSpec(
        "gain", "amplitude", "Makes the clip m louder or softer.", "AM Gain: ±12 dB",
        units=("dB",), high=12.0, maximum=60.0, is_signed=True,
    ),
    OpSpec(
        "polarity", "amplitude", "Turns the sign of the waveform.", "AM PolarityInversion",
        is_identity_at_low=False,
    ),
    OpSpec(
        "tanh_distortion", "amplitude",
        "Saturates with tanh; m / (1 - m) is how far the peak is driven. Loudness stays.",
        "AM TanhDistortion: 0.01 to 0.7; the drive is ours", units=(FRACTION,), high=0.7,
        maximum=0.99,
    ),
    OpSpec(
        "bitcrush", "amplitude", "Rounds to m bits between -1 and 1.",
        "AM BitCrush: 10 to 5 bits; 16 bits of a CD as the weakest", units=("bits",), low=16.0,
        high=5.0, minimum=1.0, maximum=24.0, is_identity_at_low=False,
    ),
    OpSpec(
        "shift", "time", "Moves the clip later or earlier by m of its length; silence moves in.",
        "AM Shift: ±0.5", units=(FRACTION,), high=0.5, is_signed=True,
    ),
    OpSpec(
        "time_mask", "time", "Silences m of the clip, at a random place.",
        "SpecAugment: to 0.2 of the clip", units=(FRACTION,), high=0.2, n_draws=1,
    ),
    OpSpec(
        "speed", "time", "Plays 1 + m times as fast, or slower by that factor; pitch goes along.",
        STRETCH_SOURCE, units=(FRACTION,), high=0.25, maximum=3.0, is_signed=True,
    ),
    OpSpec(
        "tempo", "time", "Plays 1 + m times as fast, or slower by that factor, at the same pitch.",
        STRETCH_SOURCE, units=(FRACTION,), high=0.25, maximum=3.0, is_signed=True,
    ),
    OpSpec(
        "pitch", "time", "Raises or lowers the pitch by m; the clip lasts as long as before.",
        "AM PitchShift: ±4 semitones", units=("semitones",), high=4.0, maximum=24.0,
        is_signed=True,
    ),
    OpSpec(
        "freq_mask", "filter", "Removes a band of m of the mel scale, at a random place.",
        "SpecAugment: to 27 of 80 mel channels", units=(FRACTION,), high=0.3375, n_draws=1,
    ),
    OpSpec(
        "low_pass", "filter", "Removes what lies above m, 24 dB an octave.",
        "AM LowPassFilter: 7500 to 150 Hz", units=("Hz",), low=7500.0, high=150.0, minimum=20.0,
        maximum=100_000.0, is_identity_at_low=False,
    ),
    OpSpec(
        "high_pass", "filter", "Removes what lies below m, 24 dB an octave.",
        "AM HighPassFilter: 20 to 2400 Hz", units=("Hz",), high=2400.0, maximum=100_000.0,
    ),
    OpSpec(
        "reverb", "filter", "Adds the echoes of a room whose sound falls by 60 dB in m.",
        "AM RoomSimulator: 0.15 to 0.8 s; decaying noise: Polack, 1988", units=("s",), high=0.8,
        maximum=10.0, n_draws=1,
    ),
    OpSpec(
        "noise_snr", "noise", "Adds white noise; m is the ratio of signal to noise.",
        "AM AddGaussianSNR: 40 to 5 dB", units=("dB",), low=40.0, high=5.0, minimum=-20.0,
        maximum=100.0, is_identity_at_low=False, n_draws=1,
    ),
    OpSpec(
        "color_noise_snr", "noise",
        "Adds noise of a random colour, -6 (brown) to 6 dB an octave; m is signal to noise.",
        "AM AddColorNoise: 40 to 5 dB", units=("dB",), low=40.0, high=5.0, minimum=-20.0,
        maximum=100.0, is_identity_at_low=False, n_draws=2,
    ),
    OpSpec(
        "background_mix", "noise",
        "Adds a recording from the noise bank, else another clip; m is signal to background.",
        "AM AddBackgroundNoise: 30 to 3 dB", units=("dB",), low=30.0, high=3.0, minimum=-20.0,
        maximum=100.0, is_identity_at_low=False, n_draws=2, needs_batch=True,
    ),
)  # fmt: skip
