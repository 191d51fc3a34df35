"""Density matching: what networks that never saw augmentation say of augmented held-out data.

One network per fold is trained once, without augmentation; a policy then costs a forward pass.
Fast AutoAugment takes the policy with the least loss on augmented data, and so wants none: nothing
is easier to read than what was left alone. Its remedy, the best of five draws of each sample,
makes a policy look good that spoils four of five. Here the loss is a mean, and what is sought is
a policy that makes the data harder by a given amount, as calibration does for single operations.

References:
  Lim et al., Fast AutoAugment, 2019 (arXiv:1905.00397), section 3.
  Gontijo-Lopes et al., Affinity and Diversity: Quantifying Mechanisms of Data Augmentation, 2020
    (arXiv:2002.08973): what helps is both close to the data and new to the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from policysearch.data.splits import SearchData
from policysearch.metrics import scores
from policysearch.objectives.base import evaluate_replicates
from policysearch.objectives.folds import Folds
from policysearch.proxies.base import Proxy, ProxySettings
from policysearch.trial import Outcome, Replicate, Task

#: Share of the clean accuracy that the best policies leave.
KEPT = 0.7


class Density:
    """Distance of the accuracy on augmented held-out data from the share that is sought.

    The networks are a function of (data, fold, seed, length); every worker process trains them
    when they are first asked for.
    """

    cost = 0.05

    def __init__(self, data: SearchData, proxy: ProxySettings) -> None:
        self._folds = Folds(data, proxy)
        self._networks: dict[tuple[Replicate, int], Proxy] = {}

    def evaluate(self, task: Task) -> Outcome:
        """Scores a task (see `Objective`)."""
        return evaluate_replicates(task, self._run)

    def _run(self, task: Task, replicate: Replicate) -> Mapping[str, float]:
        network = self._network(task, replicate)
        metrics = self._folds.read(replicate.fold, network, task.probes)
        held = self._folds.validation(replicate.fold)
        seen = scores(*network.predict_augmented(held, task.policy))
        metrics |= {f"augmented_{name}": seen[name] for name in ("log_loss", "accuracy")}
        return metrics | {"score": self._score(metrics)}

    def _network(self, task: Task, replicate: Replicate) -> Proxy:
        key = (replicate, task.n_epochs)
        if key not in self._networks:
            none = task.policy.without_ops()
            network = self._folds.proxy(replicate.fold, none, task.n_epochs, replicate.seed)
            network.fit()
            self._networks[key] = network
        return self._networks[key]

    def _score(self, metrics: Mapping[str, float]) -> float:
        return abs(math.log(max(metrics["augmented_log_loss"], 1e-9)))
