"""Time series from files and arrays: what is read, and what is refused with which words."""

import numpy as np
import pytest

from policysearch.data.dataset import Dataset, join
from policysearch.data.series_csv import is_long_form
from policysearch.data.source import load_source
from policysearch.data.splits import make_splits
from policysearch.errors import DataError, InvalidValueError, UnknownNameError

HEADER = """# a comment
@problemName Waves
@timeStamps false
@univariate {univariate}
@classLabel true a b
@data
"""


def ts(*lines, univariate="true"):
    return HEADER.format(univariate=univariate) + "\n".join(lines) + "\n"


def write(folder, **files):
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        (folder / f"{stem}.{suffix}").write_text(text)
    return folder


FOUR = ("1,2,3:a", "4,5,6:b", "7,8,9:a", "1,1,1:b")


def test_a_folder_of_ts_files_is_read_with_its_splits(tmp_path):
    write(tmp_path, Waves_TRAIN_ts=ts(*FOUR), Waves_TEST_ts=ts("3,2,1:b", "0,0,0:a"))
    source = load_source(tmp_path)
    assert source.train.modality == "series"
    assert source.train.x.shape == (4, 1, 3)
    assert source.train.x.dtype == np.float32
    assert source.train.x[1, 0].tolist() == [4, 5, 6]
    assert source.train.y.tolist() == [0, 1, 0, 1]
    assert source.train.classes == ("a", "b")
    assert source.train.lengths is None
    assert source.test.x[0, 0].tolist() == [3, 2, 1]
    assert source.test.y.tolist() == [1, 0]


def test_a_training_file_brings_its_test_file_and_another_file_stands_alone(tmp_path):
    write(tmp_path, W_TRAIN_ts=ts(*FOUR), W_TEST_ts=ts("3,2,1:b"), Other_TEST_ts=ts("1:a"))
    assert len(load_source(tmp_path / "W_TRAIN.ts").test) == 1
    write(tmp_path, alone_ts=ts(*FOUR))
    assert load_source(tmp_path / "alone.ts").test is None


def test_channels_lengths_and_missing_values_are_kept_and_told(tmp_path):
    write(
        tmp_path,
        W_TRAIN_ts=ts("1,2,3:4,5,6:a", "1:2:b", univariate="false"),
        W_TEST_ts=ts("1,?,3,4:NaN,1,1,1:a", univariate="false"),
    )
    source = load_source(tmp_path)
    assert source.train.x.shape == (2, 2, 4)
    assert source.train.lengths.tolist() == [3, 1]
    assert source.train.x[0, 1].tolist() == [4, 5, 6, 0]
    assert source.test.lengths is None
    assert np.isnan(source.test.x).sum() == 2
    text = "\n".join(source.notices)
    assert "Series have 1 to 4 steps" in text
    assert "1 of 3 series have missing values" in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must hold a line `@data`"),
        ("1,2,3\n", "line 1 comes before `@data`"),
        (ts(), "must hold series below `@data`, found none"),
        (ts("1,2,x:a"), r"line 7: a value must be a number, or \? where it is missing, got 'x'"),
        (ts("1,inf:a"), "line 7: a value must be finite, got 'inf'"),
        (ts("1,1e39:a"), "line 7: a value must be finite"),
        (
            ts("1,2:c"),
            r"line 7: the label must be one of those of `@classLabel` \(a, b\), got 'c'",
        ),
        (ts("1,2"), "line 7: there must be values, then `:` and the label"),
        (ts("1,2:3,4:a"), "line 7: there must be 1 channels, got 2"),
        (ts("1,2:3:a", univariate="false"), "all channels of a series must have one length"),
        (ts("1,2:a", "1:2:b", univariate="false"), "there must be 1 channels, got 2"),
        (ts("1:a").replace("true a b", "false"), "must say `@classLabel true`"),
        (
            ts("1:a").replace("@classLabel true a b", "@targetLabel true"),
            "Targets of a regression are not supported",
        ),
        (ts("1:a").replace("@timeStamps false", "@timeStamps true"), "has time stamps"),
    ],
)
def test_a_ts_file_that_is_wrong_says_where(tmp_path, text, problem):
    write(tmp_path, bad_ts=text)
    with pytest.raises(DataError, match=problem):
        load_source(tmp_path / "bad.ts")


