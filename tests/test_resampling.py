"""Resamples of a test split: their variance is that of the mean, by sample or by group."""

import numpy as np
import pytest

from policysearch import resampling
from policysearch.resampling import N_RESAMPLES, resample_weights


def weights_of(y, groups=None):
    return np.concatenate(list(resample_weights(np.asarray(y), groups)))


def test_every_class_keeps_its_weight_in_every_resample():
    y = np.array([0] * 50 + [1] * 7 + [2] * 2)
    weights = weights_of(y)
    assert weights.shape == (N_RESAMPLES, len(y))
    for label, n in enumerate((50, 7, 2)):
        assert weights[:, y == label].sum(axis=1) == pytest.approx([n] * N_RESAMPLES)


def many(monkeypatch, n):
    monkeypatch.setattr(resampling, "N_RESAMPLES", n)


@pytest.mark.parametrize("n", [2, 3, 10, 60])
def test_the_variance_of_a_mean_is_unbiased_for_classes_of_any_size(monkeypatch, n):
    many(monkeypatch, 20_000)
    values = np.random.default_rng(n).normal(size=n)
    means = weights_of(np.zeros(n, dtype=np.int64)) @ values / n
    # 20,000 resamples: the variance is known to 1 % (more where the values have heavy tails).
    assert means.var() == pytest.approx(values.var(ddof=1) / n, rel=0.05)


def test_groups_are_drawn_whole_and_widen_the_variance(monkeypatch):
    many(monkeypatch, 5_000)
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 10)
    y = np.tile([0, 1], 60)  # every group holds both classes
    weights = weights_of(y, groups)
    assert (weights.reshape(-1, 12, 10) == weights.reshape(-1, 12, 10)[:, :, :1]).all()
    by_group = rng.normal(size=12)
    values = np.repeat(by_group, 10)
    means = weights @ values / weights.sum(axis=1)
    assert means.var() == pytest.approx(by_group.var(ddof=1) / 12, rel=0.1)
    alone = weights_of(y) @ values / 120
    assert means.var() > 5 * alone.var()


def test_groups_of_one_class_each_are_drawn_within_their_class():
    groups = np.array(["a", "a", "b", "c", "d", "d", "e"])
    y = np.array([0, 0, 0, 0, 1, 1, 1])
    weights = weights_of(y, groups)
    n_groups = np.stack([weights[:, [0, 2, 3]].sum(axis=1), weights[:, [4, 6]].sum(axis=1)])
    assert n_groups == pytest.approx(np.array([[3.0], [2.0]]).repeat(N_RESAMPLES, axis=1))


@pytest.mark.parametrize("y", [[0, 1, 2, 3], [0, 0, 0, 1], [0, 1]])
def test_classes_with_one_sample_are_drawn_together_with_others(y):
    weights = weights_of(y)
    assert (weights.std(axis=0) > 0).all()
    assert weights.sum(axis=1) == pytest.approx([len(y)] * N_RESAMPLES)


def test_a_single_sample_stays():
    assert (weights_of([0]) == 1).all()


def test_equal_splits_have_equal_resamples_however_they_are_cut_into_blocks(monkeypatch):
    y = np.arange(30) % 3
    expected = weights_of(y)
    assert (weights_of(y) == expected).all()
    monkeypatch.setattr(resampling, "_MAX_WEIGHTS", 300)
    blocks = list(resample_weights(y))
    assert [len(b) for b in blocks] == [10] * 20
    assert np.concatenate(blocks).shape == expected.shape
