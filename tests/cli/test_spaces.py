"""`policysearch spaces`."""

import json

import pytest

from policysearch import cli
from policysearch.resources import space_files

MINE = """
format: policysearch.space
version: 1
summary: Mine.
method: opwise
ops:
  - {op: rotate, low: 0, high: 10, unit: deg}
  - {op: invert}
"""


def test_shipped_spaces_are_listed(capsys):
    assert cli.main(["spaces"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in space_files())
    assert max(map(len, text.splitlines())) <= 80


def test_json_lists_spaces_with_sizes_and_references(capsys):
    assert cli.main(["spaces", "--json"]) == 0
    spaces = {space["name"]: space for space in json.loads(capsys.readouterr().out)}
    assert set(spaces) == set(space_files())
    assert spaces["image/autoaugment"]["n_parameters"] == 30
    assert spaces["image/randaugment"]["n_parameters"] == 2
    assert spaces["image/trivialaugment_wide"]["n_parameters"] == 0
    assert all(space["references"] and space["summary"] for space in spaces.values())


@pytest.mark.parametrize("name", list(space_files()))
def test_details_of_every_space_fit_80_columns(name, capsys):
    assert cli.main(["spaces", name]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert cli.main(["spaces", name, "--json"]) == 0
    space = json.loads(capsys.readouterr().out)
    assert len(space["parameters"]) == space["n_parameters"]
    assert len(space["ops"]) == space["n_ops"]


def test_a_file_of_ones_own_is_explained(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    assert cli.main(["spaces", str(path)]) == 0
    text = capsys.readouterr().out
    assert "0 to 10 deg" in text
    assert "*.weight" in text


def test_every_problem_of_a_file_is_named(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(MINE.replace("rotate", "rotat").replace("invert", "invertt"))
    assert cli.main(["spaces", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "'rotate'" in captured.err
    assert "'invert'" in captured.err


def test_a_missing_file_is_named(capsys):
    assert cli.main(["spaces", "nowhere.yaml"]) == 2
    assert "'nowhere.yaml' does not exist" in capsys.readouterr().err


def test_the_knots_of_a_schedule_share_a_row(capsys):
    assert cli.main(["spaces", "scheduled"]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "strength.* 3 0 to 1 (at a knot of the schedule)" in rows
