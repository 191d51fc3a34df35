"""What every engine must keep: a task ends exactly once, whatever happens to its process.

Inherit, name the class `Test...` and give it a method `make_engine`.
"""

import json
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from engines.objectives import SCORE, Actions, task
from processes import gone_within, group_of, is_alive

from policysearch.engines.base import MAX_ATTEMPTS, Engine, Finished
from policysearch.trial import Outcome

PATIENCE_SECONDS = 90
LIMIT_SECONDS = 0.5


def drain(engine: Engine, n: int) -> list[Finished]:
    """Waits for `n` tasks; never for ever."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    finished: list[Finished] = []
    while len(finished) < n and time.monotonic() < deadline:
        finished += engine.wait(0.5)
    assert len(finished) == n
    return finished


def noted(folder: Path, kind: str) -> list[list]:
    path = folder / kind
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def n_evaluations(folder: Path, key: str) -> int:
    return Counter(note[0] for note in noted(folder, "evaluated"))[key]


class EngineContract:
    #: Within this time a closed engine has no process any more.
    END_SECONDS = 5

    def make_engine(self, objective, n_workers: int, timeout_seconds: float | None) -> Engine:
        raise NotImplementedError

    @pytest.fixture
    def engine(self, tmp_path):
        """Two workers without a time limit; nothing of them is left after the test."""
        with closing(self.make_engine(Actions(tmp_path), 2, None)) as engine:
            yield engine
        groups = {note[2] for note in noted(tmp_path, "evaluated")}
        assert gone_within(5, *(pid for group in groups for pid in group_of(group)))

    @pytest.fixture
    def hasty(self, tmp_path):
        """One worker with a time limit."""
        with closing(self.make_engine(Actions(tmp_path), 1, LIMIT_SECONDS)) as engine:
            yield engine

    def one(self, engine: Engine, key: str) -> Outcome:
        engine.submit(task(key))
        [finished] = drain(engine, 1)
        assert finished.task == task(key)
        return finished.outcome

    def test_every_task_ends_once_and_keeps_its_outcome(self, engine, tmp_path):
        keys = [f"slow/{0.01 * (i % 3)}/{i}" for i in range(12)]
        for key in keys:
            engine.submit(task(key))
        finished = drain(engine, len(keys))
        assert sorted(f.task.key for f in finished) == sorted(keys)
        expected = Outcome("complete", SCORE, ({"score": SCORE, "accuracy": 0.25},), 1.5)
        assert all(f.outcome == expected for f in finished)
        assert engine.wait(0.1) == []
        assert all(n_evaluations(tmp_path, key) == 1 for key in keys)

    def test_tasks_run_side_by_side(self, engine):
        drain_first = [task("good/0"), task("good/1")]
        for t in drain_first:
            engine.submit(t)
        drain(engine, 2)
        started = time.monotonic()
        for i in range(2):
            engine.submit(task(f"slow/2/{i}"))
        drain(engine, 2)
        assert engine.n_slots == 2
        assert time.monotonic() - started < 3.9  # one after the other: 4

    def test_waiting_ends_without_a_task(self, engine):
        started = time.monotonic()
        assert engine.wait(0.2) == []
        assert 0.15 < time.monotonic() - started < 5

    @pytest.mark.parametrize("key", ["raises/1", "exits_by_sys/1", "raises_allocation/1"])
    def test_an_exception_fails_the_task_with_its_traceback_and_no_retry(
        self, engine, tmp_path, key
    ):
        outcome = self.one(engine, key)
        assert (outcome.state, outcome.failure, outcome.attempts) == ("failed", "error", 1)
        assert "Traceback" in outcome.message
        assert "objectives.py" in outcome.message
        assert n_evaluations(tmp_path, key) == 1
        assert self.one(engine, "good/after").score == SCORE

    def test_the_exception_itself_is_in_the_message(self, engine):
        assert self.one(engine, "raises/1").message.rstrip().endswith("LookupError: no such thing")

    @pytest.mark.parametrize(
        ("key", "kind", "word"),
        [
            ("exits/1", "crash", "exit code 7"),
            ("segfaults/1", "crash", "SIGSEGV"),
            ("kills_itself/1", "memory", "SIGKILL"),
            ("memory_error/1", "memory", "MemoryError"),
            ("torch_like_memory/1", "memory", "can't allocate memory"),
            ("allocates/1", "memory", "MemoryError"),
        ],
    )
    def test_a_lost_worker_is_replaced_and_the_task_tried_again_before_it_fails(
        self, engine, tmp_path, key, kind, word
    ):
        outcome = self.one(engine, key)
        assert (outcome.state, outcome.failure) == ("failed", kind)
        assert outcome.attempts == MAX_ATTEMPTS == n_evaluations(tmp_path, key)
        assert word in outcome.message
        assert self.one(engine, "good/after").score == SCORE

    def test_a_retry_can_succeed(self, engine):
        outcome = self.one(engine, "once_dies/1")
        assert (outcome.score, outcome.attempts) == (SCORE, 2)

    @pytest.mark.parametrize("key", ["nan/1", "inf/1", "nan_metric/1"])
    def test_a_number_that_is_not_finite_fails_the_task(self, engine, tmp_path, key):
        outcome = self.one(engine, key)
        assert (outcome.state, outcome.failure) == ("failed", "not_finite")
        assert "finite" in outcome.message
        assert outcome.score is None
        assert n_evaluations(tmp_path, key) == 1

    @pytest.mark.parametrize(
        "key", ["returns_none/1", "returns_str/1", "returns_str_score/1", "returns_unpicklable/1"]
    )
    def test_a_wrong_return_value_fails_the_task_and_nothing_else(self, engine, tmp_path, key):
        outcome = self.one(engine, key)
        assert (outcome.state, outcome.failure) == ("failed", "error")
        assert "TypeError" in outcome.message
        assert n_evaluations(tmp_path, key) == 1

    def test_numbers_of_numpy_become_plain_ones(self, engine):
        outcome = self.one(engine, "returns_numpy/1")
        assert type(outcome.score) is float
        assert outcome.metrics == ({"score": 0.5, "n": 3.0},)
        json.dumps(outcome.to_dict())

    def test_stray_output_breaks_nothing_and_stays_off_the_terminal(self, engine, capfd):
        assert self.one(engine, "prints/1").score == SCORE
        assert capfd.readouterr() == ("", "")

    def test_a_crash_is_told_with_the_last_words_of_the_worker(self, engine):
        outcome = self.one(engine, "prints_then_dies/1")
        assert outcome.message.endswith("the last words")
        assert len(outcome.message) < 10_000
        outcome = self.one(engine, "exits/1")
        assert outcome.message.endswith("about to leave")
        assert "the last words" not in outcome.message

    def test_an_endless_message_keeps_its_end(self, engine):
        outcome = self.one(engine, "says_much/1")
        assert len(outcome.message) <= 10_000
        assert outcome.message.rstrip().endswith("xend")

    @pytest.mark.parametrize(
        "key", ["sleeps/1", "ignores_sigterm/1", "loops_in_c/1", "burns_in_c/1", "stops/1"]
    )
    def test_a_hanging_task_is_killed_at_its_limit(self, hasty, tmp_path, key):
        assert self.one(hasty, "good/first").score == SCORE
        started = time.monotonic()
        outcome = self.one(hasty, key)
        seconds = time.monotonic() - started
        assert (outcome.state, outcome.failure) == ("failed", "timeout")
        assert outcome.attempts == MAX_ATTEMPTS == n_evaluations(tmp_path, key)
        assert "0.5 s" in outcome.message
        assert MAX_ATTEMPTS * LIMIT_SECONDS <= seconds < PATIENCE_SECONDS / 3
        assert gone_within(5, *(note[1] for note in noted(tmp_path, "evaluated")))
        assert self.one(hasty, "good/after").score == SCORE

    def test_starting_does_not_count_as_time_of_the_task(self, tmp_path):
        """Starting an interpreter takes longer than this limit."""
        with closing(self.make_engine(Actions(tmp_path), 1, 0.05)) as engine:
            assert self.one(engine, "good/1").attempts == 1

    @pytest.mark.parametrize("key", ["forks_and_dies/1", "forks_and_hangs/1"])
    def test_children_of_a_lost_task_are_killed_with_it(self, hasty, tmp_path, key):
        outcome = self.one(hasty, key)
        assert outcome.failure == {"d": "crash", "h": "timeout"}[key[10]]
        children = [note[0] for note in noted(tmp_path, "children")]
        assert len(children) == 2 * MAX_ATTEMPTS
        assert gone_within(5, *children)

    def test_closing_ends_running_tasks_and_forgotten_children(self, tmp_path):
        engine = self.make_engine(Actions(tmp_path), 2, None)
        with closing(engine):
            assert self.one(engine, "forks_and_returns/1").score == SCORE
            engine.submit(task("sleeps/1"))
            engine.submit(task("loops_in_c/1"))
            engine.wait(1.0)
            pids = [note[1] for note in noted(tmp_path, "evaluated")]
            pids += [note[0] for note in noted(tmp_path, "children")]
            assert any(is_alive(pid) for pid in pids)
        assert gone_within(self.END_SECONDS, *pids)
        engine.close()

    def test_two_engines_do_not_disturb_each_other(self, tmp_path):
        folders = [tmp_path / "a", tmp_path / "b"]
        for folder in folders:
            folder.mkdir()
        with (
            closing(self.make_engine(Actions(folders[0]), 1, None)) as first,
            closing(self.make_engine(Actions(folders[1]), 1, None)) as second,
        ):
            first.submit(task("exits/1"))
            second.submit(task("good/2"))
            assert drain(second, 1)[0].task.key == "good/2"
            assert drain(first, 1)[0].outcome.failure == "crash"
            first.close()
            assert self.one(second, "good/3").score == SCORE
        assert [note[0] for note in noted(folders[1], "evaluated")] == ["good/2", "good/3"]
