"""Kill the driver at any moment: nothing is lost or done twice, the result is the same."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from faults.sessions import Session, lines, note_figures, recorded, result_of
from processes import gone_within

N_EVALUATED = 3 * 5 + 9 + 3 * 2 + 2 * 7  # baselines (3 folds), trials, candidates, verdict
#: With the header, the begin of four rungs and the end of the search.
N_RECORDS = N_EVALUATED + 1 + 4 + 1

RUNGS = ("start", "baselines", "search", "confirm", "verdict")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    session = Session(folder / "run", folder)
    assert session.wait() == 0, lines(session.log)
    assert len(lines(folder / "run" / "ledger.jsonl")) == N_RECORDS
    return result_of(folder / "run")


class Record:
    """Watches a run over its sessions: what is in the ledger is never evaluated again."""

    def __init__(self, folder: Path) -> None:
        self.out, self.folder = folder / "run", folder
        self._known: list[str] = []
        self._n_evaluated = 0
        self.n_lost = 0

    def check(self) -> None:
        keys = recorded(self.out)
        assert len(set(keys)) == len(keys)
        self.n_lost += len(set(self._known) - set(keys))
        assert keys[: len(self._known)] == self._known
        evaluated = lines(self.folder / "evaluated")
        assert not set(evaluated[self._n_evaluated :]) & set(self._known)
        assert set(keys) <= set(evaluated)
        self._known, self._n_evaluated = keys, len(evaluated)

    def n_evaluated(self) -> int:
        return self._n_evaluated

    def rung(self) -> str:
        """Where the run stands."""
        rung = self._known[-1].partition("/")[0] if self._known else "start"
        return {"trial": "search"}.get(rung, rung)

    def n_wasted(self) -> int:
        """Evaluations whose outcome was lost: those in flight when the driver was killed."""
        return self._n_evaluated - len(self._known)


def test_killed_after_every_record_it_ends_as_if_undisturbed(tmp_path, undisturbed):
    record = Record(tmp_path)
    for n_sessions in range(1, N_RECORDS + 1):
        session = Session(record.out, tmp_path, fault_at=1)
        assert session.wait() == -signal.SIGKILL, lines(session.log)
        assert len(lines(record.out / "ledger.jsonl")) == n_sessions
        record.check()
    assert not (record.out / "policy.json").exists()
    session = Session(record.out, tmp_path)
    assert session.wait() == 0, lines(session.log)
    record.check()
    assert result_of(record.out) == undisturbed
    assert record.n_wasted() <= 2 * N_RECORDS
    figures = {"kills": N_RECORDS, "runs": 1, "outcomes_lost": record.n_lost}
    note_figures("killed after every record", figures)


def test_killed_at_random_moments_it_ends_as_if_undisturbed(tmp_path, undisturbed):
    """`POLICYSEARCH_KILLS=200` kills so often; `POLICYSEARCH_FAULTS=FILE` writes what it met."""
    n_kills, rng = int(os.environ.get("POLICYSEARCH_KILLS", 10)), random.Random(0)
    met = {"kills": 0, "runs": 0, "in": dict.fromkeys(RUNGS, 0)}
    met |= {"outcomes_lost": 0, "evaluations": 0, "evaluations_repeated": 0}
    while met["kills"] < n_kills:
        folder = tmp_path / str(met["runs"])
        folder.mkdir()
        record, code = Record(folder), None
        while code != 0:
            session = Session(record.out, folder, seconds=0.2)
            if met["kills"] < n_kills:
                time.sleep(rng.uniform(0.0, 1.2))
                session.kill()
            code = session.wait()
            assert code in {0, -signal.SIGKILL}, lines(session.log)
            record.check()
            if code:
                met["kills"] += 1
                met["in"][record.rung()] += 1
        assert result_of(record.out) == undisturbed
        met["runs"] += 1
        met["outcomes_lost"] += record.n_lost
        met["evaluations"] += record.n_evaluated()
        met["evaluations_repeated"] += record.n_wasted()
    note_figures("killed at random moments", met)


def test_a_finished_run_trains_nothing_when_resumed(tmp_path, undisturbed):
    out = tmp_path / "run"
    for _ in range(2):
        assert Session(out, tmp_path).wait() == 0
        n_evaluated, raw = len(lines(tmp_path / "evaluated")), (out / "ledger.jsonl").read_bytes()
    assert n_evaluated == N_EVALUATED
    assert raw.count(b"\n") == N_RECORDS
    assert result_of(out) == undisturbed


def started(session: Session, folder: Path, n: int) -> None:
    deadline = time.monotonic() + 60
    while len(lines(folder / "evaluated")) < n:
        assert time.monotonic() < deadline, lines(session.log)
        time.sleep(0.02)


def test_ctrl_c_once_finishes_what_runs_and_keeps_it(tmp_path, undisturbed):
    record = Record(tmp_path)
    for n in (3, 16, 38):  # in the search, the confirmation, the verdict
        session = Session(record.out, tmp_path, seconds=0.2)
        started(session, tmp_path, n)
        session.kill(signal.SIGINT)
        assert session.wait() == 0
        assert lines(session.log)[-1] == "interrupted"
        record.check()
        assert record.n_wasted() == 0
        assert n <= len(recorded(record.out)) <= n + 2
    assert Session(record.out, tmp_path).wait() == 0
    record.check()
    assert result_of(record.out) == undisturbed


def test_ctrl_c_twice_ends_at_once_and_leaves_nothing_running(tmp_path):
    out = tmp_path / "run"
    session = Session(out, tmp_path, seconds=60)
    started(session, tmp_path, 2)
    children = [
        int(p)
        for p in Path(f"/proc/{session.pid}/task/{session.pid}/children").read_text().split()
    ]
    assert len(children) == 2
    pressed = time.monotonic()
    session.kill(signal.SIGINT)
    time.sleep(0.7)
    assert not gone_within(0, session.pid)
    session.kill(signal.SIGINT)
    assert session.wait() == 0
    assert time.monotonic() - pressed < 20
    assert lines(session.log)[-1] == "interrupted"
    assert gone_within(5, *children)
    assert recorded(out) == []


def test_two_drivers_on_one_run_the_second_is_refused(tmp_path):
    out = tmp_path / "run"
    first = Session(out, tmp_path, seconds=60)
    try:
        started(first, tmp_path, 2)
        (tmp_path / "second").mkdir()
        second = Session(out, tmp_path / "second")
        assert second.wait() == 1
        assert f"owned by process {first.pid} on " in second.log.read_text()
        assert lines(tmp_path / "second" / "evaluated") == []
    finally:
        first.kill()
        first.wait()


def test_a_killed_driver_leaves_no_worker(tmp_path):
    session = Session(tmp_path / "run", tmp_path, seconds=60)
    started(session, tmp_path, 2)
    path = Path(f"/proc/{session.pid}/task/{session.pid}/children")
    groups = [int(pid) for pid in path.read_text().split()]
    assert len(groups) == 2
    session.kill()
    session.wait()
    assert gone_within(5, *groups)
    assert all(pid != os.getpid() for pid in groups)
