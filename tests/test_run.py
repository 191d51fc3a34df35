"""A run directory: made once, owned by one, and remembering what was finished."""

import pytest

from policysearch.config import SearchConfig
from policysearch.engines.base import Finished
from policysearch.errors import InvalidValueError, RunError
from policysearch.ledger import valid_records
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.run import (
    MAX_FAILURES_IN_A_ROW,
    FailuresInARow,
    Run,
    StopRequest,
    create_run_directory,
    open_config,
)
from policysearch.trial import Outcome, Replicate, Task

CONFIG = SearchConfig(data="digits", seed=3)
HEADER = {"dataset": "abc", "seed": 3}


class InstantEngine:
    """Finishes every task at once; remembers which it was given."""

    n_slots = 2

    def __init__(self, outcome=None):
        self.keys = []
        self._outcome = outcome or Outcome("complete", 0.5)
        self._done = []

    def submit(self, task):
        self.keys.append(task.key)
        self._done.append(task)

    def wait(self, timeout_seconds):
        del timeout_seconds
        done, self._done = self._done, []
        return [Finished(task, self._outcome) for task in done]

    def close(self):
        self._done = []


def silent(event):
    del event


def tasks(n, level=1.0):
    policy = Policy((SubPolicy((Stage((OpCall("rotate", 0.0, level),)),)),))
    return [Task(f"verdict/none/{i}", policy, (Replicate(0, i),), 1) for i in range(n)]


def run_all(path, engine, wanted):
    with Run(path, CONFIG, HEADER) as run, StopRequest(silent) as stop:
        return run.run_tasks(wanted, engine, stop, silent)


def test_new_directory_holds_the_settings_it_was_made_with(tmp_path):
    create_run_directory(tmp_path / "a" / "run", CONFIG)
    assert open_config(tmp_path / "a" / "run").seed == 3


def test_directory_with_something_else_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InvalidValueError, match="new or empty directory"):
        create_run_directory(tmp_path, CONFIG)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_run_that_ended_before_its_first_record_may_be_made_again(tmp_path):
    create_run_directory(tmp_path, SearchConfig(data="digits", seed=1))
    create_run_directory(tmp_path, CONFIG)
    assert open_config(tmp_path).seed == 3


def test_directory_of_another_run_is_refused_with_the_way_to_go_on(tmp_path):
    create_run_directory(tmp_path, CONFIG)
    run_all(tmp_path, InstantEngine(), tasks(1))
    with pytest.raises(InvalidValueError, match="policysearch resume"):
        create_run_directory(tmp_path, CONFIG)


def test_finished_tasks_are_not_run_again(tmp_path):
    first, second = InstantEngine(), InstantEngine()
    run_all(tmp_path, first, tasks(3))
    outcomes = run_all(tmp_path, second, tasks(5))
    assert len(first.keys) == 3
    assert second.keys == ["verdict/none/3", "verdict/none/4"]
    assert {outcome.score for outcome in outcomes.values()} == {0.5}


def test_task_whose_policy_changed_is_run_again(tmp_path):
    run_all(tmp_path, InstantEngine(), tasks(2))
    again = InstantEngine()
    run_all(tmp_path, again, tasks(2, level=2.0))
    assert len(again.keys) == 2


def test_run_whose_data_changed_does_not_go_on(tmp_path):
    run_all(tmp_path, InstantEngine(), tasks(1))
    with pytest.raises(RunError, match="dataset"):
        Run(tmp_path, CONFIG, {**HEADER, "dataset": "xyz"})


def test_too_many_failures_in_a_row_stop_the_run_and_are_tried_again(tmp_path):
    broken = Outcome("failed", failure="error", message="ValueError: no such file")
    with pytest.raises(RunError, match="no such file"):
        run_all(tmp_path, InstantEngine(broken), tasks(MAX_FAILURES_IN_A_ROW))
    mended = InstantEngine()
    run_all(tmp_path, mended, tasks(MAX_FAILURES_IN_A_ROW))
    assert len(mended.keys) == MAX_FAILURES_IN_A_ROW


def test_a_success_in_between_starts_the_count_anew(tmp_path):
    broken = Outcome("failed", failure="error", message="x")
    with Run(tmp_path, CONFIG, HEADER) as run:
        failures = FailuresInARow(run)
        for i in range(3 * MAX_FAILURES_IN_A_ROW):
            failures.count([(f"t{i}", Outcome("complete", 1.0) if i % 3 == 0 else broken)])
        assert run.records("void") == []


def test_failures_that_end_together_are_all_tried_again(tmp_path):
    broken = Outcome("failed", failure="error", message="x")
    keys = [f"t{i}" for i in range(MAX_FAILURES_IN_A_ROW + 2)]
    with Run(tmp_path, CONFIG, HEADER) as run:
        with pytest.raises(RunError):
            FailuresInARow(run).count((key, broken) for key in keys)
        assert run.records("void")[0]["keys"] == keys


def test_void_takes_back_only_what_came_before_it():
    records = [
        {"event": "trial", "number": 1, "score": 1},
        {"event": "task", "key": "a"},
        {"event": "void", "keys": ["trial/1", "a"]},
        {"event": "trial", "number": 1, "score": 2},
    ]
    assert [r["score"] for r in valid_records(records, "trial")] == [2]
    assert valid_records(records, "task") == []
