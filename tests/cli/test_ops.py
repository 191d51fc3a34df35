"""`policysearch ops`."""

import json

import pytest

from policysearch import cli
from policysearch.ops.registry import all_ops


def test_every_op_is_listed_with_its_range(capsys):
    assert cli.main(["ops"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(all_ops("image"))
    assert any(line.startswith("rotate ") and "± 0 to 30 deg" in line for line in lines)


def test_json_lists_every_op_with_unit_range_and_source(capsys):
    assert cli.main(["ops", "--json"]) == 0
    ops = {op["name"]: op for op in json.loads(capsys.readouterr().out)}
    assert set(ops) == set(all_ops("image"))
    assert ops["rotate"]["unit"] == "deg"
    assert (ops["rotate"]["low"], ops["rotate"]["high"]) == (0.0, 30.0)
    assert ops["rotate"]["signed"] is True
    assert ops["flip_horizontal"]["unit"] is None
    assert ops["flip_horizontal"]["high"] is None
    assert all(op["source"] and op["ops_version"] == "image-1" for op in ops.values())


@pytest.mark.parametrize("name", list(all_ops("image")))
def test_details_of_every_op_fit_80_columns(name, capsys):
    assert cli.main(["ops", name]) == 0
    text = capsys.readouterr().out
    assert text.startswith(name)
    assert max(map(len, text.splitlines())) <= 80


def test_json_of_one_op_is_one_object(capsys):
    assert cli.main(["ops", "hue", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["min_channels"] == 3


def test_an_unknown_modality_is_wrong_input(capsys):
    assert cli.main(["ops", "--modality", "imag"]) == 2
    assert "Did you mean 'image'?" in capsys.readouterr().err
