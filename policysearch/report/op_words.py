"""What an operation does, in words that need no manual: "rotate by up to 18°, left or right".

One table per modality. An op without an entry is still told, by its name and unit.
"""

from __future__ import annotations

import math

from policysearch.ops.registry import OpSpec, get_spec
from policysearch.policy import OpCall

# `{m}` is the amount, such as "up to 18°" or "5° to 18°". `{f}` is the amount as a factor, 1 + m.
# `{b}` is the amount as a bound: the op itself draws between zero and m.
IMAGE_PHRASES: dict[str, str] = {
    "identity": "leave it as it is",
    "shear_x": "shear sideways by {m}, left or right",
    "shear_y": "shear vertically by {m}, up or down",
    "translate_x": "shift left or right by {m} of the width",
    "translate_y": "shift up or down by {m} of the height",
    "rotate": "rotate by {m}, left or right",
    "scale": "enlarge or shrink by a factor of {f}",
    "crop": "pad and crop, shifting by {b} of each side",
    "flip_horizontal": "mirror left to right",
    "flip_vertical": "mirror top to bottom",
    "brightness": "brighten or darken by {m}",
    "contrast": "raise or lower the contrast by {m}",
    "color": "raise or lower the saturation by {m}",
    "hue": "turn the hue by {m}, either way",
    "gray": "fade to gray by {m}",
    "channel_shift": "shift each channel by {b} of the range",
    "channel_shuffle": "shuffle the colour channels",
    "sharpness": "sharpen or soften by {m}",
    "blur": "blur by {m}",
    "autocontrast": "stretch the contrast to the full range",
    "equalize": "equalize the histogram",
    "invert": "invert all values",
    "posterize": "drop {m} of each value",
    "solarize": "invert {m} at the bright end",
    "solarize_add": "add {m} to the dark half",
    "gamma": "apply a gamma of {f}, or its inverse",
    "gaussian_noise": "add noise of {m} of the range",
    "cutout": "cover a square of {m} of the shorter side",
    "elastic": "bend it smoothly, by {b} of the shorter side",
    "rotate_x": "turn volumes about their x axis by {m}, either way",
    "rotate_y": "turn volumes about their y axis by {m}, either way",
    "translate_z": "shift volumes through their depth by {m} of it, either way",
    "scale_z": "deepen or flatten volumes by a factor of {f}",
    "flip_depth": "mirror the first and the last slice of volumes",
    "elastic_3d": "bend volumes smoothly, by {b} of each side",
    "bias_field": "brighten and darken it unevenly, as a coil does, by {b}",
    "ghosting": "add ghosts: weaken some of its frequencies by {m}",
    "motion": "let it move during the scan, by {b}",
    "rician_noise": "add the noise of a scanner, {m} of the range",
    "low_resolution": "take away {m} of its resolution",
    "window_level": "set its window anew, by {b}",
    "gamma_retained": "apply a gamma of {f}, or its inverse, and keep mean and contrast",
}
AUDIO_PHRASES: dict[str, str] = {
    "identity": "leave it as it is",
    "gain": "make it louder or softer by {m}",
    "polarity": "turn the sign of the waveform",
    "tanh_distortion": "saturate it by {m}",
    "bitcrush": "round it to {m}",
    "shift": "move it earlier or later by {m} of its length",
    "time_mask": "silence {m} of it",
    "speed": "play it faster or slower by a factor of {f}",
    "tempo": "play it faster or slower by a factor of {f}, at the same pitch",
    "pitch": "raise or lower the pitch by {m}",
    "freq_mask": "remove a band of {m} of the mel scale",
    "low_pass": "remove what lies above {m}",
    "high_pass": "remove what lies below {m}",
    "reverb": "add the echoes of a room, {m} long",
    "noise_snr": "add white noise at a signal-to-noise ratio of {m}",
    "color_noise_snr": "add noise of a random colour at a signal-to-noise ratio of {m}",
    "background_mix": "add another recording at a signal-to-background ratio of {m}",
}
SERIES_PHRASES: dict[str, str] = {
    "identity": "leave it as it is",
    "jitter": "add noise of {m}",
    "scaling": "scale it up or down about its mean by a factor of {f}",
    "magnitude_warp": "scale it by a smooth random curve of strength {m}",
    "drift": "let it drift by {m}",
    "frequency_noise": "disturb its frequencies by {m} in phase and alike in amplitude",
    "sign_flip": "mirror it at its mean",
    "channel_dropout": "drop each channel with a chance of {m}",
    "time_mask": "cover {m} of its length",
    "time_warp": "let time run faster and slower, at a strength of {m}",
    "window_slice": "cut away {m} of its length and stretch the rest",
    "window_warp": "run {m} of its length at half or double speed",
    "permutation": "cut it into {m} and shuffle them",
}
TEXT_PHRASES: dict[str, str] = {
    "identity": "leave it as it is",
    "synonym_replace": "replace {m} of its words by synonyms",
    "random_insert": "insert synonyms, {m} of its length",
    "random_swap": "swap random words, {m} of its length",
    "random_delete": "remove {m} of its words",
    "unk_dropout": "replace {m} of its words by the unknown word",
    "punctuation_insert": "insert marks before {m} of its words",
    "tfidf_substitute": "replace {m} of its words, the least telling",
    "keyboard_typo": "mistype {m} of its letters",
    "char_swap": "swap {m} of its characters with the next",
    "char_delete": "leave out {m} of its characters",
    "span_crop": "cut {m} of its words off its ends",
}
TABULAR_PHRASES: dict[str, str] = {
    "identity": "leave it as it is",
    "gaussian_noise": "add noise of {m} to its numbers",
    "swap_noise": "replace each cell by one of another row, with a chance of {m}",
    "feature_dropout": "replace each cell by what is usual, with a chance of {m}",
    "categorical_resample": "draw each category anew, with a chance of {m}",
    "interpolate": "move it {m} of the way to a near row of its class",
}
COMPANY_PHRASES: dict[str, str] = {
    "mixup": "mix in {m} of another sample of the batch, targets as well",
    "cutmix": "paste a rectangle of {m} of the area from another image, targets in proportion",
    "resizemix": "paste another whole image, made small to {m} of the area, targets in proportion",
    "fmix": "take {m} of the pixels from another image in cloudy patches, targets in proportion",
    "fgsm": "move all values by {m} to where the model's loss grows",
    "pgd": "move all values by {m} to where the model's loss grows, in three steps",
    "synthesize": "make another sample of its class, at {m}, half of the time",
    "latent_mix": "go {m} of the way to a sample of its class in latent space, or away",
    "hardest_of_k": "make {m} with the ops before it and keep the hardest",
}
_PHRASES = {
    "image": IMAGE_PHRASES,
    "audio": AUDIO_PHRASES,
    "series": SERIES_PHRASES,
    "text": TEXT_PHRASES,
    "tabular": TABULAR_PHRASES,
}


