"""The engine in virtual time: the contract as far as it needs no process, and its clock."""

import dataclasses
from contextlib import closing

import pytest
from contracts.engine_contract import EngineContract, drain
from engines.objectives import SCORE, Actions, task
from faults.driver import silent
from faults.formula import Formula

from policysearch.baselines import baseline_policies
from policysearch.config import make_config
from policysearch.engines.base import MAX_ATTEMPTS
from policysearch.engines.local import LocalEngine
from policysearch.engines.simulated import SimulatedEngine
from policysearch.run import Run, StopRequest
from policysearch.search_loop import SearchLoop
from policysearch.space_yaml import load_space
from policysearch.trial import Outcome, Replicate

SPACE = load_space("image/opwise").restricted_to(1)


class TestSimulatedEngine(EngineContract):
    def make_engine(self, objective, n_workers, timeout_seconds):
        return SimulatedEngine(objective, n_workers, timeout_seconds)

    @pytest.fixture
    def engine(self, tmp_path):
        with closing(self.make_engine(Actions(tmp_path), 2, None)) as engine:
            yield engine

    # These are about processes and real time; there are none.
    test_tasks_run_side_by_side = None
    test_waiting_ends_without_a_task = None
    test_a_lost_worker_is_replaced_and_the_task_tried_again_before_it_fails = None
    test_a_retry_can_succeed = None
    test_stray_output_breaks_nothing_and_stays_off_the_terminal = None
    test_a_crash_is_told_with_the_last_words_of_the_worker = None
    test_a_hanging_task_is_killed_at_its_limit = None
    test_starting_does_not_count_as_time_of_the_task = None
    test_children_of_a_lost_task_are_killed_with_it = None
    test_closing_ends_running_tasks_and_forgotten_children = None
    test_two_engines_do_not_disturb_each_other = None


class Lasting:
    """Takes as long as its key says."""

    def evaluate(self, task):
        return Outcome("complete", SCORE, seconds=float(task.key.partition("/")[2]))


def lasting(seconds):
    return task(f"lasts/{seconds}")


def ends(engine, n):
    """Keys and virtual times of the next `n` ends."""
    found = []
    while len(found) < n:
        found += [(f.task.key, engine.now()) for f in engine.wait(1000.0)]
    return found


def test_tasks_run_side_by_side_in_virtual_time():
    engine = SimulatedEngine(Lasting(), 2)
    for seconds in (10, 20, 30):
        engine.submit(lasting(seconds))
    assert ends(engine, 3) == [("lasts/10", 10), ("lasts/20", 20), ("lasts/30", 40)]
    assert engine.utilisation() == 60 / 80


def test_tasks_that_end_together_are_told_together():
    engine = SimulatedEngine(Lasting(), 3)
    for _ in range(3):
        engine.submit(lasting(5))
    assert len(engine.wait(5.0)) == 3


def test_waiting_passes_virtual_time_and_no_more_than_it_was_given():
    engine = SimulatedEngine(Lasting(), 1)
    assert engine.wait(3.0) == []
    assert engine.now() == 3.0
    engine.submit(lasting(2))
    assert engine.wait(1.5) == []
    assert engine.now() == 4.5
    assert engine.utilisation() == 1.5 / 4.5
    assert ends(engine, 1) == [("lasts/2", 5.0)]


def test_the_time_of_a_driver_is_time_of_its_workers():
    """The driver takes 4 s for each task: a worker that needs 3 s stands idle for one."""
    seconds = [0.0]
    engine = SimulatedEngine(Lasting(), 1, driver_clock=lambda: seconds[0])
    for _ in range(5):
        seconds[0] += 4.0
        engine.submit(lasting(3))
        engine.wait(1000.0)
    assert engine.now() == 5 * (4 + 3)
    assert engine.utilisation() == 3 / 7
    assert SimulatedEngine(Lasting(), 1).utilisation() == 1


def test_what_ended_while_the_driver_was_busy_is_told_at_once():
    seconds = [0.0]
    engine = SimulatedEngine(Lasting(), 2, driver_clock=lambda: seconds[0])
    engine.submit(lasting(1))
    engine.submit(lasting(2))
    seconds[0] += 10.0
    assert len(engine.wait(0.5)) == 2
    assert engine.now() == 10.0
    assert engine.utilisation() == 3 / 20


