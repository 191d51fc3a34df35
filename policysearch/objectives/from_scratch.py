"""Proxy trainings from scratch: the objective that needs no assumption.

`FromScratch` scores a policy on search-validation data taken out of the training data; it holds
no test split and cannot reach one. `FinalTraining` trains on all training data and reads the test
split; only the verdict makes one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from policysearch.corruptions.base import corrupted
from policysearch.data.splits import FinalData, SearchData
from policysearch.metrics import (
    METRICS,
    LogProbabilities,
    all_scores,
    check_metric,
    class_accuracies,
    scores,
)
from policysearch.objectives.base import evaluate_replicates
from policysearch.objectives.folds import Folds
from policysearch.proxies.base import Proxy, ProxySettings
from policysearch.resampling import resample_weights
from policysearch.trial import Outcome, Replicate, Task

#: Classes up to which the final comparison says what becomes of each.
MOST_CLASSES = 20


class FromScratch:
    """Mean log-loss of proxy trainings on the folds of the search data.

    Log-loss is finer than accuracy: on 33 validation images accuracy moves in steps of 3 points.
    """

    cost = 1.0

    def __init__(self, data: SearchData, proxy: ProxySettings) -> None:
        self._folds = Folds(data, proxy)

    def evaluate(self, task: Task) -> Outcome:
        """Scores a task (see `Objective`)."""
        return evaluate_replicates(task, self._run)

    def _run(self, task: Task, replicate: Replicate) -> Mapping[str, float]:
        proxy = self._folds.proxy(replicate.fold, task.policy, task.n_epochs, replicate.seed)
        proxy.fit()
        metrics = self._folds.read(replicate.fold, proxy, task.probes)
        return metrics | {"score": metrics["log_loss"]}


class FinalTraining:
    """Test metrics of proxy trainings on all training data. The score is the log-loss.

    Every outcome also says what the metric of the verdict would have been on other test samples,
    and, as `corrupted:NAME`, what the accuracy is on corrupted ones, as `class:NAME` on a class.

    Raises:
      InvalidValueError: When the test split leaves the metric undefined.
    """

    def __init__(self, data: FinalData, proxy: ProxySettings, metric: str = "accuracy") -> None:
        check_metric(metric, data.test.y)
        self._data = data
        self._proxy = proxy
        self._metric = METRICS[metric]

    def evaluate(self, task: Task) -> Outcome:
        """Scores a task (see `Objective`); fold k is training set k where several were drawn."""
        resampled: list[NDArray[np.float64]] = []

        def run(task: Task, replicate: Replicate) -> Mapping[str, float]:
            proxy = self._fitted(task, replicate)
            predicted = proxy.predict(self._data.test)
            resampled.append(self._resampled(predicted))
            test = self._data.test
            metrics = all_scores(predicted, test.y)
            if test.n_classes <= MOST_CLASSES:
                by_class = class_accuracies(predicted, test.y)
                metrics |= {f"class:{test.classes[label]}": a for label, a in by_class.items()}
            for name, data in corrupted(self._data.test):
                metrics[f"corrupted:{name}"] = scores(proxy.predict(data), data.y)["accuracy"]
            return metrics | {"score": metrics["log_loss"]}

        outcome = evaluate_replicates(task, run)
        if outcome.state != "complete":
            return outcome
        means = np.mean(resampled, axis=0)
        return dataclasses.replace(outcome, resampled=tuple(means.tolist()))

    def _fitted(self, task: Task, replicate: Replicate) -> Proxy:
        train = self._data.training(replicate.fold)
        proxy = self._proxy.make(train, task.policy, task.n_epochs, replicate.seed)
        proxy.fit()
        return proxy

    def _resampled(self, predicted: LogProbabilities) -> NDArray[np.float64]:
        test = self._data.test
        blocks = resample_weights(test.y, test.groups)
        return np.concatenate([self._metric.weighted(predicted, test.y, w) for w in blocks])