def call_text(call: OpCall, modality: str) -> str:
    """What an op call does, as a phrase without a subject."""
    spec = get_spec(modality, call.op)
    phrase = (COMPANY_PHRASES | _PHRASES.get(modality, {})).get(call.op)
    if phrase is None:
        amount = amount_text(call, spec)
        return f"{call.op} by {amount}" if amount else call.op
    if call.unit == "px":
        phrase = phrase.removesuffix(" of the width").removesuffix(" of the height")
    return phrase.format(
        m=amount_text(call, spec), f=_amount(call, spec, "factor"), b=_bound_text(call, spec)
    )


def amount_text(call: OpCall, spec: OpSpec) -> str:
    """The magnitude of a call with its unit; empty for an op without one."""
    if call.low is None:
        return ""
    return _amount(call, spec, call.unit or spec.unit or "")


def magnitude_text(value: float, unit: str) -> str:
    """A magnitude with its unit.

    Examples:
      >>> magnitude_text(0.125, "fraction"), magnitude_text(18, "deg")
      ('12.5%', '18°')
    """
    if unit == "fraction":
        return f"{_short(100 * value)}%"
    if unit == "deg":
        return f"{_short(value)}°"
    if unit == "ratio":
        return f"{_short(value)} ({math.degrees(math.atan(value)):.0f}°)"
    if unit == "turn":
        return f"{_short(360 * value)}°"
    if unit == "factor":
        return _short(1 + value)
    if unit == "temperature":
        return f"temperature {_short(value)}"
    if unit == "std":
        return f"{_short(value)} standard deviations"
    if unit in {"bits", "levels", "semitones"} and value == 1:
        unit = unit[:-1]
    return f"{_short(value)} {unit}".rstrip()


def _amount(call: OpCall, spec: OpSpec, unit: str) -> str:
    if call.low is None or call.high is None:
        return ""
    high = magnitude_text(call.high, unit)
    if call.low == call.high:
        return high
    if spec.is_falling:
        low = magnitude_text(call.low, unit)
        return f"{high} down to {low}"
    if call.low == spec.low:
        return f"up to {high}"
    return f"{magnitude_text(call.low, unit)} to {high}"


def _bound_text(call: OpCall, spec: OpSpec) -> str:
    if call.low is None or call.high is None:
        return ""
    return f"up to {magnitude_text(call.high, call.unit or spec.unit or '')}"


def _short(value: float) -> str:
    """Three digits that matter, without an exponent and without trailing zeros."""
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
