"""The objectives of a search: their contract, and what each promises beyond it."""

import numpy as np
import pytest
from contracts.objective_contract import (
    CONFIG,
    MILD,
    REPLICATES,
    STRONG,
    ObjectiveContract,
    search_data,
    stripes,
    task,
)

from policysearch.metrics import scores
from policysearch.objectives.choose import OBJECTIVES, objective_for
from policysearch.objectives.density import BestOfFive, Density, doubt
from policysearch.objectives.from_scratch import FromScratch
from policysearch.objectives.shared_checkpoint import SharedCheckpoint
from policysearch.policy import OpCall, Policy, Stage, SubPolicy

QUARTER = Policy((SubPolicy((Stage((OpCall("rotate", 90.0, 90.0, unit="deg"),), 0.5),)),))


class TestFromScratch(ObjectiveContract):
    @classmethod
    def make(cls, data):
        return FromScratch(data, CONFIG)


class TestSharedCheckpoint(ObjectiveContract):
    @classmethod
    def make(cls, data):
        return SharedCheckpoint(data, CONFIG)


class TestDensity(ObjectiveContract):
    @classmethod
    def make(cls, data):
        return Density(data, CONFIG)


class TestBestOfFive(ObjectiveContract):
    @classmethod
    def make(cls, data):
        return BestOfFive(data, CONFIG)


def read(objective, policy):
    [metrics] = objective.evaluate(task(policy, replicates=REPLICATES[:1], n_epochs=60)).metrics
    return metrics


def test_density_is_a_mean_that_a_spoiled_half_does_not_escape():
    """Stripes turned by 90 degrees are those of the other class: half of the draws are spoiled."""
    own, theirs = Density(search_data(), CONFIG), BestOfFive(search_data(), CONFIG)
    none = MILD.without_ops()
    assert read(own, QUARTER)["score"] > read(own, none)["score"] + 0.5
    spoiled = read(theirs, QUARTER)
    assert spoiled["score"] < 0.3 * spoiled["augmented_log_loss"]


def test_density_does_not_choose_the_identity():
    own = Density(search_data(), CONFIG)
    faint = Policy((SubPolicy((Stage((OpCall("contrast", 0.0, 0.8, unit="fraction"),)),)),))
    assert read(own, faint)["score"] < read(own, MILD.without_ops())["score"]


def test_doubt_is_the_entropy_of_predictions():
    sure = np.log(np.array([[1 - 3e-7, 1e-7, 1e-7, 1e-7]], dtype=np.float32))
    unsure = np.log(np.full((1, 4), 0.25, dtype=np.float32))
    assert doubt(sure) == pytest.approx(0, abs=1e-4)
    assert doubt(unsure) == pytest.approx(np.log(4))
    assert doubt(np.concatenate([sure, unsure])) == pytest.approx(np.log(4) / 2, abs=1e-4)


def test_every_objective_has_a_name_and_a_cost():
    assert {objective_for("auto"), "from_scratch"} <= set(OBJECTIVES)
    assert OBJECTIVES["from_scratch"].cost == 1.0
    assert all(0 < made.cost < 1 for name, made in OBJECTIVES.items() if name != "from_scratch")


@pytest.fixture(scope="module")
def learned():
    data = stripes()
    proxy = CONFIG.make(data, MILD, 12, 3)
    proxy.fit()
    return data, proxy


def test_what_was_learned_is_where_others_start(learned):
    data, proxy = learned
    losses = {}
    for name, start in (("scratch", None), ("learned", proxy.state())):
        other = CONFIG.make(data, MILD, 1, 4)
        other.fit(start)
        losses[name] = scores(other.predict(data), data.y)["log_loss"]
    assert losses["learned"] < 0.5 * losses["scratch"]


def test_a_start_is_not_changed_by_those_who_start_from_it(learned):
    data, proxy = learned
    before = proxy.state()
    start = proxy.state()
    CONFIG.make(data, STRONG, 2, 4).fit(start)
    proxy.fit()
    assert all(start[name].equal(before[name]) for name in before)
    assert not all(proxy.state()[name].equal(before[name]) for name in before)


def test_policies_of_a_replicate_share_one_training(monkeypatch):
    lengths = []
    fit = type(CONFIG.make(stripes(), MILD, 1, 0)).fit

    def counting(self, start=None):
        lengths.append((self._n_epochs, start is not None))
        fit(self, start)

    monkeypatch.setattr(type(CONFIG.make(stripes(), MILD, 1, 0)), "fit", counting)
    objective = SharedCheckpoint(search_data(), CONFIG)
    for policy in (MILD, STRONG, QUARTER):
        objective.evaluate(task(policy, n_epochs=20))
    assert lengths.count((10, False)) == 2
    assert len(lengths) == 2 + 3 * 2
    density = Density(search_data(), CONFIG)
    lengths.clear()
    for policy in (MILD, STRONG, QUARTER):
        density.evaluate(task(policy, n_epochs=20))
    assert lengths == [(20, False)] * 2
