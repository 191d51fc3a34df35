"""Audio policies in words: decibels, hertz, semitones."""

import pytest

from policysearch.ops.registry import op_table
from policysearch.policy import OpCall
from policysearch.report.op_words import AUDIO_PHRASES, call_text


def test_every_audio_op_has_a_phrase_and_no_phrase_is_left_over():
    assert set(AUDIO_PHRASES) == set(op_table("audio"))


@pytest.mark.parametrize("name", list(op_table("audio")))
def test_a_phrase_names_its_magnitude_and_leaves_no_braces(name):
    spec = op_table("audio")[name]
    ends = sorted((spec.low, spec.high)) if spec.has_magnitude else (None, None)
    text = call_text(OpCall(name, *ends), "audio")
    assert "{" not in text
    assert any(c.isdigit() for c in text) == spec.has_magnitude


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (OpCall("gain", 0, 12), "make it louder or softer by up to 12 dB"),
        (OpCall("pitch", 1, 1), "raise or lower the pitch by 1 semitone"),
        (OpCall("pitch", 0, 4), "raise or lower the pitch by up to 4 semitones"),
        (OpCall("noise_snr", 5, 40),
         "add white noise at a signal-to-noise ratio of 40 dB down to 5 dB"),
        (OpCall("noise_snr", 10, 10), "add white noise at a signal-to-noise ratio of 10 dB"),
        (OpCall("low_pass", 500, 4000), "remove what lies above 4000 Hz down to 500 Hz"),
        (OpCall("high_pass", 20, 300), "remove what lies below 20 Hz to 300 Hz"),
        (OpCall("speed", 0, 0.25), "play it faster or slower by a factor of up to 1.25"),
        (OpCall("bitcrush", 8, 8), "round it to 8 bits"),
        (OpCall("reverb", 0.2, 0.5), "add the echoes of a room, 0.2 s to 0.5 s long"),
        (OpCall("polarity"), "turn the sign of the waveform"),
    ],
)  # fmt: skip
def test_amounts_read_naturally(call, text):
    assert call_text(call, "audio") == text
