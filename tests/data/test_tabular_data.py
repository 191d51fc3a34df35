"""Tables of numbers and categories: what is read, what is learned from, and what is refused."""

import csv
import json

import numpy as np
import pytest

from policysearch.data import load_source
from policysearch.data.columns import Column
from policysearch.data.dataset import Dataset, Source, join
from policysearch.errors import DataError, InvalidValueError

HEADER = ["age", "colour", "weight", "species"]
ROWS = [
    ["3", "red", "1.5", "cat"],
    ["4", "blue", "?", "dog"],
    ["5", "red", "2e1", "cat"],
    ["", "NA", "-7", "dog"],
]


def write(path, rows=None, header=None):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header or HEADER, *(rows if rows is not None else ROWS)])
    return path


def _pyarrow():
    return pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")


def load(path, **options):
    return load_source(path, label_column="species", **options)


def refused(path, **options):
    with pytest.raises(DataError) as error:
        load(path, **options)
    return str(error.value)


def test_numbers_categories_and_gaps_of_a_csv(tmp_path):
    source = load(write(tmp_path / "pets.csv"))
    train = source.train
    assert train.modality == "tabular"
    assert train.columns == (Column("age"), Column("colour", ("blue", "red")), Column("weight"))
    nan = np.nan
    np.testing.assert_array_equal(train.x, [[3, 1, 1.5], [4, 0, nan], [5, 1, 20], [nan, nan, -7]])
    assert train.classes == ("cat", "dog")
    assert train.y.tolist() == [0, 1, 0, 1]
    assert train.names[2] == "pets.csv:4"
    assert source.notices == (
        "Read as a table with 2 columns of numbers, 1 of categories (colour); labels are in "
        "column 'species'.",
    )


@pytest.mark.parametrize("suffix", ["tsv", "jsonl", "parquet"])
def test_other_formats_hold_the_same(tmp_path, suffix):
    path = tmp_path / f"pets.{suffix}"
    if suffix == "tsv":
        path.write_text("\n".join("\t".join(row) for row in [HEADER, *ROWS]))
    elif suffix == "jsonl":
        rows = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        arrow, parquet = _pyarrow()
        columns = {
            "age": [3, 4, 5, None],
            "colour": arrow.array(["red", "blue", "red", None]).dictionary_encode(),
            "weight": [1.5, float("nan"), 20.0, -7.0],
            "species": ["cat", "dog", "cat", "dog"],
        }
        parquet.write_table(arrow.table(columns), path)
    expected = load(write(tmp_path / "pets.csv")).train
    assert load(path).train.fingerprint == expected.fingerprint


def test_parquet_that_is_damaged_or_holds_lists_is_refused(tmp_path):
    arrow, parquet = _pyarrow()
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 nothing")
    assert "is not a readable Parquet file" in refused(path)
    parquet.write_table(arrow.table({"a": [[1], [2]], "species": ["x", "y"]}), path)
    assert "must hold words, numbers or truth values, got a (list" in refused(path)
    parquet.write_table(arrow.table({"a": [], "species": []}), path)
    assert "must hold rows, got none" in refused(path)


def test_a_folder_of_splits_and_categories_that_only_the_test_split_has(tmp_path):
    write(tmp_path / "train.csv")
    write(tmp_path / "test.csv", [["9", "green", "1", "dog"], ["9", "red", "1", "cat"]])
    source = load(tmp_path)
    np.testing.assert_array_equal(source.test.x, [[9, np.nan, 1], [9, 1, 1]])
    assert source.test.columns == source.train.columns
    assert any("1 cells of column 'colour' in the test split" in text for text in source.notices)


def test_what_is_learned_of_columns_does_not_depend_on_the_test_split(tmp_path):
    write(tmp_path / "train.csv")
    trains = []
    for rows in ([["9", "red", "1", "dog"]], [["1e9", "aquamarine", "", "cat"]]):
        write(tmp_path / "test.csv", rows)
        trains.append(load(tmp_path).train)
    assert trains[0].fingerprint == trains[1].fingerprint


def test_numbers_that_are_categories_are_named(tmp_path):
    path = write(tmp_path / "pets.csv")
    train = load(path, categorical_columns=["age"]).train
    assert train.columns[0] == Column("age", ("3", "4", "5"))
    assert "Did you mean 'age'" in refused(path, categorical_columns=["aeg"])


def test_groups_are_a_column_and_no_feature(tmp_path):
    train = load(write(tmp_path / "pets.csv"), group_column="colour").train
    assert train.groups.tolist() == ["red", "blue", "red", "NA"]
    assert [column.name for column in train.columns] == ["age", "weight"]


def test_columns_that_say_nothing_are_left_out_with_a_notice(tmp_path):
    rows = [[f"id-{i}", "", str(i % 5), "ab"[i % 2]] for i in range(60)]
    source = load(write(tmp_path / "x.csv", rows, ["id", "void", "n", "species"]))
    assert [column.name for column in source.train.columns] == ["n"]
    assert any("'void' is left out: it has no known value" in text for text in source.notices)
    assert any("'id' is left out: it has 60 different words" in text for text in source.notices)
    only = write(tmp_path / "y.csv", [[a, d] for a, _, _, d in rows], ["id", "species"])
    assert "must have columns beside the label 'species'" in refused(only)


