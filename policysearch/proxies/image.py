"""The image proxy: a small convolutional network and its training.

Made for two cores: a training on 100 digits takes a third of a second, one on 1,000 28-pixel
images some seconds. The last epoch is scored, never the best one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from policysearch.data.dataset import Dataset
from policysearch.draws import Drawer
from policysearch.errors import InvalidValueError
from policysearch.metrics import LogProbabilities
from policysearch.policy import Policy
from policysearch.seeding import derive_seed, generator
from policysearch.transform import apply_drawn

#: Samples of one forward pass.
PREDICT_BATCH = 1024
#: Samples augmented in one go; tiny datasets are augmented for several epochs at once.
AUGMENT_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class ImageProxyConfig:
    """Hyper-parameters of the proxy training.

    Attributes:
      width: Channels of the first layer.
      batch_size: Samples of a step; batches of an epoch are of nearly equal size.
      learning_rate: Peak of the one-cycle schedule (SGD, Nesterov momentum 0.9).
    """

    width: int = 16
    batch_size: int = 50
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    device: str = "cpu"

    def default_epochs(self, n_train: int) -> int:
        """See `default_epochs`."""
        return default_epochs(n_train)

    def make(self, train: Dataset, policy: Policy, n_epochs: int, seed: int) -> ImageProxy:
        """A training of the proxy network (see `ImageProxy`)."""
        return ImageProxy(train, policy, n_epochs, seed, self)


def config_for(data: Dataset, device: str = "cpu") -> ImageProxyConfig:
    """Sizes the proxy to the data: larger batches for larger datasets.

    Raises:
      InvalidValueError: When this torch cannot compute on the device.
    """
    _check_device(device)
    return ImageProxyConfig(batch_size=50 if len(data) <= 1000 else 128, device=device)


def _check_device(device: str) -> None:
    try:
        torch.ones(2, device=device).sum().item()
    except (RuntimeError, NotImplementedError, AssertionError, ValueError) as error:
        known = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise InvalidValueError(
            f"`--device` must be one that torch can compute on here ({', '.join(known)}), "
            f"got {device!r}."
        ) from error


def default_epochs(n_train: int) -> int:
    """Epochs of a full training: 60 for 1,000 samples, more for fewer (inverse fourth root).

    Long enough for augmentation to pay off: short trainings prefer weak augmentation.
    """
    return int(min(150, max(10, round(60 * (1000 / max(1, n_train)) ** 0.25))))


def build_network(shape: tuple[int, ...], n_classes: int, width: int, seed: int) -> nn.Module:
    """Builds the network for images `(C, H, W)`.

    3x3 convolutions, halving down to 4 pixels, then global average pooling and a linear layer, as
    in the residual networks that people train. Weights come from `seed` alone (He
    initialisation); the global generator is neither read nor moved.
    """
    channels, height, w_image = shape
    side = min(height, w_image)
    layers: list[nn.Module] = [*_block(channels, width)]
    if side >= 16:  # full resolution is where the time goes
        layers.append(nn.MaxPool2d(2))
        side //= 2
    n_in = width
    while True:
        n_out = min(2 * n_in, 8 * width)
        layers += _block(n_in, n_out)
        n_in = n_out
        if side < 8:
            break
        layers.append(nn.MaxPool2d(2))
        side //= 2
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    head = nn.utils.skip_init(nn.Linear, n_in, n_classes)  # type: ignore[no-untyped-call]
    network = nn.Sequential(*layers, head)
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            with torch.no_grad():
                module.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=rng)
                if module.bias is not None:
                    module.bias.zero_()
    return network


def _block(n_in: int, n_out: int) -> list[nn.Module]:
    convolution = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, n_in, n_out, 3, padding=1, bias=False
    )
    return [convolution, nn.BatchNorm2d(n_out), nn.ReLU()]


def _tensor(array: NDArray[Any]) -> Tensor:
    """The array as a tensor, without a copy where its memory may be written to."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def to_unit(x: Tensor) -> Tensor:
    """Images of any accepted dtype as float32 in [0, 1]."""
    scale = {torch.uint8: 255.0, torch.uint16: 65535.0}.get(x.dtype, 1.0)
    return x.to(torch.float32) / scale


