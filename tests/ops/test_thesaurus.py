"""Files of synonyms: from outside, so bounded, checked and told apart by their content."""

import json

import pytest

from policysearch.errors import FormatError, InvalidValueError
from policysearch.ops import thesaurus as module
from policysearch.ops.thesaurus import load_thesaurus, thesaurus_of


def test_tsv_and_json_with_the_same_words_are_the_same(tmp_path):
    (tmp_path / "a.tsv").write_text("# ours\nscreen\tdisplay\tmonitor\n\nGerät\tApparat\n")
    entries = {"screen": ["display", "monitor"], "Gerät": ["Apparat"]}
    (tmp_path / "a.json").write_text(json.dumps(entries))
    one, two = load_thesaurus(tmp_path / "a.tsv"), load_thesaurus(tmp_path / "a.json")
    assert one.of("screen") == two.of("screen") == ("display", "monitor")
    assert one.of("Gerät") == ("Apparat",)
    assert one.of("display") == ()
    assert one.digest == two.digest == thesaurus_of(entries).digest
    assert one.digest != thesaurus_of({"screen": ["display"]}).digest


def test_a_synonym_may_hold_spaces(tmp_path):
    (tmp_path / "a.tsv").write_text("tv\ttelevision set\n")
    assert load_thesaurus(tmp_path / "a.tsv").of("tv") == ("television set",)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.tsv", "", "at least one word"),
        ("a.tsv", "screen\n", "line 1: word 'screen' has no synonym"),
        ("a.tsv", "big screen\tdisplay\n", "line 1: a word must be one word, got 'big screen'"),
        ("a.tsv", "a\tb\na\tc\n", "line 2: word 'a' is given twice"),
        ("a.tsv", "a\tb\t\tc\n", "line 1: a synonym must not be empty"),
        ("a.tsv", f"a\t{'b' * 101}\n", "line 1: a word must be at most 100 characters"),
        ("a.json", '["a"]', "must be an object"),
        ("a.json", '{"a": "b"}', "word 'a': its synonyms must be a list"),
        ("a.json", '{"a": ["b"], "a": ["c"]}', "'a' is given twice"),
    ],
)
def test_a_wrong_file_says_where_and_why(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content)
    with pytest.raises(FormatError, match=expected):
        load_thesaurus(tmp_path / name)


def test_all_problems_are_told_at_once(tmp_path):
    (tmp_path / "a.tsv").write_text("screen\nbig tv\tset\n")
    with pytest.raises(FormatError, match=r"2 problems(.|\n)*line 1(.|\n)*line 2"):
        load_thesaurus(tmp_path / "a.tsv")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"a\t\xff\n")
    with pytest.raises(FormatError, match="UTF-8"):
        load_thesaurus(tmp_path / "a.tsv")


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_THESAURUS_BYTES", 10)
    (tmp_path / "a.tsv").write_text("screen\tdisplay\n")
    with pytest.raises(FormatError, match="at most 10 bytes"):
        load_thesaurus(tmp_path / "a.tsv")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidValueError, match=r"none\.tsv' does not exist"):
        load_thesaurus(tmp_path / "none.tsv")


def test_entries_of_python_are_checked_too():
    with pytest.raises(FormatError, match="one word"):
        thesaurus_of({"two words": ["x"]})
    with pytest.raises(InvalidValueError, match="at least one"):
        thesaurus_of({})
