"""What a user may write where a policy is wanted."""

import json
from pathlib import Path

import pytest

from policysearch.errors import InvalidValueError, UnknownNameError
from policysearch.named import resolve_policy
from policysearch.policy import Policy
from policysearch.policy_json import PolicyDocument, policy_to_dict

DATA = {
    "format": "policysearch.policy",
    "version": 1,
    "sub_policies": [{"ops": [{"op": "invert", "probability": 0.5}]}],
}


def test_a_policy_is_found_by_file_run_directory_mapping_or_as_itself(tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps(DATA))
    document = resolve_policy(DATA)
    assert document.policy.n_choices == 1
    assert resolve_policy(tmp_path / "policy.json") == document
    assert resolve_policy(str(tmp_path / "policy.json")) == document
    assert resolve_policy(tmp_path) == document
    assert resolve_policy(str(tmp_path)) == document
    assert resolve_policy(document) is document
    assert resolve_policy(document.policy) == PolicyDocument(document.policy)


def test_a_file_needs_no_json_ending_when_it_exists(tmp_path, monkeypatch):
    (tmp_path / "mine").write_text(json.dumps(DATA))
    monkeypatch.chdir(tmp_path)
    assert resolve_policy("mine") == resolve_policy(DATA)


def test_a_shipped_name_wins_over_a_file_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "none").write_text(json.dumps(DATA))
    monkeypatch.chdir(tmp_path)
    assert resolve_policy("none").policy == Policy()
    assert resolve_policy(Path("none")) == resolve_policy(DATA)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UnknownNameError) as caught:
        resolve_policy("trivialaugment-wid")
    text = "Unknown policy 'trivialaugment-wid'. Did you mean 'trivialaugment-wide'?"
    assert text in str(caught.value)
    assert "none, randaugment" in str(caught.value)


@pytest.mark.parametrize("name", ["", "x" * 5000, "nul\0"])
def test_a_name_that_cannot_be_a_file_is_no_other_error(name):
    with pytest.raises((UnknownNameError, InvalidValueError)):
        resolve_policy(name)


@pytest.mark.parametrize("source", [None, 3, b"none", ["none"]])
def test_something_else_is_refused_by_its_type(source):
    with pytest.raises(InvalidValueError, match=f"got {type(source).__name__}"):
        resolve_policy(source)


def test_a_policy_written_to_a_dict_is_found_as_a_mapping():
    document = resolve_policy("randaugment")
    assert resolve_policy(policy_to_dict(document)) == document


@pytest.mark.parametrize(
    ("arm", "file"), [("default", "default-image"), ("trivialaugment", "trivialaugment-wide")]
)
def test_arms_of_a_verdict_are_known_by_their_names_there(arm, file):
    assert resolve_policy(arm).policy == resolve_policy(file).policy
