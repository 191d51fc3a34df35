"""The engine of local worker processes: the contract, and what is its own."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest
from contracts.engine_contract import EngineContract, drain, noted
from engines.objectives import SCORE, Actions, DiesAtStart, Unloadable, task
from processes import gone_within, group_of, is_alive

from policysearch.engines.base import MAX_ATTEMPTS
from policysearch.engines.local import LocalEngine
from policysearch.errors import InvalidValueError, RunError

TESTS = Path(__file__).parents[1]


class TestLocalEngine(EngineContract):
    def make_engine(self, objective, n_workers, timeout_seconds):
        return LocalEngine(objective, n_workers, 1, timeout_seconds)


def test_workers_start_when_there_is_work_for_them(tmp_path):
    before = children_of(os.getpid())  # of other tests, such as a tracker of shared memory
    with LocalEngine(Actions(tmp_path), 3) as engine:
        assert children_of(os.getpid()) == before
        engine.submit(task("good/1"))
        drain(engine, 1)
        assert len(children_of(os.getpid())) == len(before) + 1
    assert children_of(os.getpid()) == before


def test_an_objective_that_cannot_be_pickled_is_refused_at_once(tmp_path):
    objective = Actions(tmp_path)
    objective.function = lambda: None
    with pytest.raises(InvalidValueError, match="must be picklable"):
        LocalEngine(objective, 1)


def test_an_objective_that_workers_cannot_load_ends_the_run_with_the_reason():
    with LocalEngine(Unloadable(), 2) as engine:
        engine.submit(task("good/1"))
        with pytest.raises(RunError, match="this machine has no such library") as caught:
            drain(engine, 1)
    assert "exit code 1 at its start, 3 times in a row" in str(caught.value)


def test_a_worker_killed_at_its_start_costs_the_task_nothing(tmp_path):
    with LocalEngine(DiesAtStart(tmp_path, 2), 1) as engine:
        engine.submit(task("good/1"))
        [finished] = drain(engine, 1)
    assert (finished.outcome.score, finished.outcome.attempts) == (SCORE, 1)


def test_a_worker_killed_while_idle_costs_the_next_task_nothing(tmp_path):
    with LocalEngine(Actions(tmp_path), 1) as engine:
        engine.submit(task("good/1"))
        drain(engine, 1)
        _, worker, guardian, _ = noted(tmp_path, "evaluated")[0]
        os.kill(worker, signal.SIGKILL)
        assert gone_within(5, worker, guardian)
        engine.submit(task("good/2"))
        [finished] = drain(engine, 1)
    assert (finished.outcome.score, finished.outcome.attempts) == (SCORE, 1)


@pytest.mark.parametrize("who", ["worker", "guardian"])
def test_a_worker_killed_in_its_task_is_replaced(tmp_path, who):
    with LocalEngine(Actions(tmp_path), 1) as engine:
        engine.submit(task("slow/1.5"))
        while not noted(tmp_path, "evaluated"):
            engine.wait(0.05)
        _, worker, guardian, _ = noted(tmp_path, "evaluated")[0]
        os.kill(worker if who == "worker" else guardian, signal.SIGKILL)
        [finished] = drain(engine, 1)
        assert gone_within(5, worker, guardian)
    assert (finished.outcome.score, finished.outcome.attempts) == (SCORE, 2)


def test_a_file_in_the_current_directory_does_not_hide_a_library(tmp_path, monkeypatch):
    for name in ("random", "signal", "json", "token"):
        (tmp_path / f"{name}.py").write_text("raise SystemError('not the library')")
    monkeypatch.chdir(tmp_path)
    with LocalEngine(Actions(tmp_path), 1) as engine:
        engine.submit(task("good/1"))
        assert drain(engine, 1)[0].outcome.score == SCORE


def test_ctrl_c_in_the_terminal_does_not_reach_the_workers(tmp_path):
    with LocalEngine(Actions(tmp_path), 1) as engine:
        engine.submit(task("slow/1"))
        while not noted(tmp_path, "evaluated"):
            engine.wait(0.05)
        _, worker, group, _ = noted(tmp_path, "evaluated")[0]
        assert group != os.getpgid(0)
        os.kill(worker, signal.SIGINT)
        [finished] = drain(engine, 1)
    assert (finished.outcome.score, finished.outcome.attempts) == (SCORE, 1)


@pytest.mark.parametrize(
    ("key", "failure"), [("escapes_and_dies/1", "crash"), ("escapes_and_hangs/1", "timeout")]
)
def test_a_process_that_left_its_group_is_killed_with_its_task(tmp_path, key, failure):
    with LocalEngine(Actions(tmp_path), 1, timeout_seconds=0.5) as engine:
        engine.submit(task(key))
        [finished] = drain(engine, 1)
        assert finished.outcome.failure == failure
        children = [note[0] for note in noted(tmp_path, "children")]
        assert len(children) == MAX_ATTEMPTS
        assert gone_within(5, *children)
        engine.submit(task("good/after"))
        assert drain(engine, 1)[0].outcome.score == SCORE


def test_closing_ends_processes_that_left_their_group(tmp_path):
    with LocalEngine(Actions(tmp_path), 1) as engine:
        engine.submit(task("escapes_and_returns/1"))
        assert drain(engine, 1)[0].outcome.score == SCORE
        [child] = [note[0] for note in noted(tmp_path, "children")]
        assert is_alive(child)
    assert gone_within(5, child)


def test_a_stopped_guardian_is_killed_too(tmp_path):
    with LocalEngine(Actions(tmp_path), 1) as engine:
        engine.submit(task("good/1"))
        drain(engine, 1)
        _, worker, guardian, _ = noted(tmp_path, "evaluated")[0]
        os.kill(guardian, signal.SIGSTOP)
    assert gone_within(5, worker, guardian)


def test_what_a_task_left_behind_and_has_ended_does_not_stay_as_a_zombie(tmp_path):
    with LocalEngine(Actions(tmp_path), 1) as engine:
        engine.submit(task("escapes_and_returns/1"))
        drain(engine, 1)
        [child] = [note[0] for note in noted(tmp_path, "children")]
        os.kill(child, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{child}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)


DRIVER = """
    import sys
    from pathlib import Path
    from engines.objectives import Actions, task
    from policysearch.engines.local import LocalEngine
    engine = LocalEngine(Actions(Path(sys.argv[1])), 3)
    for key in sys.argv[2:]:
        engine.submit(task(key))
    while True:
        engine.wait(1)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda n: n.name)