def test_a_table_of_texts_is_told_from_one_of_columns(tmp_path):
    rows = [[f"a film about {i} men", str(i), "ab"[i % 2]] for i in range(60)]
    texts = write(tmp_path / "a.csv", rows, ["review", "n", "label"])
    source = load_source(texts)
    assert source.train.modality == "text"
    assert any("--modality tabular" in notice for notice in source.notices)
    assert load_source(texts, modality="tabular").train.x.shape == (60, 1)
    other = write(tmp_path / "b.csv", rows, ["words", "n", "label"])
    with pytest.raises(DataError, match=r"seems to hold texts.*--text-column words, .*tabular"):
        load_source(other)
    assert load_source(other, text_column="words").train.modality == "text"
    assert load_source(other, modality="tabular").train.x.shape == (60, 1)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([["1", "a", "x", "s"]] + [["1", "a", "2", "st"[i % 2]] for i in range(20)],
         "Column 'weight' of 'x.csv' must hold numbers, got 'x' in line 2. Correct"),
        ([["inf", "a", "1", "s"], ["1", "a", "1", "t"]],
         "Column 'age' of 'x.csv' must hold numbers up to 1e+150, got 'inf' in line 2"),
        ([["1", "a", "1", ""], ["1", "a", "1", "t"]], "must have a label, got none in column"),
        ([["1", "a", "s"]], "line 2: 3 cells for 4 columns"),
        ([], "got no row"),
    ],
)  # fmt: skip
def test_wrong_cells_are_named_with_their_lines(tmp_path, rows, text):
    assert text in refused(write(tmp_path / "x.csv", rows))


def test_columns_missing_in_the_test_split_and_unknown_names_are_told(tmp_path):
    write(tmp_path / "train.csv")
    write(tmp_path / "test.csv", [["9", "red", "cat"]], ["age", "colour", "species"])
    assert "column 'weight'" in refused(tmp_path)
    with pytest.raises(DataError, match="no column of labels that is known by its name"):
        load_source(write(tmp_path / "x.csv"))
    with pytest.raises(InvalidValueError, match="`text_column` is for text"):
        load_source("wine", text_column="x")
    with pytest.raises(InvalidValueError, match="`group_pattern` is for folders of files"):
        load(tmp_path, group_pattern="(x)")


@pytest.mark.parametrize(("name", "sizes"), [("wine", (100, 78)), ("breast_cancer", (300, 269))])
def test_the_tables_that_ship_with_scikit_learn(name, sizes):
    source = load_source(name)
    assert (len(source.train), len(source.test)) == sizes
    assert (source.train.counts() > 0).all()
    whole = np.concatenate([source.train.x, source.test.x])
    assert len(np.unique(whole, axis=0)) == sum(sizes)
    with pytest.raises(DataError, match=f"Did you mean '{name}'"):
        load_source(name[:-1])


def test_arrays_are_rows_where_it_is_said():
    x, y = np.array([[1, 2], [3, 4], [5, 6]]), np.array(["a", "b", "a"])
    source = load_source(((x, y), (x, y)), modality="tabular")
    assert source.test.x.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert source.train.classes == ("a", "b")
    for bad, text in (
        (np.zeros((3, 2, 2)), r"must be rows of numbers \(n, d\)"),
        (np.array([[np.inf, 1]] * 3), "got inf, first in row 0"),
        (np.array([[0, 1], [1e300, 1]]), r"got 1e\+300, first in row 1"),
    ):
        with pytest.raises(DataError, match=text):
            load_source((bad, y), modality="tabular")
    with pytest.raises(DataError, match="must have the 2 columns of `x_train`, got 1"):
        load_source(((x, y), (x[:, :1], y)), modality="tabular")


def test_the_label_is_no_column_of_categories(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,label\n" + "1,s\n2,t\n" * 10)
    with pytest.raises(DataError, match="got 'label', the label of"):
        load_source(str(path), label_column="label", categorical_columns=("label",))


A, B = Column("a"), Column("b", ("u", "v"))


def dataset(x, columns=(A, B)):
    return Dataset(x, np.zeros(len(x), np.int64), ("k",), modality="tabular", columns=columns)


def test_a_dataset_holds_rows_that_fit_their_columns():
    good = dataset(np.array([[0.5, 1], [np.nan, np.nan]]))
    assert good.n_channels == 2
    assert dataset(np.ones((1, 1)), (A,)).n_channels == 1
    assert join(good, good).columns == good.columns
    assert good.take([1]).columns == good.columns
    other = dataset(good.x, (A, Column("b", ("u", "w"))))
    assert other.fingerprint != good.fingerprint
    with pytest.raises(DataError, match="same classes and sample shape"):
        join(good, other)
    assert Source(good).parts() == {"train": good}
    for x, text in (
        (np.array([[0.0, 2]]), r"Column 'b' must hold categories 0\.\.1, got 2\.\.2"),
        (np.array([[np.inf, 1]]), "finite"),
        (np.zeros((1, 3)), "d columns"),
        (np.zeros((1, 2), np.float32), "float64"),
    ):
        with pytest.raises(DataError, match=text):
            dataset(x)
