"""The search rung: its window, its ledger, and that timing and workers decide nothing."""

import pytest
from faults.driver import silent
from faults.formula import Formula, Scripted, Uneven

from policysearch.baselines import baseline_policies
from policysearch.config import make_config
from policysearch.engines.local import LocalEngine
from policysearch.errors import RunError
from policysearch.run import MAX_FAILURES_IN_A_ROW, Run, StopRequest
from policysearch.search_loop import SearchLoop
from policysearch.space_yaml import load_space
from policysearch.trial import Replicate

SPACE = load_space("image/opwise").restricted_to(1)
WARM = baseline_policies(SPACE, 8)
REPLICATES = (Replicate(0, 1), Replicate(1, 1))


def run_loop(path, objective, *, n_trials=14, workers=2, lookback=4, seconds=None, spy=None):
    config = make_config({"data": "digits", "trials": n_trials, "lookback": lookback})
    path.mkdir(exist_ok=True)
    with (
        Run(path, config, {"seed": 0}) as run,
        StopRequest(silent) as stop,
        LocalEngine(objective, workers) as engine,
    ):
        loop = SearchLoop(run, SPACE, WARM, REPLICATES, 3, n_trials)
        if spy is not None:
            ask = loop.sampler.suggest
            loop.sampler.suggest = lambda n, seen: spy(n, [t.number for t in seen]) or ask(n, seen)
        trials = loop.run(engine, stop, silent, seconds)
        return trials, list(run.ledger.records)


def facts(trials):
    return [(t.number, t.suggestion, t.score, t.outcome.state) for t in trials]


@pytest.mark.parametrize("lookback", [1, 3, 5])
def test_a_trial_is_asked_for_with_exactly_the_trials_before_its_window(tmp_path, lookback):
    asked = []
    run_loop(
        tmp_path,
        Uneven(tmp_path),
        lookback=lookback,
        workers=3,
        spy=lambda *seen: asked.append(seen),
    )
    assert asked == [(n, list(range(n - lookback + 1))) for n in range(14)]


def test_workers_and_timing_decide_nothing(tmp_path):
    results = []
    for workers, kind in [(1, Formula), (2, Uneven), (3, Uneven)]:
        folder = tmp_path / str(workers)
        folder.mkdir()
        results.append(facts(run_loop(folder, kind(folder), workers=workers)[0]))
    assert results[0] == results[1] == results[2]
    assert len({t[1].policy.digest() for t in results[0]}) == 14


def test_a_later_start_continues_with_what_is_there(tmp_path):
    first, records = run_loop(tmp_path, Formula(tmp_path), n_trials=14)
    for n_lines in (1, 2, 9, 14):
        folder = tmp_path / str(n_lines)
        folder.mkdir()
        raw = (tmp_path / "ledger.jsonl").read_bytes().split(b"\n")
        (folder / "ledger.jsonl").write_bytes(b"\n".join(raw[:n_lines]) + b"\n")
        assert facts(run_loop(folder, Formula(folder))[0]) == facts(first)
        assert len((folder / "evaluated").read_text().splitlines()) == 14 - (n_lines - 1)
    assert [r["event"] for r in records[1:]] == ["trial"] * 14 + ["search_end"]


def test_a_single_failed_trial_is_kept_and_stops_nothing(tmp_path):
    trials, _ = run_loop(tmp_path, Scripted(tmp_path, {0, 3, 4, 8}))
    assert [t.number for t in trials if t.outcome.state == "failed"] == [0, 3, 4, 8]
    assert "no such column: label" in trials[3].outcome.message
    assert len(trials) == 14
    again, _ = run_loop(tmp_path, Scripted(tmp_path, set()))
    assert facts(again) == facts(trials)
    assert len((tmp_path / "evaluated").read_text().splitlines()) == 14


def test_five_failures_in_a_row_stop_the_run_with_the_reason(tmp_path):
    with pytest.raises(RunError, match="5 tasks failed in a row") as caught:
        run_loop(tmp_path, Scripted(tmp_path, set(range(2, 99))), workers=1)
    assert "no such column: label" in str(caught.value)
    assert "policysearch resume" in str(caught.value)
    assert len((tmp_path / "evaluated").read_text().splitlines()) == 2 + MAX_FAILURES_IN_A_ROW


def test_when_the_setup_is_mended_the_failures_in_a_row_are_tried_again(tmp_path):
    """Otherwise the search would go on without the policies that it compares with."""
    with pytest.raises(RunError):
        run_loop(tmp_path, Scripted(tmp_path, set(range(99))))
    trials, _ = run_loop(tmp_path, Scripted(tmp_path, set()))
    other = tmp_path / "other"
    other.mkdir()
    assert facts(trials) == facts(run_loop(other, Formula(other))[0])


def test_the_time_ends_the_search_for_good(tmp_path):
    trials, records = run_loop(tmp_path, Formula(tmp_path, 0.1), n_trials=500, seconds=1.5)
    assert len(WARM) < len(trials) < 500
    assert records[-1]["reason"] == "budget"
    again, _ = run_loop(tmp_path, Formula(tmp_path), n_trials=500, seconds=1000)
    assert facts(again) == facts(trials)


def test_time_spent_counts_over_sessions_also_of_one_that_was_killed(tmp_path):
    trials, _ = run_loop(tmp_path, Formula(tmp_path, 0.1), n_trials=500, seconds=1.5)
    raw = (tmp_path / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "ledger.jsonl").write_bytes(b"".join(raw[:-1]))  # killed before its end was noted
    again, _ = run_loop(tmp_path, Formula(tmp_path, 0.1), n_trials=500, seconds=1.5)
    assert len(trials) <= len(again) <= len(trials) + 2


def test_a_search_out_of_time_still_tries_one_policy_of_its_own(tmp_path):
    trials, _ = run_loop(tmp_path, Formula(tmp_path), seconds=0.0, workers=1)
    assert len(trials) == len(WARM) + 1


def test_tasks_of_the_search_are_pruned_but_never_the_known_policies(tmp_path):
    trials, _ = run_loop(tmp_path, Formula(tmp_path), n_trials=40)
    states = {t.outcome.state for t in trials if not t.suggestion.origin.startswith("warm:")}
    assert states == {"complete", "pruned"}
    assert {t.outcome.state for t in trials[: len(WARM)]} == {"complete"}
