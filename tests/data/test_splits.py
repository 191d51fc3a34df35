import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policysearch.data.dataset import Dataset, Source
from policysearch.data.draw import shares, stratified
from policysearch.data.source import load_source
from policysearch.data.splits import make_splits
from policysearch.errors import DataError, InvalidValueError, PolicySearchError


def samples(y, groups=None, first=0):
    """Samples whose pixels are their own number (up to 65,535), to tell them apart."""
    y = np.asarray(y, dtype=np.int64)
    number = np.arange(first, first + len(y), dtype=np.uint16)
    return Dataset(
        x=number[:, None, None, None],
        y=y,
        classes=tuple("abcdefghij"[: int(y.max()) + 1]),
        groups=None if groups is None else np.asarray(groups),
    )


def balanced(n, n_classes=4):
    return np.arange(n) % n_classes


def ids(data):
    return data.x[:, 0, 0, 0].tolist()


# --- which splits ---------------------------------------------------------------------------


def test_without_a_test_split_a_stratified_fifth_is_held_out_and_said():
    splits = make_splits(Source(samples(balanced(200))), seed=0)
    assert splits.final.test.counts().tolist() == [10] * 4
    assert splits.final.train.counts().tolist() == [40] * 4
    assert sorted(ids(splits.final.test) + ids(splits.final.train)) == list(range(200))
    assert "40 samples were held out" in splits.notices[0]


def test_the_sources_test_split_is_kept_whole():
    source = Source(samples(balanced(40)), test=samples(balanced(20), first=100))
    splits = make_splits(source, seed=0)
    assert splits.final.test is source.test
    assert splits.notices == ()


def test_the_test_split_is_out_of_reach_of_a_search():
    splits = make_splits(load_source("digits"), seed=0, train_size=100)
    fields = {f.name for f in dataclasses.fields(splits.search)}
    assert fields == {"train", "folds", "confirm_folds"}
    in_search = {x.tobytes() for x in splits.search.train.x}
    assert not in_search & {x.tobytes() for x in splits.final.test.x}


def test_small_training_sets_get_three_stratified_folds():
    splits = make_splits(load_source("digits"), seed=0, train_size=100)
    train = splits.search.train
    assert train.counts().tolist() == [10] * 10
    assert len(splits.search.folds) == 3
    validated = np.concatenate([val for _, val in splits.search.folds])
    assert sorted(validated) == list(range(100))
    for kept, val in splits.search.folds:
        assert sorted([*kept, *val]) == list(range(100))
        assert kept.dtype == val.dtype == np.int64
        assert set(np.bincount(train.y[val])) <= {3, 4}
    assert splits.describe() == (
        "100 training samples (10 classes, 1 x 8 x 8 uint8), 3 stratified folds for validation, "
        "800 test samples"
    )


def test_large_training_sets_get_one_split_of_a_quarter():
    source = Source(samples(balanced(2400)), test=samples(balanced(20)))
    ((kept, val),) = make_splits(source, seed=0).search.folds
    assert (len(kept), len(val)) == (1800, 600)
    assert np.bincount(source.train.y[val]).tolist() == [150] * 4
    assert not set(kept) & set(val)
    assert len(make_splits(source, seed=0, train_size=2000).search.folds) == 3
    assert len(make_splits(source, seed=0, train_size=2001).search.folds) == 1


def test_validation_can_be_chosen():
    source = Source(samples(balanced(2000)), test=samples(balanced(20)))
    assert len(make_splits(source, seed=0, n_folds=5).search.folds) == 5
    ((_, val),) = make_splits(source, seed=0, train_size=100, val_share=0.4).search.folds
    assert len(val) == 40


def test_the_sources_validation_split_is_the_fold_and_final_arms_train_on_both():
    source = Source(
        samples(balanced(40)), val=samples(balanced(20), first=100), test=samples(balanced(8))
    )
    splits = make_splits(source, seed=0)
    ((kept, val),) = splits.search.folds
    train = splits.final.train
    assert ids(train.take(kept)) == list(range(40))
    assert ids(train.take(val)) == list(range(100, 120))
    assert len(train) == 60
    assert "the data's own validation split of 20" in splits.describe()
    assert "is used" in make_splits(source, seed=0, val_share=0.5).notices[0]


