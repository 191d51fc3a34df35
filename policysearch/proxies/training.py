"""The training of every proxy that is a torch network, written once.

A kind of data says how its network is built and how samples become inputs. How weights, order and
draws follow from a seed, for how long and at which learning rates is the same for all: that is
what makes two policies, and two ways of scoring them, comparable.
"""

from __future__ import annotations

import abc
import functools
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from policysearch.company import Company
from policysearch.data.dataset import Dataset
from policysearch.draws import Drawer, Drawn
from policysearch.errors import InvalidValueError
from policysearch.metrics import LogProbabilities
from policysearch.ops.registry import company_ops
from policysearch.policy import Policy
from policysearch.proxies.generators import GeneratorChoice, generator_for
from policysearch.proxies.replay import ReplayedSteps, plain_step
from policysearch.seeding import derive_seed, generator

_Indices = NDArray[np.int64]

#: Samples of one forward pass.
PREDICT_BATCH = 1024
#: Samples augmented in one go; tiny datasets are augmented for several epochs at once. Elsewhere
#: than on the CPU, where calls and not values take the time, up to 16 times as many.
AUGMENT_BLOCK, MAX_VALUES_AT_ONCE = 1024, 2**25
#: Augmented samples that an operation is judged by, and copies of one sample at most.
N_AUGMENTED, MAX_COPIES = 1000, 8
#: Learning rate that fine-tuning begins at and falls from in a line, as a share of the peak. On a
#: draw of 100 digits it ranked 40 policies like the test log-loss of full trainings with a rank
#: correlation of 0.77; a second cycle up to the peak with one of 0.66.
FINE_TUNING_RATE = 0.5


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Hyper-parameters that all trainings have.

    Attributes:
      batch_size: Samples of a step; batches of an epoch are of nearly equal size.
      learning_rate: Peak of the one-cycle schedule (SGD, Nesterov momentum 0.9).
      balanced: Every class is trained on equally often; an epoch has as many samples as ever.
      weighs_classes: Every class counts equally in validation, however many samples it has.
      generator: What operations that need a generator draw from.
    """

    batch_size: int = 50
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    device: str = "cpu"
    balanced: bool = False
    weighs_classes: bool = False
    generator: GeneratorChoice = field(default_factory=GeneratorChoice)


@dataclass(frozen=True, slots=True)
class _Part:
    """A batch: its epoch, its samples, and how often each of them was seen before."""

    epoch: int
    indices: _Indices
    visits: _Indices


class _Turns:
    """Samples of a class in random order, and again in another one when all had their turn."""

    def __init__(self, members: _Indices, rng: np.random.Generator) -> None:
        self._members = members
        self._rng = rng
        self._left: list[int] = []
        self._rounds = -1

    def take(self, n: int) -> tuple[_Indices, _Indices]:
        """The next `n` samples, and the round of each."""
        taken = []
        for _ in range(n):
            if not self._left:
                self._left = self._rng.permutation(self._members).tolist()
                self._rounds += 1
            taken.append((self._left.pop(), self._rounds))
        both = np.array(taken, dtype=np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]


def check_device(device: str) -> None:
    """Refuses a device that this torch cannot compute on; raises `InvalidValueError`."""
    try:
        torch.ones(2, device=device).sum().item()
    except (RuntimeError, NotImplementedError, AssertionError, ValueError) as error:
        known = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise InvalidValueError(
            f"`--device` must be one that torch can compute on here ({', '.join(known)}), "
            f"got {device!r}."
        ) from error


class TorchProxy(abc.ABC):
    """One training of a network under a policy (see `Proxy`).

    A kind of data gives `inputs` and `augmented`, and sets `network` after this constructor, with
    weights from `derive_seed(seed, "weights")`.

    Args:
      train: What is trained on.
      policy: Augmentation of the training samples.
      n_epochs: Length.
      seed: Root of weights, order of samples and draws: equal seeds pair two policies.
      config: Hyper-parameters.
    """

    network: nn.Module
    #: Whether a step does the same with every batch of a shape and can be recorded.
    is_replayable = False

    def __init__(
        self, train: Dataset, policy: Policy, n_epochs: int, seed: int, config: TrainingConfig
    ) -> None:
        self.device = torch.device(config.device)
        self.augment_seconds = 0.0
        self._train = train
        self._y = torch.from_numpy(train.y).to(self.device)
        needed = company_ops(policy)
        self._mixes = bool(needed)
        self._asks_model = any(spec.needs_model for spec in needed)
        self._policy = policy
        self._n_epochs = n_epochs
        self._seed = seed
        self._training = config

    @abc.abstractmethod
    def inputs(self, data: Dataset) -> Tensor:
        """Samples as they are handed to `logits`, `(n, ...)`, on the device."""

    @abc.abstractmethod
    def augmented(
        self, data: Dataset, drawn: Drawn, policy: Policy, company: Company | None = None
    ) -> Dataset:
        """The samples with what was drawn for them applied, one row of draws each.

        Classes stay; what they are shared with is in the targets of the company.
        """

    def answer(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of samples as adversarial operations move them; images in [0, 1]."""
        del lengths
        return self.logits(x)

    def company(self, y: Tensor, policy: Policy, sizes: tuple[int, ...] = ()) -> Company:
        """What operations on whole batches need (see `Proxy`)."""
        generator = None
        if any(spec.needs_fit for spec in company_ops(policy)):
            generator = generator_for(self._train, self._training.generator)
        targets = F.one_hot(y.to(self.device), self._train.n_classes).float()
        return Company(targets, sizes, self.answer, self.network, generator)

    def logits(self, x: Tensor) -> Tensor:
        """What the network says of inputs, `(n, n_classes)`."""
        result: Tensor = self.network(x)
        return result

    def optimizer(self) -> torch.optim.Optimizer:
        """Changes the weights after each batch."""
        return torch.optim.SGD(
            self.network.parameters(),
            lr=self._training.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=self._training.weight_decay,
        )

    def training_inputs(
        self, indices: NDArray[np.int64], drawn: Drawn, company: Company | None = None
    ) -> Tensor:
        """Augmented training samples as inputs; faster where the data lie on the device."""
        part = self._train.take(indices)
        return self.inputs(self.augmented(part, drawn, self._policy, company))

    def fit(self, start: Mapping[str, Tensor] | None = None) -> None:
        """Trains to the last epoch, from scratch or from what another proxy has learned."""
        if start is not None:
            self.network.load_state_dict(start)
        optimizer = self.optimizer()
        schedule = self._schedule(optimizer, is_fine_tuning=start is not None)
        self._go_through(range(self._n_epochs), optimizer, schedule)

    def fit_until(self, end: int, checkpoint: bytes | None = None) -> bytes:
        """Trains from scratch or a checkpoint up to an epoch (see `Proxy`)."""
        optimizer = self.optimizer()
        schedule = self._schedule(optimizer, is_fine_tuning=False)
        parts: dict[str, Any] = {
            "network": self.network,
            "optimizer": optimizer,
            "schedule": schedule,
        }
        first = 0
        if checkpoint is not None:
            saved = torch.load(io.BytesIO(checkpoint), self.device, weights_only=True)
            first = saved["epoch"]
            for name, part in parts.items():
                part.load_state_dict(saved[name])
        self._go_through(range(first, end), optimizer, schedule)
        states = {name: part.state_dict() for name, part in parts.items()}
        file = io.BytesIO()
        torch.save({"epoch": end, **states}, file)
        return file.getvalue()

    def _go_through(
        self,
        epochs: range,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        self.network.train()
        step: Callable[[Tensor, Tensor], None]
        step = functools.partial(plain_step, self.logits, optimizer)
        if self.is_replayable and self.device.type == "cuda":
            assert isinstance(optimizer, torch.optim.SGD)
            step = ReplayedSteps(self.logits, optimizer, self.device).step
        for x, y in self._batches(epochs):
            step(x, y)
            schedule.step()

    def _schedule(
        self, optimizer: torch.optim.Optimizer, *, is_fine_tuning: bool
    ) -> torch.optim.lr_scheduler.LRScheduler:
        n_steps = max(2, self._n_epochs * self._n_batches)
        if is_fine_tuning:
            return torch.optim.lr_scheduler.LinearLR(optimizer, FINE_TUNING_RATE, 0.0, n_steps)
        peak = self._training.learning_rate
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, n_steps)

    def state(self) -> dict[str, Tensor]:
        """What was learned, as a copy to start other proxies from."""
        return {name: value.clone() for name, value in self.network.state_dict().items()}

    def predict(self, data: Dataset) -> LogProbabilities:
        """Log-probabilities of clean data (see `Proxy`)."""
        self.network.eval()
        parts = []
        with torch.inference_mode():
            for first in range(0, len(data), PREDICT_BATCH):
                part = data.take(np.arange(first, min(first + PREDICT_BATCH, len(data))))
                logits = self.logits(self.inputs(part))
                parts.append(F.log_softmax(logits, dim=1).float().cpu())
        return torch.cat(parts).numpy()

    def predict_augmented(
        self, data: Dataset, policy: Policy, n_copies: int | None = None
    ) -> tuple[LogProbabilities, NDArray[np.int64]]:
        """Log-probabilities of augmented data (see `Proxy`)."""
        if n_copies is None:
            n_copies = max(1, min(MAX_COPIES, math.ceil(N_AUGMENTED / len(data))))
        copies = data.take(np.tile(np.arange(len(data)), n_copies))
        policy = policy.at_full_strength()  # no training goes on here, so there is no progress
        drawn = Drawer(policy, derive_seed(self._seed, "probe")).draw(
            np.arange(len(copies)), classes=copies.y
        )
        company = None
        if company_ops(policy):
            company = self.company(torch.from_numpy(copies.y), policy)
        return self.predict(self.augmented(copies, drawn, policy, company)), copies.y

    @property
    def _augmented_at_once(self) -> int:
        if self.device.type == "cpu":
            return AUGMENT_BLOCK
        fitting = MAX_VALUES_AT_ONCE // max(1, math.prod(self._train.x.shape[1:]))
        return min(max(fitting, AUGMENT_BLOCK), 16 * AUGMENT_BLOCK)

    @property
    def _n_batches(self) -> int:
        return max(1, math.ceil(len(self._train) / self._training.batch_size))

    def _batches(self, epochs: range) -> Iterator[tuple[Tensor, Tensor]]:
        """All batches of these epochs in order, augmented block by block."""
        order = generator(self._seed, "order")
        drawer = Drawer(self._policy, derive_seed(self._seed, "draws"))
        orders = self._balanced_orders if self._training.balanced else self._orders
        at_once = 1 if self._asks_model else self._augmented_at_once  # it changes at every step
        block: list[_Part] = []
        for epoch, (indices, visits) in zip(range(epochs.stop), orders(order), strict=False):
            if epoch not in epochs:
                continue
            for place in np.array_split(np.arange(len(indices)), self._n_batches):
                block.append(_Part(epoch, indices[place], visits[place]))
                if sum(len(part.indices) for part in block) >= at_once:
                    yield from self._block(drawer, block)
                    block = []
        yield from self._block(drawer, block)

    def _orders(self, rng: np.random.Generator) -> Iterator[tuple[_Indices, _Indices]]:
        """Samples of each epoch in order, each once, and how often each was seen before."""
        for epoch in range(self._n_epochs):
            indices = rng.permutation(len(self._train))
            yield indices, np.full(len(indices), epoch)

    def _balanced_orders(self, rng: np.random.Generator) -> Iterator[tuple[_Indices, _Indices]]:
        """The same with all classes equally often: the samples of each in turns."""
        queues = [
            _Turns(np.flatnonzero(self._train.y == c), rng) for c in np.unique(self._train.y)
        ]
        for _ in range(self._n_epochs):
            counts = np.full(len(queues), len(self._train) // len(queues))
            counts[rng.permutation(len(queues))[: len(self._train) % len(queues)]] += 1
            taken = [queue.take(int(n)) for queue, n in zip(queues, counts, strict=True)]
            indices, visits = (np.concatenate(parts) for parts in zip(*taken, strict=True))
            shuffled = rng.permutation(len(indices))
            yield indices[shuffled], visits[shuffled]

    def _block(self, drawer: Drawer, block: list[_Part]) -> Iterator[tuple[Tensor, Tensor]]:
        if not block:
            return
        started = time.perf_counter()
        indices = np.concatenate([part.indices for part in block])
        visits = np.concatenate([part.visits for part in block])
        epochs = np.concatenate([np.full(len(part.indices), part.epoch) for part in block])
        drawn = drawer.draw(
            indices, visits, (epochs + 0.5) / self._n_epochs, self._train.y[indices]
        )
        y = self._y[torch.from_numpy(indices).to(self.device)]
        sizes = [len(part.indices) for part in block]
        company = self.company(y, self._policy, tuple(sizes)) if self._mixes else None
        x = self.training_inputs(indices, drawn, company)
        if company is not None and company.targets is not None:
            y = company.targets
        self.augment_seconds += time.perf_counter() - started
        yield from zip(torch.split(x, sizes), torch.split(y, sizes), strict=True)
