"""Training and validation on the folds of a search: what its objectives share.

It holds no test split and cannot reach one.
"""

from __future__ import annotations

from collections.abc import Mapping

from policysearch.data.dataset import Dataset
from policysearch.data.splits import SearchData
from policysearch.errors import GeneratorError
from policysearch.metrics import class_hits, scores
from policysearch.policy import Policy
from policysearch.proxies.base import Proxy, ProxySettings


class Folds:
    """The folds of the search, then those of the confirmation, each with its proxies."""

    def __init__(self, data: SearchData, proxy: ProxySettings) -> None:
        self._data = data.train
        self._fold = data.fold
        self._proxy = proxy

    def train(self, fold: int) -> Dataset:
        """The samples that a fold trains on."""
        return self._data.take(self._fold(fold)[0])

    def validation(self, fold: int) -> Dataset:
        """The samples that a fold holds out."""
        return self._data.take(self._fold(fold)[1])

    def proxy(self, fold: int, policy: Policy, n_epochs: int, seed: int) -> Proxy:
        """A proxy on the training samples of a fold, not fitted yet."""
        return self._proxy.make(self.train(fold), policy, n_epochs, seed)

    def read(self, fold: int, proxy: Proxy, probes: Mapping[str, Policy]) -> dict[str, float]:
        """Metrics on clean held-out samples, and under every probe (see `Task`).

        Where there are probes, hits are told by class as well, those of copies of one sample as
        their mean. A probe whose generator fails gives none.
        """
        held = self.validation(fold)
        predicted, is_balanced = proxy.predict(held), self._proxy.weighs_classes
        metrics = scores(predicted, held.y, is_balanced=is_balanced)
        if probes:
            metrics |= class_hits(predicted, held.y)
        for name, policy in probes.items():
            try:
                predicted, y = proxy.predict_augmented(held, policy)
            except GeneratorError:  # its operation is not probed, and so not in a design
                continue
            share = len(held) / len(y)
            seen = scores(predicted, y, is_balanced=is_balanced)
            seen |= {key: share * n for key, n in class_hits(predicted, y).items()}
            metrics |= {f"{name}:{key}": value for key, value in seen.items()}
        return metrics