def test_a_subset_keeps_the_share_of_the_sources_validation_split():
    source = Source(
        samples(balanced(400)), val=samples(balanced(200), first=1000), test=samples(balanced(8))
    )
    splits = make_splits(source, seed=0, train_size=60)
    ((kept, val),) = splits.search.folds
    assert (len(kept), len(val)) == (40, 20)
    assert min(ids(splits.final.train.take(val))) >= 1000
    assert splits.final.train.counts().tolist() == [15] * 4


# --- seeds ----------------------------------------------------------------------------------


def same(one, other):
    return (
        ids(one.final.test) == ids(other.final.test)
        and ids(one.final.train) == ids(other.final.train)
        and all(
            np.array_equal(a, b)
            for f, g in zip(one.search.folds, other.search.folds, strict=True)
            for a, b in zip(f, g, strict=True)
        )
    )


@pytest.mark.parametrize("groups", [None, np.arange(300) // 3])
def test_one_seed_gives_the_same_splits_and_another_gives_others(groups):
    source = Source(samples(balanced(300), groups))
    np.random.seed(3)  # noqa: NPY002  the global generator must not matter
    first = make_splits(source, seed=7, train_size=100)
    np.random.seed(4)  # noqa: NPY002
    assert same(first, make_splits(source, seed=7, train_size=100))
    assert not same(first, make_splits(source, seed=8, train_size=100))


def test_folds_do_not_depend_on_which_options_were_spelled_out():
    source = Source(samples(balanced(300)))
    assert same(make_splits(source, seed=0), make_splits(source, seed=0, n_folds=3))


# --- sizes ----------------------------------------------------------------------------------


@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=100, deadline=None)
def test_subsets_have_the_exact_size_and_the_shares_of_the_classes(counts, share, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    size = round(share * len(y))
    drawn = stratified(y, size, seed)
    assert len(drawn) == len(set(drawn.tolist())) == size
    got = np.bincount(y[drawn], minlength=len(counts))
    assert (np.abs(got - np.array(counts) * size / len(y)) < 1).all()
    assert got.tolist() == shares(np.array(counts), size).tolist()


def test_balanced_subsets_are_nested():
    y = balanced(400)
    small, large = stratified(y, 40, 5), stratified(y, 80, 5)
    assert set(small) < set(large)


@pytest.mark.parametrize("n", [2000, 120])
def test_imbalanced_classes_are_in_every_part(n):
    y = np.array([0] * (n - 12) + [1] * 12)
    splits = make_splits(Source(samples(y)), seed=0)
    parts = [splits.final.test.y]
    parts += [splits.final.train.y[i] for fold in splits.search.folds for i in fold]
    assert all(set(part) == {0, 1} for part in parts)


@pytest.mark.parametrize("share", [0.05, 0.95])
def test_a_rare_class_is_on_both_sides_of_the_smallest_and_largest_share(share):
    # In proportion, 5 of 100 samples with 5 rare ones would be 5 common and no rare ones.
    source = Source(samples([0] * 95 + [1] * 5), test=samples([0, 1]))
    ((kept, val),) = make_splits(source, seed=0, val_share=share).search.folds
    assert set(source.train.y[kept]) == set(source.train.y[val]) == {0, 1}
    assert abs(len(val) - 100 * share) <= 1


# --- groups ---------------------------------------------------------------------------------


@st.composite
def grouped_samples(draw):
    n_groups = draw(st.integers(4, 30))
    sizes = draw(st.lists(st.integers(1, 12), min_size=n_groups, max_size=n_groups))
    groups = np.repeat(np.arange(n_groups), sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    y = rng.integers(0, 3, len(groups))
    y[:3] = [0, 1, 2]
    as_text = draw(st.booleans())
    return samples(y, groups.astype(str).astype(object) if as_text else groups)


@given(
    data=grouped_samples(),
    seed=st.integers(0, 2**40),
    how=st.sampled_from([{}, {"val_share": 0.3}, {"n_folds": 2}]),
)
@settings(max_examples=60, deadline=None)
def test_groups_never_straddle_and_every_class_can_be_learned(data, seed, how):
    try:
        splits = make_splits(Source(data), seed=seed, **how)
    except DataError:
        return  # said to be impossible; that it is not said too often is tested below
    train, test = splits.final.train, splits.final.test
    assert not set(train.groups) & set(test.groups)
    assert set(train.y) == set(test.y) == {0, 1, 2}
    for kept, val in splits.search.folds:
        assert not set(train.groups[kept]) & set(train.groups[val])
        assert set(train.y[kept]) == {0, 1, 2}
        assert len(val)


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_one_class_each_are_split_near_the_share(seed):
    groups = np.arange(600) // 10
    splits = make_splits(Source(samples(groups % 4, groups)), seed=seed)
    assert 90 <= len(splits.final.test) <= 150
    n_groups = len(set(splits.final.train.groups))
    assert f"training samples in {n_groups} groups (4 classes" in splits.describe()


def test_speakers_that_say_every_class_are_split_whole():
    speaker, digit = np.repeat(np.arange(6), 20), np.tile(np.arange(10), 12)
    splits = make_splits(Source(samples(digit, speaker)), seed=0)
    assert len(set(splits.final.test.groups)) == 1
    assert len(splits.search.folds) == 3


def test_many_groups_are_split_quickly_and_whole():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 20_000, 40_000)
    data = samples(groups % 10, groups)
    start = time.perf_counter()
    splits = make_splits(Source(data), seed=0, n_confirm=1)
    assert time.perf_counter() - start < 5  # takes 0.3 s; weighing each group 10 s
    assert not set(splits.final.train.groups) & set(splits.final.test.groups)
    ((kept, val),) = splits.search.folds
    assert not set(splits.final.train.groups[kept]) & set(splits.final.train.groups[val])
    share = splits.final.test.counts() / data.counts()
    assert (abs(share - 0.2) < 0.02).all()


def test_groups_in_both_training_and_own_test_split_are_said():
    source = Source(samples(balanced(40), balanced(40, 10)), test=samples(balanced(8), [3] * 8))
    assert "1 groups are in both the training and the test split: 3" in "".join(
        make_splits(source, seed=0).notices
    )


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        ([0] * 50 + [1], {}, "at least 2 images for the test split of 0.2, got 'b': 1"),
        ([0] * 50 + [1] * 3, {}, "at least 3 images for 3 folds, got 'b': 2"),
        ([0] * 90 + [1] * 10, {"train_size": 10}, "at least 3 images for 3 folds, got 'b': 1"),
        ([0] * 50 + [1] * 50, {"train_size": 81}, "`train_size` must be at most 80.*got 81"),
        ([0] * 50 + [1] * 50, {"n_folds": 60}, "at least 60 images for 60 folds"),
        ([0] * 50, {}, "at least 2 classes, got only 'a'"),
        ([0] * 50 + [2] * 50, {}, "must have training samples, got none for b"),
    ],
)
def test_too_few_samples_are_refused_with_the_counts(y, options, message):
    with pytest.raises(DataError, match=message):
        make_splits(Source(samples(y)), seed=0, **options)


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        ([0] * 20 + [1] * 20, {}, "at least 2 groups for the test split by groups, got 'a': 1"),
        (np.arange(40) // 20 * 2 + np.arange(40) % 2, {}, "Every class must have|No cut along"),
        (np.arange(40) % 5, {"n_folds": 6}, "6 folds need at least 6 groups, got 4"),
    ],
)
def test_too_few_groups_are_refused_with_the_counts(groups, options, message):
    y = np.repeat([0, 1], 20)
    with pytest.raises(DataError, match=message):
        make_splits(Source(samples(y, groups)), seed=0, **options)


