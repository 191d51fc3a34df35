"""Training sets drawn anew: disjoint where possible, stratified, refused where they are one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policysearch.data.dataset import Dataset, Source
from policysearch.data.splits import make_splits
from policysearch.data.subsets import draw_subsets, subset_notices
from policysearch.errors import DataError


def pool_of(counts, groups=None):
    y = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    x = np.arange(len(y) * 4, dtype=np.uint16).reshape(-1, 1, 2, 2)
    return Dataset(x, y, tuple("abcdefgh"[: len(counts)]), groups)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(20, 60), min_size=2, max_size=5),
    st.integers(2, 6),
    st.integers(0, 2**40),
)
def test_where_there_are_enough_samples_subsets_are_disjoint_and_stratified(counts, n, seed):
    pool = pool_of(counts)
    size = len(pool) // n
    drawn, overlap = draw_subsets(pool, n, size, seed)
    assert overlap == 0
    together = np.concatenate(drawn)
    assert len(np.unique(together)) == n * size
    for indices in drawn:
        held = np.bincount(pool.y[indices], minlength=len(counts))
        # Rounding at both ends of a stretch.
        assert np.abs(held - size * np.array(counts) / len(pool)).max() <= 2


def test_where_there_are_not_they_are_independent_and_the_overlap_is_told():
    pool = pool_of([50, 50])
    drawn, overlap = draw_subsets(pool, 30, 40, 0)
    assert overlap == 0.4
    assert all(len(indices) == 40 for indices in drawn)
    shared = [len(np.intersect1d(a, b)) / 40 for i, a in enumerate(drawn) for b in drawn[i + 1 :]]
    assert np.mean(shared) == pytest.approx(overlap, abs=0.02)
    assert "40% of their samples in common" in subset_notices(pool, overlap)[0]


def test_other_seeds_give_other_subsets():
    pool = pool_of([50, 50])
    first, again, other = (draw_subsets(pool, 2, 20, seed)[0] for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (51, "`train_size` of at most 50, half of the 100 training samples, got 51"),
        (None, "at most 50, .* got none. Give --train-size"),
        (2, "subset of 2 samples would hold none of class [abc]"),
    ],
)
def test_what_cannot_be_drawn_is_refused(size, text):
    with pytest.raises(DataError, match=text):
        draw_subsets(pool_of([48, 48, 4]), 3, size, 0)


def test_groups_are_not_kept_together_and_this_is_said():
    pool = pool_of([10, 10], np.arange(20) // 2)
    assert "of the same groups" in subset_notices(pool, 0.0)[0]


def test_subsets_come_from_the_training_samples_beside_the_usual_splits():
    train, test = pool_of([60, 60]), pool_of([10, 10])
    source = Source(train, test=test)
    plain = make_splits(source, seed=3, train_size=30)
    splits = make_splits(source, seed=3, train_size=30, n_subsets=4)
    assert plain.final.train.fingerprint == splits.final.train.fingerprint
    assert plain.final.training(2) is plain.final.train
    assert [len(s) for s in splits.final.subsets] == [30] * 4
    assert splits.final.training(2) is splits.final.subsets[2]
    seen = np.concatenate([s.x[:, 0, 0, 0] for s in splits.final.subsets])
    assert np.isin(seen, train.x[:, 0, 0, 0]).all()