def test_all_wrong_lines_are_named_up_to_ten(tmp_path):
    write(tmp_path, bad_ts=ts(*["x:a"] * 12))
    with pytest.raises(DataError) as caught:
        load_source(tmp_path / "bad.ts")
    assert str(caught.value).count("line ") == 10


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "bad.ts").write_bytes(ts("1:a").encode() + b"\xff\xfe")
    with pytest.raises(DataError, match="is not text in UTF-8"):
        load_source(tmp_path / "bad.ts")


def test_a_class_that_training_does_not_have_is_refused(tmp_path):
    write(tmp_path, W_TRAIN_ts=ts("1,2:a", "2,1:a"), W_TEST_ts=ts("1,2:b"))
    with pytest.raises(DataError, match=r"test split of .* must hold classes that .* got b"):
        load_source(tmp_path)


def test_one_class_alone_is_refused(tmp_path):
    write(tmp_path, one_ts=ts(*["1,2,3:a"] * 8))
    with pytest.raises(DataError, match="at least 2 classes, got only 'a'"):
        make_splits(load_source(tmp_path / "one.ts"), seed=0)


# --- CSV in long form -----------------------------------------------------------------------

WIDE = "series,step,label,x,y\n" + "".join(
    f"s{i},{t},{'ab'[i % 2]},{i},{t}\n" for i in range(4) for t in (2, 0, 1)
)


def test_rows_become_series_ordered_by_step(tmp_path):
    write(tmp_path, long_csv=WIDE)
    train = load_source(tmp_path / "long.csv").train
    assert train.x.shape == (4, 2, 3)
    assert train.x[2].tolist() == [[2, 2, 2], [0, 1, 2]]
    assert train.classes == ("a", "b")
    assert train.name_of(1) == "series 's1'"


def test_one_row_per_channel_with_splits_groups_and_gaps(tmp_path):
    rows = ["case_id,dim_id,reading_id,value,label,group,split"]
    for i in range(6):
        for channel in ("u", "v"):
            rows += [
                f"{i},{channel},{t},{'' if (i, t) == (0, 1) else i + t},{'ab'[i % 2]},g{i // 2},"
                f"{'train' if i < 4 else 'test'}"
                for t in range(3 if i else 2)
            ]
    write(tmp_path, long_csv="\n".join(rows))
    source = load_source(tmp_path / "long.csv")
    assert source.train.x.shape == (4, 2, 3)
    assert source.train.lengths.tolist() == [2, 3, 3, 3]
    assert np.isnan(source.train.x[0, :, 1]).all()
    assert source.train.groups.tolist() == ["g0", "g0", "g1", "g1"]
    assert len(source.test) == 2


def test_a_folder_of_long_tables_is_read_with_its_splits(tmp_path):
    write(tmp_path, train_csv=WIDE, test_csv=WIDE.replace("s0", "t0"))
    source = load_source(tmp_path)
    assert (len(source.train), len(source.test)) == (4, 4)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must have the columns series, step, label; missing: series, step, label; found: no"),
        ("series,step,value\n", "missing: label; found: series, step, value"),
        ("series,step,label\ns,1,a\n", "must have a column of values"),
        ("series,step,label,x,x\n", "must name each column once, got twice: x"),
        ("series,step,label,x\n", "must hold series, found no rows"),
        ("series,step,label,x\ns,1,a\n", "line 2: there must be 4 cells, got 3"),
        ("series,step,label,x\ns,1,a,1,2\n", "line 2: there must be 4 cells, got 5"),
        ("series,step,label,x\ns,1,,1\n", "line 2: the label is missing"),
        ("series,step,label,x\ns,1,a,1\ns,2,b,1\n", "line 3: series 's' must have one label"),
        ("series,step,label,x\ns,1,a,1\ns,1,a,1\n", "line 3: series 's' has step 1 twice"),
        ("series,step,label,x\ns,one,a,1\n", "`step` must be a finite number, got 'one'"),
        ("series,step,label,x\ns,1,a,inf\n", "`x` must be a finite number, got 'inf'"),
        ("series,step,label,x\ns,1,a,hot\n", "`x` must be a finite number, got 'hot'"),
        ("series,step,label,x,split\ns,1,a,1,tain\n", "`split` must be one of train, val, test"),
        ("series,step,label,x,split\ns,1,a,1,test\n", "must hold training series, found only: te"),
        ("series,step,label,channel,value,z\ns,1,a,u,1,2\n", "these columns say nothing: z"),
    ],
)
def test_a_long_table_that_is_wrong_says_where(tmp_path, text, problem):
    write(tmp_path, bad_csv=text)
    with pytest.raises(DataError, match=problem):
        load_source(tmp_path / "bad.csv", modality="series")


