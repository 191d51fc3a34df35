"""Policies in words: every op has a phrase, figures are exact, amounts read naturally."""

import dataclasses

import numpy as np
import pytest

from policysearch.draws import Drawer
from policysearch.named import resolve_policy
from policysearch.ops.registry import get_spec, op_table
from policysearch.policy import Mix, OpCall, Policy, Schedule, Stage, SubPolicy
from policysearch.report.op_words import IMAGE_PHRASES, call_text, magnitude_text
from policysearch.report.words import (
    describe,
    mix_sentence,
    percent,
    schedule_sentence,
    summarize,
    summary_sentence,
)
from policysearch.resources import policy_files


def one_stage(*calls, probability=1.0):
    return Policy((SubPolicy((Stage(calls, probability),)),))


def test_every_image_op_has_a_phrase_and_no_phrase_is_left_over():
    assert set(IMAGE_PHRASES) == set(op_table("image"))


@pytest.mark.parametrize("name", list(op_table("image")))
def test_a_phrase_names_its_magnitude_and_leaves_no_braces(name):
    spec = op_table("image")[name]
    low, high = (0.25, 0.75) if spec.has_magnitude else (None, None)
    text = call_text(OpCall(name, low, high), "image")
    assert "{" not in text
    assert any(c.isdigit() for c in text) == spec.has_magnitude


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (OpCall("rotate", 0, 18), "rotate by up to 18°, left or right"),
        (OpCall("rotate", 5, 18), "rotate by 5° to 18°, left or right"),
        (OpCall("rotate", 18, 18), "rotate by 18°, left or right"),
        (OpCall("translate_x", 0, 0.3), "shift left or right by up to 30% of the width"),
        (OpCall("translate_y", 0, 4, unit="px"), "shift up or down by up to 4 px"),
        (OpCall("scale", 0, 0.4), "enlarge or shrink by a factor of up to 1.4"),
        (OpCall("hue", 0, 0.1), "turn the hue by up to 36°, either way"),
        (OpCall("shear_x", 0, 1), "shear sideways by up to 1 (45°), left or right"),
        (OpCall("posterize", 1, 1), "drop 1 bit of each value"),
        (OpCall("crop", 0.1, 0.1), "pad and crop, shifting by up to 10% of each side"),
        (OpCall("invert"), "invert all values"),
    ],
)
def test_amounts_read_naturally(call, text):
    assert call_text(call, "image") == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1 / 3, "deg", "0.333°"),
        (0.123456, "fraction", "12.3%"),
        (20, "px", "20 px"),
        (100, "levels", "100 levels"),
        (256, "levels", "256 levels"),
        (1e-9, "px", "1e-09 px"),
        (0, "deg", "0°"),
    ],
)
def test_numbers_keep_three_digits_that_matter(value, unit, text):
    assert magnitude_text(value, unit) == text


def test_a_chance_is_never_rounded_to_certainty():
    assert percent(0.0001) == "below 0.1%"
    assert percent(0.9999) == "above 99.9%"
    assert (percent(0.0), percent(1.0), percent(0.125)) == ("0%", "100%", "12.5%")


@pytest.mark.parametrize("name", [n for n in policy_files() if n != "none"])
def test_figures_agree_with_what_is_drawn(name):
    policy = resolve_policy(name).policy
    n = 20_000
    drawn = Drawer(policy, seed=7).draw(np.arange(n))
    # AutoAugment holds ops at magnitude 0: drawn, but told as doing nothing.
    has_magnitude = np.array([get_spec(policy.modality, op).has_magnitude for op in drawn.ops])
    is_idle = has_magnitude[drawn.op_index] & (drawn.magnitude == 0)
    acts = (drawn.op_index >= 0) & ~is_idle
    figures = summarize(policy)
    tolerance = 0.02 * drawn.n_chains  # three standard errors of 20,000 draws
    assert abs(acts.sum(axis=1).mean() - figures.ops_per_sample) < tolerance
    assert abs((~acts.any(axis=1)).mean() - figures.share_unchanged) < tolerance


