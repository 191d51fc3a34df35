"""The engine on Ray: the contract, lost nodes and workers, requests that cannot be met."""

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from cluster.conftest import TESTS, cluster_of
from contracts.engine_contract import EngineContract, drain, noted
from engines.objectives import SCORE, Actions, Unloadable
from engines.objectives import task as task_of
from faults.driver import SETTINGS, silent, with_formula
from faults.formula import Uneven
from faults.sessions import note_figures, recorded, result_of, without_timings
from processes import gone_within

from policysearch import study
from policysearch.baselines import baseline_policies
from policysearch.config import make_config
from policysearch.engines.guardian import descendants
from policysearch.engines.local import LocalEngine
from policysearch.engines.ray_engine import RayEngine, RaySettings
from policysearch.errors import InvalidValueError, RunError
from policysearch.ops.company import COMPANY_OPS
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.problems.dataset import DatasetProblem
from policysearch.run import Run, StopRequest
from policysearch.search_loop import SearchLoop
from policysearch.space_yaml import load_space
from policysearch.trial import Replicate, Task

#: Idle trials keep what they asked for: it must leave room for other engines on the cluster.
CPUS = 0.25


class Forwarded:
    """Does what the objective does that a test has put in its place."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def evaluate(self, task):
        return pickle.loads(self.path.read_bytes()).evaluate(task)


class Shared:
    """An engine that outlives the test which asked for it: Ray takes seconds to start."""

    def __init__(self, engine, path, objective) -> None:
        path.write_bytes(pickle.dumps(objective))
        self._engine = engine
        self.n_slots, self.submit, self.wait = engine.n_slots, engine.submit, engine.wait

    def close(self) -> None:
        assert self._engine.wait(0.0) == []


@pytest.fixture(scope="module")
def shared(cluster, tmp_path_factory):
    """Engines on one cluster, by workers and limit, made when they are asked for."""
    engines = {}

    def engine_for(objective, n_workers, timeout_seconds):
        key = n_workers, timeout_seconds
        if key not in engines:
            path = tmp_path_factory.mktemp("shared") / "objective"
            settings = RaySettings(n_workers, 1, timeout_seconds, cluster.address, CPUS)
            engines[key] = RayEngine(Forwarded(path), settings), path
        return Shared(*engines[key], objective)

    yield engine_for
    for engine, _ in engines.values():
        engine.close()


class TestRayEngine(EngineContract):
    END_SECONDS = 60  # on a cluster of others Ray ends the trials, when it gets round to it

    @pytest.fixture(autouse=True)
    def _shared(self, shared, cluster, request):
        self.shared, self.address = shared, cluster.address
        self.is_closed_by_test = "clos" in request.node.name or "two_eng" in request.node.name

    def make_engine(self, objective, n_workers, timeout_seconds):
        if not self.is_closed_by_test:
            return self.shared(objective, n_workers, timeout_seconds)
        settings = RaySettings(n_workers, 1, timeout_seconds, self.address, CPUS)
        return RayEngine(objective, settings)

    @pytest.fixture
    def engine(self, tmp_path):
        with closing(self.make_engine(Actions(tmp_path), 2, None)) as engine:
            yield engine


def test_a_lost_node_costs_its_trials_one_attempt(tmp_path):
    """Four trials at a time on two nodes; one node is killed under its trials, another comes.

    A cluster of its own: the trials take all of it, and idle ones of others would keep a part.
    """
    with (
        cluster_of(1) as cluster,
        RayEngine(Actions(tmp_path), RaySettings(4, address=cluster.address)) as engine,
    ):
        keys = [f"waits/{i}" for i in range(4)] + [f"good/{i}" for i in range(6)]
        for key in keys[:4]:
            engine.submit(task_of(key))
        evaluated(engine, tmp_path, 4)
        cluster.order("remove")
        cluster.order("add")
        evaluated(engine, tmp_path, 6)
        (tmp_path / "go").touch()
        for key in keys[4:]:
            engine.submit(task_of(key))
        finished = drain(engine, len(keys))
        pids = [note[1] for note in noted(tmp_path, "evaluated")]
    assert gone_within(5, *pids)
    assert sorted(f.task.key for f in finished) == sorted(keys)
    assert {f.outcome.score for f in finished} == {SCORE}
    assert sorted(f.outcome.attempts for f in finished) == [1] * 8 + [2] * 2
    assert len(noted(tmp_path, "evaluated")) == len(keys) + 2


def evaluated(engine, folder, n):
    """Waits until `n` evaluations have begun."""
    deadline = time.monotonic() + 120
    while len(noted(folder, "evaluated")) < n:
        assert time.monotonic() < deadline
        assert engine.wait(0.1) == []


def test_a_killed_watcher_takes_its_worker_along_and_the_task_is_run_again(cluster, tmp_path):
    settings = RaySettings(1, address=cluster.address, cpus_per_trial=CPUS)
    with RayEngine(Actions(tmp_path), settings) as engine:
        engine.submit(task_of("slow/2"))
        while not noted(tmp_path, "evaluated"):
            engine.wait(0.05)
        _, worker, guardian, _ = noted(tmp_path, "evaluated")[0]
        watcher = int(Path(f"/proc/{guardian}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(watcher, signal.SIGKILL)
        [finished] = drain(engine, 1)
        assert gone_within(5, worker, guardian)
        assert not list(Path(engine._folder).rglob("checkpoint_*"))  # which nodes would share
    assert (finished.outcome.score, finished.outcome.attempts) == (SCORE, 2)


def test_a_request_that_no_node_can_meet_is_refused_before_the_start(cluster, tmp_path):
    rule = "A trial asks for 3 CPU, which no node of the Ray cluster has. Its nodes: 2 CPU, 0 GPU"
    settings = RaySettings(1, address=cluster.address, cpus_per_trial=3)
    with pytest.raises(InvalidValueError, match=rule):
        RayEngine(Actions(tmp_path), settings)
    with pytest.raises(InvalidValueError, match="`cpus_per_trial` of 999 can never be met"):
        RayEngine(Actions(tmp_path), RaySettings(1, cpus_per_trial=999))
    with pytest.raises(InvalidValueError, match="asks for 1 CPU and 1 GPU"):
        RayEngine(Actions(tmp_path), RaySettings(1, address=cluster.address, gpus_per_trial=1))


def test_an_objective_that_workers_cannot_load_ends_the_run_with_the_reason(cluster):
    settings = RaySettings(1, address=cluster.address, cpus_per_trial=CPUS)
    with RayEngine(Unloadable(), settings) as engine:
        engine.submit(task_of("good/1"))
        with pytest.raises(RunError, match="this machine has no such library"):
            drain(engine, 1)


def test_an_objective_that_cannot_be_pickled_is_refused_at_once(tmp_path):
    objective = Actions(tmp_path)
    objective.function = lambda: None
    with pytest.raises(InvalidValueError, match="must be picklable"):
        RayEngine(objective, RaySettings(1))


def test_addresses_that_cannot_work_are_refused(tmp_path):
    with pytest.raises(InvalidValueError, match="HOST:PORT or auto"):
        RayEngine(Actions(tmp_path), RaySettings(1, address="ray://head:10001"))
    with pytest.raises(InvalidValueError, match=r"No Ray cluster answers at '127\.0\.0\.1:1'"):
        RayEngine(Actions(tmp_path), RaySettings(1, address="127.0.0.1:1"))


SPACE = load_space("image/opwise").restricted_to(1)
N_TRIALS = 24


def searched(folder, runner, **settings):
    folder.mkdir()
    settings = {"trials": N_TRIALS, "lookback": 8, "workers": 4, **settings}
    config = make_config({"data": "digits", **settings})
    replicates = tuple(Replicate(fold, 1) for fold in range(3))
    with closing(runner) as engine, Run(folder, config, {}) as run, StopRequest(silent) as stop:
        warm = baseline_policies(SPACE, 8)
        return SearchLoop(run, SPACE, warm, replicates, 1, N_TRIALS).run(
            engine, stop, silent, None
        )


def facts(trials):
    return [(t.number, t.suggestion, t.outcome.state, t.outcome.score) for t in trials]


def test_a_search_on_ray_has_the_trials_of_a_local_one(cluster, tmp_path):
    local = [
        searched(tmp_path / f"local {n}", LocalEngine(Uneven(tmp_path), n)) for n in (1, 2, 4)
    ]
    settings = RaySettings(4, address=cluster.address, cpus_per_trial=CPUS)
    ray = searched(tmp_path / "ray", RayEngine(Uneven(tmp_path), settings))
    assert [facts(trials) for trials in local] == [facts(ray)] * 3


def test_asha_stops_trials_between_replicates_and_never_the_references(cluster, tmp_path):
    settings = RaySettings(2, address=cluster.address, cpus_per_trial=CPUS, pruner="asha")
    engine = RayEngine(Uneven(tmp_path), settings)
    trials = searched(tmp_path / "run", engine, pruner="asha", engine="ray")
    assert [t.number for t in trials] == list(range(N_TRIALS))
    lengths = {t.number: len(t.outcome.metrics) for t in trials}
    is_reference = {t.number: t.suggestion.origin.startswith("warm:") for t in trials}
    pruned = {t.number for t in trials if t.outcome.state == "pruned"}
    assert 3 <= len(pruned) < N_TRIALS - 3
    assert not any(is_reference[n] for n in pruned)
    assert {lengths[n] for n in pruned} <= {1, 2}
    assert {lengths[n] for n in set(lengths) - pruned} == {3}
    for t in trials:
        assert t.outcome.score == pytest.approx(t.running_means()[-1])


@pytest.fixture
def driver(tmp_path):
    """Starts sessions of a study, on a private cluster or a named one."""
    processes = []

    def start(seconds, address=""):
        out = tmp_path / "run"
        process = subprocess.Popen(
            [sys.executable, "-m", "cluster.driver", out, tmp_path, str(seconds), address],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The same study in local processes, undisturbed."""
    folder = tmp_path_factory.mktemp("local")
    study.search(make_config(SETTINGS), folder / "run", silent, with_formula(folder))
    return result_of(folder / "run")