def test_only_tables_with_series_and_steps_are_taken_for_series(tmp_path):
    write(tmp_path, text_csv="text,label\nhello,a\n", long_csv=WIDE)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    assert is_long_form(tmp_path / "long.csv")
    for other in ("text.csv", "bytes.csv", "missing.csv"):
        assert not is_long_form(tmp_path / other)


# --- arrays ---------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(8, 2, 5))
Y = np.arange(8) % 2


def test_arrays_are_series_where_that_is_said(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2], groups=Y)
    source = load_source(tmp_path / "a.npz", modality="series")
    np.testing.assert_array_equal(source.train.x, X.astype(np.float32))
    assert source.train.groups.tolist() == [str(y) for y in Y]
    assert source.test.classes == ("0", "1")
    assert load_source((X[:, 0], Y), modality="series").train.x.shape == (8, 1, 5)


def test_missing_steps_at_the_end_of_all_channels_are_padding():
    x = X.copy()
    x[0, :, 3:] = np.nan
    x[1, 0, 4] = np.nan
    train = load_source((x, Y), modality="series").train
    assert train.lengths.tolist() == [3, *[5] * 7]
    assert (train.x[0, :, 3:] == 0).all()
    assert np.isnan(train.x).sum() == 1


def test_classes_given_as_numbers_keep_the_order_of_numbers():
    train = load_source((X, np.array([10, 9] * 4)), modality="series").train
    assert train.classes == ("9", "10")


@pytest.mark.parametrize(
    ("x", "y", "problem"),
    [
        (X[0, 0], Y, r"must be series \(n, L\) or \(n, C, L\)"),
        (X[:, :, :0], Y, "none of them 0"),
        (X > 0, Y, "must hold numbers, got dtype bool"),
        (np.where(X > 2, np.inf, X) + np.inf, Y, "got infinity in 8 of 8 series, first in sample"),
        (X, Y[:3], "one class per sample"),
        (X, Y + 0.5, "one class per sample"),
    ],
)
def test_arrays_that_are_no_series_are_refused(x, y, problem):
    with pytest.raises(DataError, match=problem):
        load_source((x, y), modality="series")


def test_options_that_do_not_suit_are_refused(tmp_path):
    write(tmp_path, W_TRAIN_ts=ts(*FOUR))
    with pytest.raises(InvalidValueError, match="`image_size` is for images, got 8 for series"):
        load_source(tmp_path, image_size=8)
    with pytest.raises(InvalidValueError, match="`group_pattern` is for samples in files"):
        load_source(tmp_path, group_pattern="(a)")
    with pytest.raises(UnknownNameError, match="Did you mean 'series'"):
        load_source(tmp_path, modality="serie")
    with pytest.raises(InvalidValueError, match="`modality` is 'series', but digits holds image"):
        load_source("digits", modality="series")


def test_two_dimensional_arrays_hint_at_series():
    with pytest.raises(DataError, match="If they are time series: --modality series"):
        load_source((X[:, 0], Y))


# --- datasets -------------------------------------------------------------------------------


def dataset(n=4, lengths=None):
    x = np.zeros((n, 1, 6), dtype=np.float32)
    y = (np.arange(n) % 2).astype(np.int64)
    return Dataset(x, y, ("a", "b"), modality="series", lengths=lengths)


def test_lengths_go_along_when_samples_are_taken_and_joined():
    some = dataset(lengths=np.array([1, 2, 3, 4]))
    assert some.take([3, 0]).lengths.tolist() == [4, 1]
    assert join(some, dataset()).lengths.tolist() == [1, 2, 3, 4, 6, 6, 6, 6]
    assert join(dataset(), dataset()).lengths is None
    assert some.fingerprint != dataset().fingerprint


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"x": np.zeros((4, 6), dtype=np.float32)}, r"must have shape \(n, C, L\)"),
        ({"x": np.zeros((4, 1, 6))}, "must be float32, got float64"),
        ({"x": np.full((4, 1, 6), np.inf, dtype=np.float32)}, "must be finite"),
        ({"lengths": np.array([1, 2, 3])}, "`lengths` must have one entry per sample"),
        ({"lengths": np.array([0, 2, 3, 4])}, r"`lengths` must be int64 in 1..6"),
        ({"lengths": np.array([1, 2, 3, 7])}, r"in 1..7"),
    ],
)
def test_a_dataset_of_series_is_checked_when_it_is_made(change, problem):
    good = dataset()
    fields = {"x": good.x, "y": good.y, "classes": good.classes, "modality": "series"}
    with pytest.raises(DataError, match=problem):
        Dataset(**(fields | change))