def test_folds_that_no_cut_along_groups_allows_are_refused():
    # Each class lies in two of three groups: in two folds, two groups share one and their
    # common class is missing from the other's training part.
    y, groups = [0, 0, 1, 1, 2, 2] * 5, [1, 2, 2, 3, 3, 1] * 5
    source = Source(samples(y, groups), test=samples([0, 1, 2]))
    with pytest.raises(DataError, match=r"No cut along groups .*'a': 2, 'b': 2, 'c': 2"):
        make_splits(source, seed=0, n_folds=2)
    assert len(make_splits(source, seed=0, n_folds=3).search.folds) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_share": 0.0}, "`val_share` must lie between 0 and 1, got 0.0"),
        ({"val_share": float("nan")}, "`val_share` must lie between 0 and 1, got nan"),
        ({"test_share": 1.0}, "`test_share` must lie between 0 and 1, got 1.0"),
        ({"train_size": 0}, "`train_size` must be at least 1, got 0"),
        ({"n_folds": 1}, "`n_folds` must be at least 2, got 1.*val_share"),
        ({"n_folds": 3, "val_share": 0.2}, "Give `n_folds` .* not both"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidValueError, match=message):
        make_splits(Source(samples(balanced(40))), seed=0, **options)


def test_parts_with_other_classes_shapes_or_no_samples_are_refused():
    train = samples(balanced(40))
    other = dataclasses.replace(samples(balanced(8)), classes=("a", "b", "c", "x"))
    with pytest.raises(
        DataError, match=r"The test split must have the classes.*difference in d, x"
    ):
        make_splits(Source(train, test=other), seed=0)
    wide = dataclasses.replace(samples(balanced(8)), x=np.zeros((8, 1, 2, 2), np.uint16))
    with pytest.raises(DataError, match="The val split must have the sample shape"):
        make_splits(Source(train, val=wide), seed=0)
    with pytest.raises(DataError, match="The test split must not be empty"):
        make_splits(Source(train, test=train.take([])), seed=0)


