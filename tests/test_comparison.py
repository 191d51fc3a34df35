"""Comparing given policies: which are refused, and that the first is the one compared."""

import pytest
from faults.driver import SETTINGS, silent, with_formula

from policysearch.comparison import compare
from policysearch.config import make_config
from policysearch.errors import FormatError, InvalidValueError, UnknownNameError
from policysearch.ledger import read_ledger


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


def test_with_subsets_every_replicate_has_a_training_set_and_a_seed_of_its_own(tmp_path):
    seen = {}

    def spying(objective, config):
        engine = with_formula(tmp_path)(objective, config)
        submit = engine.submit
        engine.submit = lambda task: (seen.setdefault(task.key, task), submit(task))
        return engine

    settings = SETTINGS | {"policies": ("none", "randaugment"), "subsets": 4}
    verdict = compare(make_config(settings), tmp_path / "run", silent, spying)
    assert verdict["holds_for"] == "this test split; new training sets and seeds"
    assert [len(arm["scores"]) for arm in verdict["arms"]] == [4, 4]
    replicates = [seen[f"verdict/none/{i}"].replicates[0] for i in range(4)]
    assert [r.fold for r in replicates] == [0, 1, 2, 3]
    assert len({r.seed for r in replicates}) == 4
    assert replicates == [seen[f"verdict/randaugment/{i}"].replicates[0] for i in range(4)]
    header = read_ledger(tmp_path / "run" / "ledger.jsonl")[0]
    assert len(set(header["subsets"])) == 4


def test_subsets_belong_to_a_comparison():
    with pytest.raises(FormatError, match="`policysearch compare`"):
        make_config(SETTINGS | {"subsets": 4})
    own = {"data": "t.py:train", "policies": ("none", "augmix"), "objective": "function"}
    with pytest.raises(FormatError, match="not your own training"):
        make_config(own | {"subsets": 4})
