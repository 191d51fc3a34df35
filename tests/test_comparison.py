"""Comparing given policies: which are refused, and that the first is the one compared."""

import pytest
from faults.driver import SETTINGS, silent, with_formula

from policysearch.comparison import compare
from policysearch.config import make_config
from policysearch.errors import InvalidValueError, UnknownNameError


@pytest.mark.parametrize(
    ("sources", "error", "word"),
    [
        (("none",), InvalidValueError, "at least 2 policies, got 1"),
        (("none", "none"), InvalidValueError, "'none' is given twice"),
        (("none", "trivialaugment-wid"), UnknownNameError, "trivialaugment-wide"),
    ],
)
def test_wrong_policies_are_refused_before_anything_is_written(tmp_path, sources, error, word):
    config = make_config(SETTINGS | {"policies": sources})
    with pytest.raises(error, match=word):
        compare(config, tmp_path / "run", silent, with_formula(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_first_policy_is_compared_with_each_other_one(tmp_path):
    names = ("randaugment", "none", "augmix")
    config = make_config(SETTINGS | {"policies": names, "verdict_seeds": 3})
    verdict = compare(config, tmp_path / "run", silent, with_formula(tmp_path))
    assert verdict["chosen"] == "randaugment"
    assert [c["other"] for c in verdict["comparisons"]] == ["none", "augmix"]
    assert [len(arm["scores"]) for arm in verdict["arms"]] == [3, 3, 3]
    assert not (tmp_path / "run" / "policy.json").exists()
