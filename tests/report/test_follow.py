"""A run told from its ledger: the same events as its own progress tells, and how it ends."""

import json
import threading

import pytest
from faults.driver import SETTINGS, with_formula

from policysearch import study
from policysearch.config import make_config
from policysearch.errors import FormatError, RunError
from policysearch.ledger import Ledger, read_ledger
from policysearch.report.follow import RunEvents, follow


def steps(events):
    """What both tell: rungs, trials and tasks; where the best stands when trials end together."""
    kept = [e for e in events if e["event"] in {"rung", "trial", "task"}]
    return [{k: v for k, v in e.items() if not k.startswith("best_")} for e in kept]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A run, and what its own progress told."""
    folder, events = tmp_path_factory.mktemp("told"), []
    study.search(make_config(SETTINGS), folder / "run", events.append, with_formula(folder))
    return folder / "run", events


def test_a_run_is_told_from_outside_as_it_told_itself(told):
    out, events = told
    seen = [event for batch in follow(out, 0.01) for event in batch]
    assert steps(seen) == steps(events)
    last = {"event": "finished", "out": str(out)}
    assert {k: v for k, v in seen[-1].items() if k != "verdict"} == last
    assert seen[-1]["verdict"] == json.loads((out / "verdict.json").read_text())
    best = [e for e in seen if e["event"] == "trial"][-1]
    assert best["best_number"] == [e for e in events if e["event"] == "trial"][-1]["best_number"]


def test_a_run_is_followed_while_it_goes_on(told, tmp_path):
    _, events = told
    out = tmp_path / "run"
    make_engine, is_seen = with_formula(tmp_path, 0.05), threading.Event()

    def wait_for_follower(event):
        if event["event"] == "trial":
            is_seen.wait(30)

    run = threading.Thread(
        target=study.search, args=(make_config(SETTINGS), out, wait_for_follower, make_engine)
    )
    run.start()
    while not (out / "ledger.jsonl").exists():
        run.join(0.01)
    batches = []
    for batch in follow(out, 0.01):
        batches.append(batch)
        if any(event["event"] == "trial" for event in batch):
            is_seen.set()
    run.join()
    seen = [event for batch in batches for event in batch]
    assert [e for e in steps(seen) if e["event"] == "rung"] == [
        e for e in steps(events) if e["event"] == "rung"
    ]
    assert seen[-1]["event"] == "finished"
    assert len([batch for batch in batches if batch]) > 3
    assert len(steps(seen)) == len(steps(events))


def cut(told, tmp_path, n_lines):
    out = tmp_path / "run"
    out.mkdir()
    raw = (told[0] / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (out / "ledger.jsonl").write_bytes(b"".join(raw[:n_lines]))
    return out


def test_a_run_whose_owner_is_dead_is_said_to_be(told, tmp_path):
    out, seen = cut(told, tmp_path, 8 + 16), []
    with pytest.raises(RunError, match=r"Nobody works on the run .* policysearch resume"):
        seen.extend(follow(out, 0.01))
    kinds = [e["event"] for e in seen[0]]
    assert kinds == ["rung"] + ["task"] * 15 + ["rung"] + ["trial"] * 6


def test_nothing_is_written_and_a_torn_line_is_waited_for(told, tmp_path):
    out = cut(told, tmp_path, 8)
    path = out / "ledger.jsonl"
    with path.open("ab") as file:
        file.write(b'{"torn')
    raw = path.read_bytes()
    with pytest.raises(RunError):
        list(follow(out, 0.01))
    assert path.read_bytes() == raw
    assert {p.name for p in out.iterdir()} == {"ledger.jsonl"}


def test_a_damaged_ledger_is_told_as_such(told, tmp_path):
    out = cut(told, tmp_path, 8)
    with (out / "ledger.jsonl").open("ab") as file:
        file.write(b"damaged\n")
    with pytest.raises(FormatError, match="line 9 is damaged"):
        list(follow(out, 0.01))


def test_trials_that_became_void_are_not_done(tmp_path):
    path = tmp_path / "ledger.jsonl"
    failed = {"event": "trial", "origin": "tpe", "state": "failed", "message": "no"}
    with Ledger(path) as ledger:
        ledger.append({"format": "policysearch.ledger", "version": 2, "trials": 7})
        ledger.append(*({**failed, "number": n} for n in range(3)))
        ledger.append({"event": "void", "keys": ["trial/1", "trial/2"]})
        ledger.append({**failed, "number": 1})
    events = RunEvents()
    seen = [event for record in read_ledger(path) for event in events.of(record)]
    assert [e.get("done") for e in seen] == [None, 1, 2, 3, 2]
    assert seen[0] == {"event": "rung", "name": "search", "of": 7}  # of a ledger without rungs
