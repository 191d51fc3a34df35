"""Training and validation on the folds of a search: what its objectives share.

It holds no test split and cannot reach one.
"""

from __future__ import annotations

from collections.abc import Mapping

from policysearch.data.dataset import Dataset
from policysearch.data.splits import SearchData
from policysearch.metrics import scores
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
        """Metrics on clean held-out samples, and under every probe (see `Task`)."""
        held = self.validation(fold)
        metrics = scores(proxy.predict(held), held.y, is_balanced=self._proxy.balanced)
        for name, policy in probes.items():
            predicted, y = proxy.predict_augmented(held, policy)
            seen = scores(predicted, y, is_balanced=self._proxy.balanced)
            metrics |= {f"{name}:{metric}": value for metric, value in seen.items()}
        return metrics