def test_work_that_is_not_done_yet_does_not_count():
    seconds = [0.0]
    engine = SimulatedEngine(Lasting(), 2, driver_clock=lambda: seconds[0])
    engine.submit(lasting(1))
    engine.submit(lasting(100))
    seconds[0] += 50.0
    engine.submit(lasting(1))
    assert engine.utilisation() == (1 + 50) / 100


def test_a_task_too_long_is_tried_again_and_fails_at_its_limit(tmp_path):
    engine = SimulatedEngine(Lasting(), 1, timeout_seconds=5.0)
    engine.submit(lasting(1000))
    engine.submit(lasting(5))
    [first] = drain(engine, 1)
    assert (first.outcome.failure, first.outcome.attempts) == ("timeout", MAX_ATTEMPTS)
    assert engine.now() == MAX_ATTEMPTS * 5.0
    assert drain(engine, 1)[0].outcome.score == SCORE


def test_a_task_out_of_memory_is_tried_again(tmp_path):
    engine = SimulatedEngine(Actions(tmp_path), 1)
    engine.submit(task("memory_error/1"))
    [finished] = drain(engine, 1)
    assert (finished.outcome.failure, finished.outcome.attempts) == ("memory", MAX_ATTEMPTS)


def test_a_closed_engine_has_forgotten_its_tasks():
    engine = SimulatedEngine(Lasting(), 1)
    engine.submit(lasting(1))
    engine.submit(lasting(1))
    engine.close()
    assert engine.wait(10.0) == []


class Uneven(Formula):
    """The formula's score; a duration for every policy."""

    def evaluate(self, task):
        seconds = 20 + int(task.policy.digest(), 16) % 1000 / 10
        return dataclasses.replace(super().evaluate(task), seconds=seconds)


def search(folder, engine, n_trials, lookback, seconds=None, sampler="tpe"):
    folder.mkdir()
    settings = {"trials": n_trials, "lookback": lookback, "sampler": sampler}
    config = make_config({"data": "digits", **settings})
    warm = baseline_policies(SPACE, 8)
    with (
        closing(engine),
        Run(folder, config, {}) as run,
        StopRequest(silent) as stop,
    ):
        clock = getattr(engine, "now", lambda: 0.0)
        loop = SearchLoop(run, SPACE, warm, (Replicate(0, 1),), 1, n_trials, clock)
        trials = loop.run(engine, stop, silent, seconds)
        return trials, run.ledger.records


def facts(trials):
    return [(t.number, t.suggestion, t.outcome.score) for t in trials]


def test_a_simulated_search_has_the_trials_of_a_real_one(tmp_path):
    real, _ = search(tmp_path / "real", LocalEngine(Formula(tmp_path), 2), 20, 6)
    for n_workers in (1, 6, 50):
        engine = SimulatedEngine(Uneven(tmp_path), n_workers)
        simulated, _ = search(tmp_path / str(n_workers), engine, 20, 6)
        assert facts(simulated) == facts(real)


def test_many_workers_are_kept_busy(tmp_path):
    """97 % until the last trial is handed out; the window of twice the workers costs the rest."""
    engine = SimulatedEngine(Uneven(tmp_path), 40)
    shares = []
    submit = engine.submit
    engine.submit = lambda t: (shares.append(engine.utilisation()), submit(t))
    trials, records = search(tmp_path / "run", engine, 400, 80, sampler="random")
    assert [t.number for t in trials] == list(range(400))
    assert len({r["number"] for r in records if r.get("event") == "trial"}) == 400
    assert shares[-1] > 0.95


def test_a_budget_holds_in_virtual_time(tmp_path):
    engine = SimulatedEngine(Uneven(tmp_path), 10)
    trials, records = search(tmp_path / "run", engine, 10_000, 20, seconds=3600, sampler="random")
    assert 3600 <= engine.now() <= 3600 + 120 + 1
    assert len(trials) == pytest.approx(10 * 3600 / 70, rel=0.1)
    assert records[-1]["reason"] == "budget"
    assert max(r.get("rung_seconds", 0) for r in records) == pytest.approx(engine.now(), abs=1)
