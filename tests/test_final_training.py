"""The trainings of the verdict: what they measure, on these test samples and on others."""

import numpy as np
import pytest

from policysearch.corruptions.image import IMAGE_CORRUPTIONS
from policysearch.data.source import load_source
from policysearch.data.splits import FinalData, make_splits
from policysearch.errors import InvalidValueError
from policysearch.metrics import AXES, METRICS
from policysearch.named import resolve_policy
from policysearch.objectives.from_scratch import FinalTraining
from policysearch.proxies.base import settings_for
from policysearch.resampling import N_RESAMPLES
from policysearch.trial import Replicate, Task


@pytest.fixture(scope="module")
def final():
    return make_splits(load_source("digits"), seed=0, train_size=60).final


def evaluated(final, metric="accuracy", *seeds):
    objective = FinalTraining(final, settings_for(final.train), metric)
    replicates = tuple(Replicate(0, seed) for seed in seeds or (1,))
    return objective.evaluate(Task("verdict/none/0", resolve_policy("none").policy, replicates, 3))


def test_every_metric_and_axis_is_measured_and_the_score_is_the_log_loss(final):
    outcome = evaluated(final)
    (metrics,) = outcome.metrics
    corruptions = {f"corrupted:{name}" for name in IMAGE_CORRUPTIONS}
    classes = {f"class:{i}" for i in range(10)}
    others = corruptions | classes | {"score", "seconds"}
    assert set(metrics) == set(METRICS) | set(AXES) | others
    assert outcome.score == metrics["score"] == metrics["log_loss"]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "roc_auc"])
def test_resamples_scatter_about_the_metric_as_new_test_samples_would(final, metric):
    outcome = evaluated(final, metric)
    value = outcome.metrics[0][metric]
    assert len(outcome.resampled) == N_RESAMPLES
    spread = np.std(outcome.resampled)
    assert np.mean(outcome.resampled) == pytest.approx(value, abs=spread / 4)
    if metric == "accuracy":  # less than without strata, by what classes differ
        unstratified = np.sqrt(value * (1 - value) / len(final.test))
        assert 0.6 * unstratified < spread < 1.15 * unstratified


def test_resamples_of_several_seeds_are_their_mean(final):
    both = np.array(evaluated(final, "accuracy", 1, 2).resampled)
    each = [np.array(evaluated(final, "accuracy", seed).resampled) for seed in (1, 2)]
    assert both == pytest.approx((each[0] + each[1]) / 2)


def test_a_metric_that_the_test_split_leaves_undefined_is_refused(final):
    ones = FinalData(final.train, final.test.take(np.flatnonzero(final.test.y == 3)))
    with pytest.raises(InvalidValueError, match="'roc_auc' needs test samples of at least 2"):
        FinalTraining(ones, settings_for(ones.train), "roc_auc")
    assert "roc_auc" not in evaluated(ones).metrics[0]


def test_every_subset_is_trained_on_by_its_replicate():
    splits = make_splits(load_source("digits"), seed=0, train_size=60, n_subsets=2)
    objective = FinalTraining(splits.final, settings_for(splits.final.train))

    def trained_on(fold, final=objective):
        task = Task("verdict/none/0", resolve_policy("none").policy, (Replicate(fold, 1),), 2)
        return final.evaluate(task).score

    alone = FinalTraining(
        FinalData(splits.final.subsets[1], splits.final.test), settings_for(splits.final.train)
    )
    assert trained_on(1) == trained_on(0, alone)
    assert trained_on(0) != trained_on(1)
