"""Trainings in segments: those of one go, with checkpoints and without them."""

import dataclasses
import io
import pickle

import pytest
import torch
from contracts.objective_contract import (
    CONFIG,
    MILD,
    REPLICATES,
    ObjectiveContract,
    search_data,
    task,
    told,
)
from own_networks import small

from policysearch.objectives.checkpoints import FOLDER, Checkpoints, remove_checkpoints
from policysearch.objectives.from_scratch import FromScratch
from policysearch.objectives.in_segments import InSegments
from policysearch.policy import Schedule
from policysearch.proxies.own_network import OwnNetworkConfig

RAMP = dataclasses.replace(MILD, schedule=Schedule(((0, 0.2), (0.25, 0.4), (0.5, 1), (1, 0.1))))
SEGMENTS = (0.25, 0.5, 1.0)


class TestInSegments(ObjectiveContract):
    @classmethod
    def make(cls, data):
        return InSegments(data, CONFIG)


def until(n, **more):
    """A task of the first `n` segments, whose policy holds what it has reached."""
    segments = SEGMENTS[:n]
    policy = dataclasses.replace(RAMP, schedule=RAMP.schedule.until(segments[-1]))
    return task(policy, f"trial/{n}", n_epochs=10, segments=segments, **more)


@pytest.fixture(scope="module")
def in_one_go():
    whole = task(RAMP, n_epochs=10)
    return told(FromScratch(search_data(), CONFIG).evaluate(whole))


@pytest.fixture(scope="module")
def afresh():
    """Outcomes of one, two and three segments, each without a checkpoint."""
    return [told(InSegments(search_data(), CONFIG).evaluate(until(n))) for n in (1, 2, 3)]


def test_a_training_in_segments_is_that_of_one_go(in_one_go, afresh):
    assert afresh[2] == in_one_go
    assert len({score for _, score, _ in afresh}) == 3


def test_checkpoints_change_nothing_in_files_or_in_memory(tmp_path, afresh):
    kept = InSegments(search_data(), CONFIG).keeping_in(tmp_path)
    own = InSegments(search_data(), CONFIG)
    for n in (1, 2, 3):
        worker = pickle.loads(pickle.dumps(kept))
        assert told(worker.evaluate(until(n))) == afresh[n - 1]
        assert told(own.evaluate(until(n))) == afresh[n - 1]
    assert len(list((tmp_path / FOLDER).iterdir())) == len(REPLICATES)  # older ones are gone
    assert told(kept.evaluate(until(2))) == afresh[1]  # nothing is left to train
    remove_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert told(kept.evaluate(until(3))) == afresh[2]


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-1], lambda raw: raw[:0], lambda raw: raw + b"x"]
)
def test_a_damaged_checkpoint_is_made_again(tmp_path, afresh, damage):
    objective = InSegments(search_data(), CONFIG).keeping_in(tmp_path)
    objective.evaluate(until(1))
    for path in (tmp_path / FOLDER).iterdir():
        path.write_bytes(damage(path.read_bytes()))
    assert told(objective.evaluate(until(2))) == afresh[1]


def test_a_checkpoint_is_what_a_training_goes_on_from(tmp_path, afresh):
    """Those of the two replicates are exchanged: nothing else would notice."""
    objective = InSegments(search_data(), CONFIG).keeping_in(tmp_path)
    objective.evaluate(until(1))
    first, second = (tmp_path / FOLDER).iterdir()
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    assert told(objective.evaluate(until(2))) != afresh[1]


def test_a_checkpoint_that_cannot_be_written_stays_in_memory(tmp_path, afresh):
    """A file in place of the folder, and a run directory that only another machine has."""
    (tmp_path / FOLDER).write_text("in its place")
    for run in (tmp_path, tmp_path / "no such run"):
        objective = InSegments(search_data(), CONFIG).keeping_in(run)
        for n in (1, 2, 3):
            assert told(objective.evaluate(until(n))) == afresh[n - 1]
    assert [p.name for p in tmp_path.iterdir()] == [FOLDER]


def test_a_checkpoint_holds_network_optimizer_and_learning_rate_and_no_code(tmp_path):
    objective = InSegments(search_data(), CONFIG).keeping_in(tmp_path)
    objective.evaluate(until(1, replicates=REPLICATES[:1]))
    [path] = (tmp_path / FOLDER).iterdir()
    raw = Checkpoints(tmp_path).get(path.name)
    saved = torch.load(io.BytesIO(raw), weights_only=True)
    assert saved.keys() == {"epoch", "network", "optimizer", "schedule"}
    assert saved["epoch"] == 2
    momenta = [s["momentum_buffer"] for s in saved["optimizer"]["state"].values()]
    assert len(momenta) == len(saved["optimizer"]["param_groups"][0]["params"]) > 0


def test_a_network_that_draws_by_itself_goes_on_as_if_it_had_not_stopped():
    name = f"{small.__module__}:{small.__name__}"
    config = OwnNetworkConfig(batch_size=16, network=name, weights={})
    through, stopped = (InSegments(search_data(), config) for _ in range(2))
    stopped.evaluate(until(1))
    assert told(stopped.evaluate(until(2))) == told(through.evaluate(until(2)))


def test_memory_holds_a_limited_number_of_bytes(monkeypatch):
    monkeypatch.setattr("policysearch.objectives.checkpoints.MAX_BYTES", 25)
    checkpoints = Checkpoints()
    for name in "abc":
        checkpoints.keep(name, 10 * name.encode())
    assert [checkpoints.get(name) for name in "abc"] == [None, b"b" * 10, b"c" * 10]
    checkpoints.drop("b")
    assert checkpoints.get("b") is None