def test_an_op_at_magnitude_zero_counts_as_doing_nothing():
    figures = summarize(one_stage(OpCall("rotate", 0, 0)))
    assert (figures.n_ops, figures.ops_per_sample, figures.share_unchanged) == (0, 0.0, 1.0)


def test_no_augmentation_is_said_plainly():
    assert summary_sentence(Policy()) == "No augmentation: every image is left as it is."
    assert describe(Policy()) == []


def test_a_mixed_policy_says_so_and_counts_all_chains():
    plain = one_stage(OpCall("invert"), probability=0.5)
    mixed = dataclasses.replace(plain, mix=Mix(3, 0.5))
    assert mix_sentence(plain) == ""
    assert mix_sentence(mixed) == (
        "Mixed: three chains, each a sub-policy drawn for it alone, are applied to the image "
        "side by side. Their three results are averaged with random weights, Dirichlet(0.5), and "
        "the average is blended with the image itself in random shares, Beta(0.5, 0.5)."
    )
    figures = summarize(mixed)
    assert (figures.n_chains, figures.ops_per_sample) == (3, 1.5)
    assert figures.share_unchanged == 0.125
    assert "1.5 of them on average, in three chains; 12.5% of the images" in (
        summary_sentence(mixed)
    )
    assert describe(mixed)[0].title == "Every chain goes through 1 step:"


def test_one_chain_is_blended_and_nothing_averaged():
    one = dataclasses.replace(one_stage(OpCall("invert")), mix=Mix(1))
    assert "chain" not in summary_sentence(one) + mix_sentence(one) + describe(one)[0].title
    assert mix_sentence(one).startswith("Mixed: what the sub-policy makes of the image is blended")


def test_mixing_nothing_is_no_augmentation():
    assert mix_sentence(Policy(mix=Mix())) == ""
    assert summary_sentence(Policy(mix=Mix())).startswith("No augmentation")


def test_a_schedule_is_told_knot_by_knot():
    plain = one_stage(OpCall("invert"))
    schedule = Schedule(((0, 0.3), (0.25, 1), (1, 0.125)))
    assert schedule_sentence(plain) == ""
    assert schedule_sentence(Policy(schedule=schedule)) == ""
    assert schedule_sentence(dataclasses.replace(plain, schedule=schedule)) == (
        "Strength over the training: 30% at the start, 100% after 25% and 12.5% at its end, in "
        "straight lines between. Magnitudes shrink with it, and operations without one come less "
        "often; all figures here are for full strength."
    )


def test_choices_that_change_nothing_are_told_together():
    calls = [OpCall(op, 0, 0) for op in ("rotate", "shear_x", "color")]
    (step,) = describe(one_stage(*calls, OpCall("invert")))[0].steps
    assert [(row.op, row.share) for row in step.choices] == [("identity", 0.75), ("invert", 0.25)]


def test_choices_are_sorted_by_share_and_sum_to_one():
    policy = one_stage(OpCall("invert", weight=1.0), OpCall("rotate", 0, 9, weight=3.0))
    step = describe(policy)[0].steps[0]
    assert [(row.op, row.share) for row in step.choices] == [("rotate", 0.75), ("invert", 0.25)]


def test_equal_stages_in_a_row_are_told_once():
    stage = Stage((OpCall("invert"), OpCall("equalize")), 0.5)
    policy = Policy((SubPolicy((stage, stage, stage)),))
    (step,) = describe(policy)[0].steps
    assert step.text.startswith("3 times, in 50% of the cases draw afresh")


def test_a_modality_without_phrases_is_still_told(monkeypatch):
    monkeypatch.setattr("policysearch.report.op_words._PHRASES", {})
    assert call_text(OpCall("rotate", 0, 18), "image") == "rotate by up to 18°"
    assert call_text(OpCall("invert"), "image") == "invert"