def recorded_by(process, out, n):
    """Waits until a session has recorded `n` outcomes."""
    deadline = time.monotonic() + 120
    while len(recorded(out)) < n:
        assert time.monotonic() < deadline, process.communicate()[0]
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def assert_same_end(out, local, n_known):
    keys = recorded(out)
    assert len(keys) == len(set(keys)) > n_known
    found = result_of(out)
    assert found["outcomes"] == local["outcomes"]
    assert without_timings(found["policy"]) == without_timings(local["policy"])
    assert found["verdict"] == local["verdict"]


def test_a_killed_search_leaves_no_process_and_goes_on_to_the_same_end(
    driver, cluster, local, tmp_path
):
    """On a private cluster, while another one runs on the machine: that one is not touched."""
    first, out = driver(0.3), tmp_path / "run"
    recorded_by(first, out, 4)
    pids = descendants(first.pid)
    names = {name_of(pid) for pid in pids}
    assert {"raylet", "gcs_server"} <= names
    first.kill()
    first.wait()
    assert gone_within(10, *pids)
    n_known = len(recorded(out))
    second = driver(0.0)
    output, _ = second.communicate(timeout=120)
    assert (second.returncode, output) == (0, "")
    assert_same_end(out, local, n_known)


def test_a_search_that_loses_a_node_and_its_driver_goes_on_to_the_same_end(
    driver, local, tmp_path
):
    """On a named cluster of two nodes, of which the one that is left sees the end."""
    out = tmp_path / "run"
    with cluster_of(1) as cluster:
        first = driver(0.5, cluster.address)
        recorded_by(first, out, 4)
        cluster.order("remove")
        recorded_by(first, out, len(recorded(out)) + 6)
        pids = descendants(first.pid)
        first.kill()
        first.wait()
        killed, n_known = time.monotonic(), len(recorded(out))
        assert gone_within(10, *pids)
        second = driver(0.0, cluster.address)
        recorded_by(second, out, n_known + 1)
        note_figures("resume on a named cluster", {"seconds": round(time.monotonic() - killed, 1)})
        output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    # What it says depends on what Ray has noticed of the losses by then.
    assert all(line.startswith("The Ray cluster ") for line in output.splitlines()), output
    assert_same_end(out, local, n_known)


def name_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")[0]


def test_ops_on_whole_batches_score_on_ray_as_they_do_here(cluster):
    config = make_config({"data": "digits", "train_size": 60, "folds": 2, "epochs": 1})
    problem = DatasetProblem(config, silent)
    objective = problem.objective("confirm", Path())
    tasks = []
    for spec in COMPANY_OPS["image"]:
        before = Stage((OpCall("rotate", 0, 20),))
        stage = Stage((OpCall(spec.name, spec.low, spec.high),))
        policy = Policy((SubPolicy((before, stage)),))
        tasks.append(Task(f"confirm/{spec.name}/0", policy, (Replicate(0, 1),), 1))
    settings = RaySettings(2, address=cluster.address, cpus_per_trial=CPUS)
    scores = []
    for make in (lambda: LocalEngine(objective, 2), lambda: RayEngine(objective, settings)):
        with make() as engine:
            for task in tasks:
                engine.submit(task)
            ended = drain(engine, len(tasks))
        assert {finished.outcome.state for finished in ended} == {"complete"}
        scores.append({finished.task.key: finished.outcome.score for finished in ended})
    assert scores[0] == scores[1]
    assert len(set(scores[0].values())) == len(tasks)
