"""Head-room: seen where arms differ, not where only noise does, and what it would take to see."""

import numpy as np
import pytest

from policysearch.headroom import headroom


def arms(effects, n, noise, seed=0, is_shared=True):
    """Accuracies of arms over paired trainings, with noise of its own for each training."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.05, n) if is_shared else np.zeros(n)
    result = {}
    for name, effect in effects.items():
        accuracy = 0.8 + effect + shared + rng.normal(0, noise, n)
        result[name] = [{"score": 1 - a, "accuracy": a} for a in accuracy.tolist()]
    return result


def test_a_difference_beyond_noise_is_head_room():
    room = headroom(arms({"none": 0.0, "a": 0.03, "b": 0.01}, 6, 0.005), chance_score=0.9)
    assert room.is_found
    assert room.best == "a"
    assert room.spread == pytest.approx(0.03, abs=0.01)
    assert room.sentence().startswith("Head-room: ")


def test_equal_arms_are_called_different_in_one_of_twenty():
    """10,000 would give 5 % within 0.5; 400 give less than 8 % but for one time in 200."""
    found = [
        headroom(arms(dict.fromkeys("abcde", 0.0), 6, 0.01, seed), None).is_found
        for seed in range(400)
    ]
    assert 0.01 < np.mean(found) < 0.08


def test_what_all_trainings_have_in_common_is_no_noise():
    effects = {"none": 0.0, "a": 0.01}
    paired = headroom(arms(effects, 8, 0.001, is_shared=True), None)
    assert paired.is_found  # although trainings differ by 0.05


def test_arms_that_predict_worse_than_the_class_frequencies_have_learned_nothing():
    trained = arms({"none": 0.0, "a": 0.1}, 6, 0.001)
    room = headroom(trained, chance_score=0.05)
    assert room.p_value < 0.001
    assert room.learns is False
    assert not room.is_found
    assert "no policy lets the network predict better than the class frequencies" in (
        room.sentence()
    )
    assert "Longer trainings (--epochs)" in room.sentence()
    assert "trainings of each" not in room.sentence()  # more of them would show nothing


def test_the_price_of_half_a_point_is_that_of_a_paired_test():
    """Noise of 1 point in each arm: (1.96 + 0.84)^2 x 2 x 1^2 / 0.5^2 = 63 trainings."""
    room = headroom(arms(dict.fromkeys("abcde", 0.0), 400, 0.01), None)
    assert room.n_needed == pytest.approx(63, rel=0.1)
    room = headroom(arms({"a": 0.0, "b": 0.0}, 6, 0.01, seed=1), None)
    assert not room.is_found
    assert "it takes about" in room.sentence()


def test_scores_without_accuracies_have_no_price_in_points():
    trained = {name: [{"score": s} for s in (1.0, 2.0, 3.1)] for name in "ab"}
    room = headroom(trained, None)
    assert room.n_needed is room.spread is room.learns is None
    assert room.p_value == 1.0
    assert room.sentence().endswith("(p = 1 over 3 trainings of each).")


def test_arms_that_differ_alike_every_time_are_certain():
    trained = {"a": [{"score": s} for s in (1.0, 2.0)], "b": [{"score": s} for s in (1.5, 2.5)]}
    assert headroom(trained, None).p_value == 0.0


def test_a_single_training_shows_no_noise_and_does_not_end_a_search():
    room = headroom({"a": [{"score": 1.0}], "b": [{"score": 2.0}]}, None)
    assert room.p_value is None
    assert room.is_found
    assert room.sentence().startswith("Head-room was not looked for")


def test_a_run_that_ends_here_has_a_verdict_without_arms():
    room = headroom(arms({"none": 0.0, "a": 0.0}, 6, 0.01, seed=1), None)
    verdict = room.as_verdict()
    assert verdict["decision"] == "no head-room"
    assert verdict["arms"] == verdict["comparisons"] == []
    assert verdict["headroom"]["p_value"] == room.p_value
