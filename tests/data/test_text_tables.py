"""Texts from tables and folders of `.txt`: what is read, and what is said of what cannot be."""

import json

import numpy as np
import pytest

from policysearch.data import load_source
from policysearch.data.duplicates import find_duplicates
from policysearch.data.splits import make_splits
from policysearch.data.table_file import read_table
from policysearch.errors import DataError, InvalidValueError

ROWS = [
    ("good, very good", "pos"),
    ("bad film", "neg"),
    ('so "so"\nreally', "neg"),
    ("fine", "pos"),
]


def write_csv(path, rows=ROWS, header=("text", "label"), delimiter=","):
    def cell(value):
        return '"' + str(value).replace('"', '""') + '"'

    lines = [delimiter.join(header), *(delimiter.join(map(cell, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_jsonl(path, rows=ROWS, keys=("text", "label")):
    objects = (dict(zip(keys, row, strict=True)) for row in rows)
    path.write_text("".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects))
    return path


def refused(data, **options):
    with pytest.raises(DataError) as info:
        load_source(data, **options)
    return str(info.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_file_may_be_cut_by_commas_semicolons_or_tabs(tmp_path, delimiter):
    source = load_source(write_csv(tmp_path / "a.csv", delimiter=delimiter))
    assert source.train.modality == "text"
    assert source.train.x.tolist() == [text for text, _ in ROWS]
    assert source.train.classes == ("neg", "pos")
    assert source.train.y.tolist() == [1, 0, 0, 1]
    assert source.test is None


def test_tsv_and_jsonl_hold_the_same(tmp_path):
    tsv = load_source(write_csv(tmp_path / "a.tsv", delimiter="\t"))
    jsonl = load_source(write_jsonl(tmp_path / "b.jsonl"))
    assert tsv.train.fingerprint == jsonl.train.fingerprint


def test_names_say_file_and_line(tmp_path):
    train = load_source(write_csv(tmp_path / "a.csv")).train
    assert train.names == ("a.csv:2", "a.csv:3", "a.csv:4", "a.csv:6")


def test_a_folder_of_tables_gives_the_splits(tmp_path):
    write_csv(tmp_path / "train.csv")
    write_jsonl(tmp_path / "test.jsonl", ROWS[:2])
    write_csv(tmp_path / "valid.tsv", ROWS[2:], delimiter="\t")
    source = load_source(tmp_path)
    assert [len(part) for part in source.parts().values()] == [4, 2, 2]
    assert any("'test.jsonl' is the test split" in notice for notice in source.notices)


def test_numeric_labels_are_ordered_by_size(tmp_path):
    rows = [(f"text {i}", i) for i in (10, 9, -1, 10)]
    assert load_source(write_csv(tmp_path / "a.csv", rows)).train.classes == ("-1", "9", "10")
    rows = [("a", True), ("b", False)]
    assert load_source(write_jsonl(tmp_path / "a.jsonl", rows)).train.classes == ("false", "true")


def test_columns_are_known_by_their_names_or_named(tmp_path):
    rows = [(i, text, "x", label) for i, (text, label) in enumerate(ROWS)]
    path = write_csv(tmp_path / "a.csv", rows, ("id", "Sentence", "note", "Class"))
    source = load_source(path)
    assert source.train.x[3] == "fine"
    assert any("column 'Sentence', labels in 'Class'" in notice for notice in source.notices)
    other = write_csv(tmp_path / "b.csv", rows, ("id", "words", "note", "kind"))
    assert "no column of labels that is known by its name" in refused(other)
    assert "--label-column" in refused(other, modality="text")
    named = load_source(other, text_column="words", label_column="kind")
    assert named.train.x[3] == "fine"


def test_the_column_that_is_left_holds_the_texts(tmp_path):
    path = write_csv(tmp_path / "a.csv", header=("words", "label"))
    assert load_source(path, modality="text").train.x[1] == "bad film"


def test_groups_come_from_a_column(tmp_path):
    rows = [(text, label, f"author {i % 2}") for i, (text, label) in enumerate(ROWS)]
    path = write_csv(tmp_path / "a.csv", rows, ("text", "label", "author"))
    groups = load_source(path, group_column="author").train.groups
    assert groups.tolist() == ["author 0", "author 1", "author 0", "author 1"]


def test_a_folder_of_txt_files_by_class(tmp_path):
    for label, texts in {"neg": ["bad", "böse"], "pos": ["good", ""]}.items():
        (tmp_path / label).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / label / f"{i}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "README.txt").write_text("about")
    source = load_source(tmp_path)
    assert source.train.x.tolist() == ["bad", "böse", "good", ""]
    assert source.train.y.tolist() == [0, 0, 1, 1]
    (tmp_path / "pos" / "1.txt").write_bytes(b"\xff\xfe\xff")
    assert "pos/1.txt: no UTF-8 text (byte 0)" in refused(tmp_path)
    assert len(load_source(tmp_path, skip_bad=True).train) == 3


def test_undecodable_bytes_are_named_with_their_line(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\nfine,1\ncaf\xe9,0\n")
    message = refused(tmp_path / "a.csv")
    assert "byte 0xe9 at column 4 of line 3" in message
    assert "iconv" in message


def test_a_byte_that_is_in_no_text_is_named(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"text,label\ngood,1\nb\0d,0\n")
    with pytest.raises(DataError, match="line 3: a NUL byte"):
        read_table(tmp_path / "x.csv")


def test_ragged_rows_are_named_all_at_once(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,1\nb,c,1\nd\ne,0\n")
    message = refused(tmp_path / "a.csv")
    assert "line 3: 3 cells for 2 columns\n  line 4: 1 cells for 2 columns" in message
    many = "text,label\n" + "a,b,c\n" * 50
    (tmp_path / "a.csv").write_text(many)
    assert "reading stopped there" in refused(tmp_path / "a.csv")


def test_a_quote_that_is_not_closed_is_an_error(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"never closed,1\nb,0\n')
    assert "unexpected end of data" in refused(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "must hold a line of column names"),
        ("text,label\n", "got no row"),
        ("text,text\na,b\n", "got text twice"),
        ("text,\na,b\n", "one without a name"),
        ("text,label\na,1\nb,\n , \n", "lines 3, 4"),
        ("text,label\n,1\n ,0\n", "must hold texts, got only empty cells"),
        ("text,label\na,1\nb,1\n", "at least 2 classes"),
        ("text,body\na,1\n", "no column of labels that is known by its name"),
    ],
)
def test_tables_that_cannot_be_used_say_why(tmp_path, content, expected):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=expected):
        make_splits(load_source(tmp_path / "a.csv", modality="text"), seed=0)


def test_a_column_that_is_not_there_suggests_the_nearest(tmp_path):
    message = refused(write_csv(tmp_path / "a.csv"), label_column="lable")
    assert "Did you mean 'label'" in message
    assert "--label-column" in message


def test_texts_taken_for_labels_are_noticed(tmp_path):
    rows = [("pos" if i % 2 else "neg", f"a text {i}") for i in range(300)]
    message = refused(write_csv(tmp_path / "a.csv", rows))
    assert "Labels must be classes, got 300 different ones" in message


def test_labels_of_other_splits_must_be_known(tmp_path):
    write_csv(tmp_path / "train.csv")
    write_csv(tmp_path / "test.csv", [("x", "neutral")])
    assert "got besides: neutral" in refused(tmp_path)


def test_two_tables_for_one_split_are_refused(tmp_path):
    write_csv(tmp_path / "train.csv")
    write_jsonl(tmp_path / "train.jsonl")
    assert "must hold one train table, got train.csv, train.jsonl" in refused(tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: a JSON object is needed, got list"),
        ('{"text": "a"}', "line 2: no key label"),
        ('{"text": "a", "label": 1, "more": 2}', "line 2: new key more"),
        ("[" * 100_000, "line 2: nested too deeply"),
    ],
)
def test_wrong_lines_of_json_are_named(tmp_path, line, expected):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": 0}\n' + line + "\n")
    assert expected in refused(tmp_path / "a.jsonl")


def test_json_without_a_label_counts_as_an_empty_cell(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [("a", 0), ("b", None)])
    assert "must have a label" in refused(tmp_path / "a.jsonl")


def test_a_cell_that_is_too_long_is_an_error(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "x" * 200_000 + ",1\n")
    assert "line 2: field larger than field limit" in refused(tmp_path / "a.csv")


def test_columns_are_for_tables(tmp_path):
    with pytest.raises(InvalidValueError, match="`group_column` is for tables"):
        load_source("digits", group_column="author")
    write_csv(tmp_path / "train.csv")
    with pytest.raises(InvalidValueError, match="not for tables"):
        load_source(tmp_path, group_pattern="(a)")


def test_equal_texts_on_both_sides_of_a_split_are_told(tmp_path):
    train = load_source(write_csv(tmp_path / "a.csv")).train
    report = find_duplicates(train, train.take([1, 3]))
    assert report.exact == 2
    assert ("a.csv:3", "a.csv:3", "exact") in report.examples


def test_splits_hold_all_texts_once_and_say_what_they_are(tmp_path):
    rows = [(f"text {i}", i % 2) for i in range(60)]
    splits = make_splits(load_source(write_csv(tmp_path / "a.csv", rows)), seed=0)
    both = np.concatenate([splits.final.train.x, splits.final.test.x])
    assert sorted(both) == sorted(text for text, _ in rows)
    assert "(2 classes, texts)" in splits.describe()


def test_cells_of_rows_are_as_many_as_columns(tmp_path):
    table = read_table(write_csv(tmp_path / "a.csv"))
    assert table.columns == ("text", "label")
    assert table.lines == [2, 3, 4, 6]
    assert table.rows == [list(row) for row in ROWS]