#: Augmented samples that an operation is judged by, and copies of one sample at most.
N_AUGMENTED, MAX_COPIES = 1000, 8


class ImageProxy:
    """One training of the proxy network on a dataset under a policy.

    Args:
      train: What is trained on.
      policy: Augmentation of the training samples.
      n_epochs: Length.
      seed: Root of weights, order of samples and draws: equal seeds pair two policies.
    """

    def __init__(
        self, train: Dataset, policy: Policy, n_epochs: int, seed: int, config: ImageProxyConfig
    ) -> None:
        self._config = config
        self._device = torch.device(config.device)
        self._x = _tensor(train.x).to(self._device)
        self._y = _tensor(train.y).to(self._device)
        self._policy = policy
        self._n_epochs = n_epochs
        self._seed = seed
        unit = to_unit(self._x)
        self._mean = unit.mean(dim=(0, 2, 3), keepdim=True)
        self._std = unit.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-3)
        self.network = build_network(
            train.x.shape[1:], len(train.classes), config.width, derive_seed(seed, "weights")
        )
        self.network.to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.augment_seconds = 0.0

    def fit(self) -> None:
        """Trains from scratch to the last epoch."""
        n_steps = self._n_epochs * self._n_batches
        optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=self._config.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=self._config.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self._config.learning_rate, total_steps=max(2, n_steps)
        )
        self.network.train()
        for x, y in self._batches():
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(self.network(self._normalised(x)), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()

    def predict(self, data: Dataset) -> LogProbabilities:
        """Log-probabilities of clean data (see `Proxy`)."""
        self.network.eval()
        parts = []
        with torch.inference_mode():
            for first in range(0, len(data), PREDICT_BATCH):
                x = to_unit(_tensor(data.x[first : first + PREDICT_BATCH]).to(self._device))
                logits = self.network(self._normalised(x))
                parts.append(F.log_softmax(logits, dim=1).float().cpu())
        return torch.cat(parts).numpy()

    def predict_augmented(
        self, data: Dataset, policy: Policy
    ) -> tuple[LogProbabilities, NDArray[np.int64]]:
        """Log-probabilities of augmented data (see `Proxy`)."""
        n_copies = max(1, min(MAX_COPIES, math.ceil(N_AUGMENTED / len(data))))
        indices = np.arange(len(data) * n_copies)
        drawn = Drawer(policy, derive_seed(self._seed, "probe")).draw(indices)
        x = apply_drawn(_tensor(np.tile(data.x, (n_copies, 1, 1, 1))), drawn, policy)
        y = np.tile(data.y, n_copies)
        return self.predict(Dataset(x.numpy(), y, data.classes)), y

    def _normalised(self, x: Tensor) -> Tensor:
        # Channels last: convolutions take about half the time on a CPU.
        return ((x - self._mean) / self._std).contiguous(memory_format=torch.channels_last)

    @property
    def _n_batches(self) -> int:
        return max(1, math.ceil(len(self._x) / self._config.batch_size))

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All batches of the training in order, augmented block by block."""
        order = generator(self._seed, "order")
        drawer = Drawer(self._policy, derive_seed(self._seed, "draws"))
        block: list[tuple[int, NDArray[np.int64]]] = []
        for epoch in range(self._n_epochs):
            for indices in np.array_split(order.permutation(len(self._x)), self._n_batches):
                block.append((epoch, indices))
                if sum(len(i) for _, i in block) >= AUGMENT_BLOCK:
                    yield from self._augmented(drawer, block)
                    block = []
        yield from self._augmented(drawer, block)

    def _augmented(
        self, drawer: Drawer, block: list[tuple[int, NDArray[np.int64]]]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        if not block:
            return
        started = time.perf_counter()
        indices = np.concatenate([i for _, i in block])
        epochs = np.concatenate([np.full(len(i), epoch) for epoch, i in block])
        chosen = torch.from_numpy(indices).to(self._device)
        drawn = drawer.draw(indices, epochs)
        x = to_unit(apply_drawn(self._x[chosen], drawn, self._policy))
        y = self._y[chosen]
        self.augment_seconds += time.perf_counter() - started
        sizes = [len(i) for _, i in block]
        yield from zip(torch.split(x, sizes), torch.split(y, sizes), strict=True)
