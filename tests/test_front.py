"""A search with two objectives, from the trials to the files of its front."""

import json

import pytest
from faults.driver import SETTINGS, silent, with_formula
from faults.sessions import recorded

from policysearch import confirmation, study
from policysearch.config import make_config
from policysearch.errors import FormatError, RunError
from policysearch.ledger import read_ledger
from policysearch.named import resolve_policy
from policysearch.policy import Policy
from policysearch.policy_json import read_policy_file
from policysearch.selection import pick_candidates
from policysearch.trial import Outcome, Suggestion, Trial

BOTH = SETTINGS | {"objectives": "score,cost", "trials": 30}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("front")
    study.search(make_config(BOTH), folder / "run", silent, with_formula(folder))
    return folder / "run"


def test_every_trial_has_its_cost_and_none_is_stopped_early(finished):
    trials = [r for r in read_ledger(finished / "ledger.jsonl") if r.get("event") == "trial"]
    assert len(trials) == 30
    assert all(r["cost"] >= 0 for r in trials)
    assert {r["state"] for r in trials} == {"complete"}
    assert trials[0]["cost"] == 0  # no augmentation


def test_the_front_holds_what_none_beats_and_its_policies_load(finished):
    verdict = json.loads((finished / "verdict.json").read_text())
    front = verdict["front"]
    costs = [point["microseconds"] for point in front]
    scores = [point["score"] for point in front]
    assert costs == sorted(costs)
    assert scores == sorted(scores, reverse=True)
    assert front[0]["name"] == "none"  # nothing is cheaper
    for point in front:
        policy = read_policy_file(finished / point["file"]).policy
        assert policy.sub_policies or point["name"] == "none"
    assert {p.name for p in (finished / "front").iterdir()} == {
        point["file"].removeprefix("front/") for point in front
    }
    chosen = verdict["validation"]
    name = chosen["origin"] if chosen["chosen"] == "found" else chosen["chosen"]
    assert name in {point["name"] for point in front}
    axes = {arm["name"]: arm["axes"]["augmentation_microseconds"] for arm in verdict["arms"]}
    assert axes["none"] == 0
    assert axes["found"] > 0


def test_the_choice_is_told_what_policies_cost(tmp_path, monkeypatch):
    def chosen(arms, scores, baselines, cost, overlap):
        assert cost is not None
        assert cost(arms["none"]) == 0
        assert overlap == pytest.approx(1 / 3)  # of three folds
        raise RunError("asked")

    monkeypatch.setattr(confirmation, "select", chosen)
    with pytest.raises(RunError, match="asked"):
        study.search(make_config(BOTH), tmp_path / "run", silent, with_formula(tmp_path))


def test_costs_are_measured_once_and_a_run_goes_on_with_them(tmp_path, finished):
    records = read_ledger(finished / "ledger.jsonl")
    assert [r["event"] for r in records if r.get("event") == "op_costs"] == ["op_costs"]
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.yaml", "ledger.jsonl"):
        (run / name).write_bytes((finished / name).read_bytes())
    lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    cut = next(i for i, r in enumerate(records) if r.get("number") == 17)
    (run / "ledger.jsonl").write_bytes(b"".join(lines[:cut]))
    study.resume(run, silent, with_formula(tmp_path))
    again, before = (json.loads((r / "verdict.json").read_text()) for r in (run, finished))
    assert again["front"] == before["front"]
    assert len(recorded(run)) == len(recorded(finished))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"objectives": "cost"}, "must be 'score' or 'score,cost'"),
        ({"objectives": "score,speed"}, "objectives"),
        ({"objectives": "score,cost", "strategy": "deepaugment"}, "which knows one objective"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, said):
    with pytest.raises(FormatError, match=said):
        make_config(SETTINGS | settings)


def test_a_training_of_ones_own_has_no_cost_that_is_known_here():
    settings = {"data": "a.py:train", "objective": "function", "objectives": "score,cost"}
    with pytest.raises(FormatError, match="only you can measure"):
        make_config(settings)


def test_candidates_are_those_that_none_beats_first():
    policy = resolve_policy("randaugment").policy

    def trial(number, score, cost):
        other = Policy(policy.sub_policies, fill=number / 100)
        return Trial(number, Suggestion(other, "tpe"), Outcome("complete", score), cost)

    points = [(0.5, 1e-6), (0.3, 3e-6), (0.2, 9e-6), (0.4, 4e-6), (0.6, 2e-6), (0.4, 2e-6)]
    trials = [trial(i, *point) for i, point in enumerate(points)]
    assert set(pick_candidates(trials, 4, ())) == {"trial-0", "trial-1", "trial-2", "trial-5"}
    two = pick_candidates(trials, 2, ())
    assert set(two) == {"trial-0", "trial-2"}
    assert len(pick_candidates(trials, 6, ())) == 6