def test_nothing_is_left_when_the_driver_is_killed(tmp_path, number):
    """Not even by workers that sit in C code or are stopped, nor of what they started."""
    keys = ["forks_and_hangs/1", "escapes_and_hangs/1", "stops/1"]
    driver = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER), tmp_path, *keys],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
    )
    groups = set()
    try:
        deadline = time.monotonic() + 60
        while len(noted(tmp_path, "evaluated")) < 3 or len(noted(tmp_path, "children")) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        groups = {note[2] for note in noted(tmp_path, "evaluated")}
        pids = [pid for group in groups for pid in group_of(group)]
        assert len(pids) == 8  # three guardians, three workers, two children
        pids = {*pids, *(note[0] for note in noted(tmp_path, "children"))}
        assert len(pids) == 9  # and one in a group of its own
        driver.send_signal(number)
        driver.wait(30)
        assert gone_within(5, *pids)  # 0.5 s on a free machine
    finally:
        driver.kill()
        driver.wait()
        for group in groups:
            if group_of(group):
                os.killpg(group, signal.SIGKILL)


def test_threads_of_a_worker_are_limited(tmp_path):
    with closing(LocalEngine(Actions(tmp_path), 1, n_threads=3)) as engine:
        engine.submit(task("slow/5"))
        while not noted(tmp_path, "evaluated"):
            engine.wait(0.05)
        environment = Path(f"/proc/{noted(tmp_path, 'evaluated')[0][1]}/environ").read_bytes()
    assert b"OMP_NUM_THREADS=3" in environment


def children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_alive(int(entry.name)):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found
