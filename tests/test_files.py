"""Files: bounded and strict when read, whole or absent when written."""

import json
import os

import pytest

from policysearch.errors import FormatError, InvalidValueError
from policysearch.files import json_text, parse_json, read_text, write_atomic


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, "old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_only_plain_files_are_read(tmp_path, kind):
    path = tmp_path / "a"
    os.mkfifo(path) if kind == "fifo" else path.mkdir()
    with pytest.raises(InvalidValueError, match=r"space file '.*a' is not a file"):
        read_text(path, "space file")


def test_a_file_above_the_bound_is_refused_and_one_at_the_bound_read(tmp_path):
    path = tmp_path / "a"
    path.write_text("x" * 10)
    assert read_text(path, "file", max_bytes=10) == "x" * 10
    with pytest.raises(FormatError, match="at most 9 bytes, got 10"):
        read_text(path, "file", max_bytes=9)


def test_json_text_is_readable_and_comes_back():
    data = {"name": "möwe", "x": [1, 2.5]}
    assert "möwe" in json_text(data)
    assert parse_json(json_text(data), "file") == data


def test_json_text_can_hold_file_names_with_undecodable_bytes():
    data = {"path": os.fsdecode(b"\xff.png")}
    assert json.loads(json_text(data).encode()) == data


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_text_refuses_numbers_that_are_not_finite(value):
    with pytest.raises(ValueError, match="JSON"):
        json_text({"x": value})
