"""Intervals and p-values: closed forms, corrections, and how often they hold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policysearch.errors import InvalidValueError
from policysearch.estimates import estimate, holm, t_interval


def p_of(a, b):
    return estimate(np.subtract(a, b).tolist()).p_value()


def test_the_interval_of_a_mean_is_that_of_students_t():
    # mean 3, sd sqrt(2.5), t(0.975, 4) = 2.776445 from printed tables
    low, high = t_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert (low, high) == pytest.approx((3 - half, 3 + half), abs=1e-6)


def test_the_interval_of_two_values_is_wide():
    # t(0.975, 1) = 12.7062, sd = sqrt(0.5), error = 0.5
    assert t_interval([0, 1]) == pytest.approx((0.5 - 6.3531, 0.5 + 6.3531), abs=1e-4)


def test_the_interval_of_equal_values_is_a_point():
    assert t_interval([0.5] * 4) == (0.5, 0.5)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_values_have_no_interval(values):
    with pytest.raises(InvalidValueError, match=f"at least 2 values, got {len(values)}"):
        t_interval(values)


def test_the_p_value_is_that_of_the_t_test_of_differences():
    # differences 1, 2, 3: t = 2 / (1 / sqrt 3) = 2 sqrt 3. With 2 degrees of freedom the two-sided
    # p-value is 1 - t / sqrt(2 + t^2), a closed form.
    t = 2 * math.sqrt(3)
    expected = 1 - t / math.sqrt(2 + t * t)
    assert p_of([2, 4, 6], [1, 2, 3]) == pytest.approx(expected, rel=1e-9)
    assert p_of([1, 2, 3], [2, 4, 6]) == pytest.approx(expected, rel=1e-9)


def test_pairing_finds_what_the_spread_between_seeds_hides():
    a, b = (0.5, 0.6, 0.7, 0.8), (0.49, 0.592, 0.688, 0.79)
    assert p_of(a, b) < 0.002
    assert p_of(a, (0.79, 0.49, 0.592, 0.688)) > 0.5


@pytest.mark.parametrize(("shift", "p_value"), [(0.0, 1.0), (0.01, 0.25), (-0.01, 0.25)])
def test_equal_differences_are_judged_by_the_sign_test_and_none_is_nothing(shift, p_value):
    scores = (0.9, 0.91, 0.95)
    assert p_of([s + shift for s in scores], scores) == p_value


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.04, 0.03], [0.06, 0.06]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_is_the_step_down_correction(p_values, adjusted):
    assert holm(p_values) == pytest.approx(adjusted)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values):
    adjusted = holm(p_values)
    for p, p_holm in zip(p_values, adjusted, strict=True):
        assert p <= p_holm <= 1
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


def crossed(rng, n, test, training, both, n_resamples=200):
    """Scores of n seeds on one test split, and the same on resamples of it."""
    scores = rng.normal(0, test) + rng.normal(0, training, n) + rng.normal(0, both, n)
    moves = rng.normal(0, test, n_resamples) + rng.normal(0, both, (n, n_resamples))
    return scores.tolist(), scores[:, None] + moves


def test_the_parts_of_the_variance_are_recovered():
    rng = np.random.default_rng(0)
    found = [estimate(*crossed(rng, 10, 3.0, 2.0, 1.0)) for _ in range(300)]
    # Means over 300 repetitions; their own errors are 1 % (test) and 3 % (training).
    assert np.mean([e.test_variance for e in found]) == pytest.approx(9.0, rel=0.04)
    assert np.mean([e.training_variance for e in found]) == pytest.approx(5 / 10, rel=0.1)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
@pytest.mark.parametrize(
    ("test", "training", "both"),
    [(1, 1, 0.3), (0.2, 2, 0.5), (1, 0.1, 1), (0, 1, 0.2), (0, 0, 1), (2, 1, 0.5)],
)
def test_intervals_hold_for_new_seeds_and_new_test_samples(n, test, training, both):
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        low, high = estimate(*crossed(rng, n, test, training, both)).interval()
        held += low <= 0 <= high
    assert held >= 366  # 95 % of 400, less three standard errors of 4.4


def test_intervals_over_seeds_alone_do_not():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        low, high = t_interval(crossed(rng, 5, 1, 1, 0.3)[0])
        held += low <= 0 <= high
    assert held < 300


def test_equal_scores_are_not_certain_where_test_samples_matter():
    # Two accuracies equal by chance: what single networks owe to single samples still counts.
    moves = np.random.default_rng(0).normal(0, 0.01, (2, 200))
    found = estimate([0.02, 0.02], moves)
    assert found.standard_error == pytest.approx(0.01 / math.sqrt(2), rel=0.2)
    assert found.p_value() > 0.05


def test_resamples_without_spread_leave_the_interval_of_the_seeds():
    scores = [0.1, 0.2, 0.4]
    assert estimate(scores, [[s] * 9 for s in scores]).interval() == t_interval(scores)


def test_overlapping_training_sets_widen_the_interval():
    # Variance of the mean of n values that correlate by r, whose sample variance is s^2:
    # s^2 (1 / n + r / (1 - r)).
    scores = [0.1, 0.2, 0.4, 0.3]
    apart, shared = estimate(scores), estimate(scores, overlap=0.4)
    assert apart.training_variance == pytest.approx(np.var(scores, ddof=1) / 4)
    assert shared.training_variance == pytest.approx(np.var(scores, ddof=1) * (1 / 4 + 2 / 3))
    assert (shared.mean, shared.df) == (apart.mean, apart.df)


def test_intervals_of_correlated_scores_hold():
    rng, held = np.random.default_rng(2), 0
    for _ in range(400):
        scores = rng.normal(0, np.sqrt(0.4)) + rng.normal(0, np.sqrt(0.6), 6)
        low, high = estimate(scores.tolist(), overlap=0.4).interval()
        held += low <= 0 <= high
    assert held >= 366
