"""What every objective must keep: its outcome is a function of the task alone.

Inherit, name the class `Test...` and give it `make`.
"""

import pickle
import random

import numpy as np
import pytest
import torch

from policysearch.data.dataset import Dataset
from policysearch.data.splits import SearchData
from policysearch.named import resolve_policy
from policysearch.objectives.base import Objective
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.proxies.image import ImageProxyConfig
from policysearch.trial import Replicate, Task

CONFIG = ImageProxyConfig(width=4, batch_size=16)
MILD = Policy((SubPolicy((Stage((OpCall("translate_x", 0.0, 0.3, unit="fraction"),)),)),))
STRONG = resolve_policy("uniformaugment").policy
REPLICATES = (Replicate(0, 1), Replicate(1, 1))


def stripes(n=48, side=8, seed=0):
    """Two classes, upright and flat stripes with noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n, dtype=np.int64) % 2
    upright = np.broadcast_to(np.sin(np.arange(side) * 2.0), (side, side))
    base = np.where(y[:, None, None], upright, upright.T)[:, None]
    values = 0.5 + 0.2 * base + rng.normal(0, 0.2, (n, 1, side, side))
    return Dataset((np.clip(values, 0, 1) * 255).astype(np.uint8), y, ("flat", "upright"))


def search_data(n=48):
    halves = np.arange(n // 2), np.arange(n // 2, n)
    return SearchData(stripes(n), (halves, halves[::-1]))


def task(policy=MILD, key="trial/1", replicates=REPLICATES, n_epochs=6, **more) -> Task:
    return Task(key, policy, replicates, n_epochs, **more)


def told(outcome):
    """An outcome without its times."""
    timeless = [{k: v for k, v in m.items() if k != "seconds"} for m in outcome.metrics]
    return outcome.state, outcome.score, timeless


class ObjectiveContract:
    @classmethod
    def make(cls, data: SearchData) -> Objective:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def first(cls):
        return told(cls.make(search_data()).evaluate(task()))

    def test_every_replicate_has_a_score_and_their_mean_counts(self, first):
        state, score, metrics = first
        assert state == "complete"
        assert len(metrics) == len(REPLICATES)
        assert score == pytest.approx(np.mean([m["score"] for m in metrics]))
        assert len({m["score"] for m in metrics}) == 2
        assert all(0 <= m["accuracy"] <= 1 for m in metrics)

    def test_equal_tasks_give_equal_outcomes_whatever_came_before(self, first):
        objective = self.make(search_data())
        other = task(STRONG, "trial/0", (Replicate(1, 1), Replicate(0, 9)), n_epochs=4)
        objective.evaluate(other)
        assert told(objective.evaluate(task())) == first
        assert told(objective.evaluate(task(key="trial/7"))) == first

    def test_a_replicate_alone_scores_as_among_others(self, first):
        [alone] = self.make(search_data()).evaluate(task(replicates=REPLICATES[1:])).metrics
        assert alone["score"] == first[2][1]["score"]

    def test_outcomes_hang_on_no_global_generator(self, first):
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        torch.manual_seed(5)
        assert told(self.make(search_data()).evaluate(task())) == first

    def test_it_goes_to_its_workers_new_or_used(self, first):
        objective = self.make(search_data())
        for _ in range(2):
            objective = pickle.loads(pickle.dumps(objective))
            assert told(objective.evaluate(task())) == first

    def test_policies_seeds_lengths_and_folds_matter(self, first):
        objective = self.make(search_data())
        for other in (
            task(STRONG),
            task(replicates=(Replicate(0, 2), Replicate(1, 2))),
            task(n_epochs=12),
            task(replicates=REPLICATES[:1]),
        ):
            assert objective.evaluate(other).score != first[1]

    def test_a_score_above_the_threshold_ends_the_trial(self, first):
        objective = self.make(search_data())
        pruned = objective.evaluate(task(prune_above=(first[2][0]["score"] - 1e-6,)))
        assert pruned.state == "pruned"
        assert told(pruned)[2] == first[2][:1]
        assert objective.evaluate(task(prune_above=(first[2][0]["score"],))).state == "complete"

    def test_probes_are_answered_beside_a_score_that_they_do_not_change(self, first):
        probes = {"none@1": MILD.without_ops(), "all@1": STRONG}
        outcome = self.make(search_data()).evaluate(task(probes=probes))
        assert outcome.score == first[1]
        for metrics in outcome.metrics:
            assert metrics["none@1:accuracy"] == metrics["accuracy"]
            assert metrics["all@1:log_loss"] != metrics["log_loss"]
            hits = [metrics[f"none@1:hits:{label}"] for label in range(2)]
            assert hits == [metrics[f"hits:{label}"] for label in range(2)]

    def test_confirmation_folds_are_reached_by_number(self):
        data = search_data()
        swapped = SearchData(data.train, data.folds, data.folds[::-1])
        scores = [
            self.make(swapped).evaluate(task(replicates=(Replicate(fold, 1),))).score
            for fold in range(4)
        ]
        assert scores[0] == scores[3] != scores[1]
        assert scores[1] == scores[2]
