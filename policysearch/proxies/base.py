"""What all proxies have in common: they are made from settings, fitted, and asked to predict."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.company import Company
from policysearch.data.dataset import Dataset
from policysearch.draws import Drawn
from policysearch.metrics import LogProbabilities
from policysearch.policy import Policy

#: Weights and all else that a training leaves behind, by name.
State = Mapping[str, Tensor]


class Proxy(Protocol):
    """One training of a small model under a policy.

    What it learns is a function of its arguments: equal seeds pair two policies, because they
    give equal weights, order of samples and numbers to draw from.
    """

    def fit(self, start: State | None = None) -> None:
        """Trains from the first to the last epoch, from scratch or from what another learned.

        What starts from learned weights is fine-tuned: its learning rate never reaches that of a
        training from scratch.
        """
        ...

    def fit_until(self, end: int, checkpoint: bytes | None = None) -> bytes:
        """Trains to an epoch of the whole training, from scratch or from where another one ended.

        In segments it learns what `fit` learns in one go, to the last bit, as long as the network
        draws nothing by itself.

        Args:
          end: Epochs that are done then, at most all.
          checkpoint: What this gave at the end of the segment before, for the same data, length
            and seed; it is read as weights only, so that no file can bring code.

        Returns:
          Network, optimizer and learning rates as `torch.save` writes them.
        """
        ...

    def state(self) -> State:
        """What was learned, to start other trainings from; later ones do not change it."""
        ...

    def predict(self, data: Dataset) -> LogProbabilities:
        """Log-probabilities of clean data, `(n, n_classes)` float32."""
        ...

    def augmented(
        self, data: Dataset, drawn: Drawn, policy: Policy, company: Company | None = None
    ) -> Dataset:
        """The samples with what was drawn for them applied, one row of draws each.

        Classes stay; what they are shared with is in the targets of the company.
        """
        ...

    def company(self, y: Tensor, policy: Policy, sizes: tuple[int, ...] = ()) -> Company:
        """What operations on whole batches need: targets, this network, a generator.

        Args:
          y: Classes, `(n,)`.
          policy: Says whether a generator is needed; it is fitted to the training samples.
          sizes: Sizes of the batches that lie one after the other.
        """
        ...

    def predict_augmented(
        self, data: Dataset, policy: Policy, n_copies: int | None = None
    ) -> tuple[LogProbabilities, NDArray[np.int64]]:
        """Log-probabilities of augmented data and the classes that belong to them.

        All samples once, then all again for `n_copies` times; `None`: several times where they
        are few. Draws are the same for equal seeds, so that two strengths of an operation are
        paired.
        """
        ...


class ProxySettings(Protocol):
    """Hyper-parameters of the proxy of one kind of data: plain, picklable, and they make one.

    Attributes:
      weighs_classes: Every class counts equally in validation, however many samples it has.
    """

    @property
    def weighs_classes(self) -> bool:
        """See the class."""
        ...

    def default_epochs(self, n_train: int) -> int:
        """Epochs of a full training: long enough for augmentation to pay off."""
        ...

    def make(self, train: Dataset, policy: Policy, n_epochs: int, seed: int) -> Proxy:
        """A proxy that is not fitted yet."""
        ...


def settings_for(data: Dataset, device: str = "cpu", **extras: Any) -> ProxySettings:
    """The settings of the proxy for a dataset, by its modality and size.

    They come from `config_for` in the module of `policysearch.proxies` named like the modality,
    which may take more than data and device.

    Raises:
      InvalidValueError: When this torch cannot compute on the device.
    """
    found = importlib.import_module(f"policysearch.proxies.{data.modality}")
    settings: ProxySettings = found.config_for(data, device, **extras)
    return settings


def seconds_per_epoch(
    train: Dataset, policy: Policy, settings: ProxySettings, n_threads: int
) -> float:
    """Measures an epoch of training here, computing with `n_threads` threads for the time."""
    n_epochs = 3 if len(train) <= 1000 else 1
    seconds = []
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)  # more threads than cores would measure their quarrel
    try:
        for _ in range(3):  # the least of several: the first warms up, others may be disturbed
            proxy = settings.make(train, policy, n_epochs, 0)
            started = time.perf_counter()
            proxy.fit()
            seconds.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    return min(seconds) / n_epochs
