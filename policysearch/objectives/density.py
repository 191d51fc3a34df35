"""Density matching: what networks that never saw augmentation say of augmented held-out data.

One network per fold is trained once, without augmentation; a policy then costs a forward pass.
Fast AutoAugment takes the policy with the least loss on augmented data, and so wants none: nothing
is easier to read than what was left alone. Its remedy, the best of five draws of each sample,
makes a policy look good that spoils four of five.

Here the loss is a mean, and it is set against the doubt of the network, the entropy of what it
says. Data that were made new leave it in doubt: it knows that it does not know. Data whose class
was destroyed it reads as another class, without a doubt, and where nothing was changed there is
little doubt either. The loss is what affinity measures, doubt stands for diversity.

References:
  Lim et al., Fast AutoAugment, 2019 (arXiv:1905.00397), section 3.
  Gontijo-Lopes et al., Affinity and Diversity: Quantifying Mechanisms of Data Augmentation, 2020
    (arXiv:2002.08973): what helps is both close to the data and new to the network.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from policysearch.data.splits import SearchData
from policysearch.metrics import LogProbabilities
from policysearch.objectives.base import evaluate_replicates
from policysearch.objectives.folds import Folds
from policysearch.proxies.base import Proxy, ProxySettings
from policysearch.trial import Outcome, Replicate, Task

#: What a unit of doubt is worth in units of loss: well above one, or no augmentation would be
#: best, for a calibrated network doubts as much as it errs. Rank correlation with the test loss
#: of full trainings, two draws of 100 digits, 40 policies: 0.54 and 0.63. That of the loss alone:
#: 0.33 and 0.15; of the best of five draws 0.31 and 0.32; of the distance from 0.7 of the clean
#: accuracy 0.10 and 0.20.
DOUBT = 3.0
#: Draws of each sample that Fast AutoAugment takes the best of.
N_DRAWS = 5


class _Matching(abc.ABC):
    """Reads augmented held-out data with networks that all policies share.

    The networks are a function of (data, fold, seed, length); every worker process trains them
    when they are first asked for.
    """

    cost = 0.05
    n_copies: int | None = None

    def __init__(self, data: SearchData, proxy: ProxySettings) -> None:
        self._folds = Folds(data, proxy)
        self._networks: dict[tuple[Replicate, int], Proxy] = {}

    @abc.abstractmethod
    def score(self, predicted: LogProbabilities, losses: NDArray[np.float32]) -> float:
        """The score of a policy, lower is better.

        Args:
          predicted: Log-probabilities of augmented samples, all samples once and then again.
          losses: Log-loss of each.
        """

    def evaluate(self, task: Task) -> Outcome:
        """Scores a task (see `Objective`)."""
        return evaluate_replicates(task, self._run)

    def _run(self, task: Task, replicate: Replicate) -> Mapping[str, float]:
        network = self._network(task, replicate)
        metrics = self._folds.read(replicate.fold, network, task.probes)
        held = self._folds.validation(replicate.fold)
        predicted, y = network.predict_augmented(held, task.policy, self.n_copies)
        losses = -predicted[np.arange(len(y)), y]
        return metrics | {
            "augmented_log_loss": float(losses.mean()),
            "doubt": doubt(predicted),
            "score": self.score(predicted, losses),
        }

    def _network(self, task: Task, replicate: Replicate) -> Proxy:
        key = (replicate, task.n_epochs)
        if key not in self._networks:
            none = task.policy.without_ops()
            network = self._folds.proxy(replicate.fold, none, task.n_epochs, replicate.seed)
            network.fit()
            self._networks[key] = network
        return self._networks[key]


class Density(_Matching):
    """Mean log-loss on augmented held-out data, less `DOUBT` times the mean entropy."""

    def score(self, predicted: LogProbabilities, losses: NDArray[np.float32]) -> float:
        """See `_Matching`."""
        return float(losses.mean()) - DOUBT * doubt(predicted)


class BestOfFive(_Matching):
    """Fast AutoAugment's own: the least loss of five draws of each sample, and their mean.

    It is here to be compared with. Its code counts a sample as read when any of the five draws is,
    which few validation samples cannot tell apart; the loss is the criterion of its paper.
    """

    n_copies = N_DRAWS

    def score(self, predicted: LogProbabilities, losses: NDArray[np.float32]) -> float:
        """See `_Matching`."""
        del predicted
        return float(losses.reshape(N_DRAWS, -1).min(axis=0).mean())


def doubt(predicted: LogProbabilities) -> float:
    """Mean entropy of predictions, natural log.

    Examples:
      >>> round(doubt(np.log(np.full((1, 4), 0.25, dtype=np.float32))), 3)
      1.386
    """
    return float(-(np.exp(predicted) * predicted).sum(axis=1).mean())