@given(
    counts=st.lists(st.integers(0, 8), min_size=1, max_size=4),
    options=st.fixed_dictionaries(
        {},
        optional={
            "train_size": st.integers(-1, 30),
            "val_share": st.floats(0, 1),
            "test_share": st.floats(0, 1),
            "n_folds": st.integers(0, 6),
        },
    ),
)
@settings(max_examples=150, deadline=None)
def test_any_small_dataset_is_split_completely_or_refused(counts, options):
    y = np.repeat(np.arange(len(counts)), counts)
    if not len(y):
        return
    data = dataclasses.replace(samples(y), classes=tuple("abcd"[: len(counts)]))
    try:
        splits = make_splits(Source(data), seed=0, **options)
    except PolicySearchError:
        return
    classes = set(range(len(counts)))
    assert set(splits.final.test.y) == classes
    for kept, val in splits.search.folds:
        assert set(splits.final.train.y[kept]) == set(splits.final.train.y[val]) == classes


def test_confirmation_has_folds_of_its_own() -> None:
    splits = make_splits(load_source("digits"), seed=3, train_size=60)
    search = splits.search
    n = len(search.folds)
    assert len(search.confirm_folds) == 2 * n  # two seeds, six trainings of a policy
    folds = [search.fold(i) for i in range(3 * n)]
    assert folds == [*search.folds, *search.confirm_folds]
    held = [tuple(sorted(fold[1].tolist())) for fold in folds]
    assert len(set(held)) == len(held)
    for first in range(0, 3 * n, n):  # each seed sees every sample once
        assert sorted(i for fold in held[first : first + n] for i in fold) == list(range(60))
    assert search.fold(3 * n) is search.fold(n)


def test_the_confirmation_has_as_many_folds_as_it_has_seeds() -> None:
    source = load_source("digits")
    splits = make_splits(source, seed=3, train_size=60, n_confirm=4)
    assert len(splits.search.confirm_folds) == 12
    splits = make_splits(source, seed=3, val_share=0.25)
    assert len(splits.search.confirm_folds) == 6
