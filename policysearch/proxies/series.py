"""The proxy of time series: a small fully convolutional network.

Made for two cores: a training on 36 series of 251 steps takes about a second. Channels are
normalised with mean and deviation of the training series; missing values and padding are zero
after that, and padding is kept out of every layer but the statistics of batch normalisation.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policysearch.company import Company
from policysearch.data.dataset import Dataset
from policysearch.draws import Drawn
from policysearch.policy import Policy
from policysearch.proxies.training import TorchProxy, TrainingConfig, check_device
from policysearch.seeding import derive_seed
from policysearch.transform import apply_drawn


@dataclass(frozen=True, slots=True)
class SeriesProxyConfig(TrainingConfig):
    """Hyper-parameters of the proxy of time series.

    Attributes:
      width: Channels of the first layer; the next ones have twice as many.
    """

    width: int = 16

    def default_epochs(self, n_train: int) -> int:
        """Epochs of a full training: 150 up to 30 series, fewer for more (inverse square root)."""
        return int(min(150, max(20, round(150 * (30 / max(1, n_train)) ** 0.5))))

    def make(self, train: Dataset, policy: Policy, n_epochs: int, seed: int) -> SeriesProxy:
        """A training of the network (see `SeriesProxy`)."""
        return SeriesProxy(train, policy, n_epochs, seed, self)


def config_for(data: Dataset, device: str = "cpu") -> SeriesProxyConfig:
    """Sizes the proxy to the data: at least four steps an epoch, batches of 64 at most.

    Raises:
      InvalidValueError: When this torch cannot compute on the device.
    """
    check_device(device)
    batch_size = min(64, max(8, len(data) // 4))
    return SeriesProxyConfig(batch_size=batch_size, device=device)


class SeriesNetwork(nn.Module):
    """Three convolutions of 7, 5 and 3 steps, the mean over time, a linear layer.

    The fully convolutional network of the field with an eighth of its channels; series of more
    than 64 steps are halved after the first layer, those of more than 256 after the second, too.

    Args:
      n_channels: Channels of a series; the input has one more, which is 1 at steps that are there
        and 0 in padding.
      n_steps: Longest series.
      seed: All weights come from it (He initialisation).

    References:
      Wang, Yan & Oates, Time series classification from scratch with deep neural networks, 2017
      (arXiv:1611.06455), section 2.2.
    """

    def __init__(
        self, n_channels: int, n_steps: int, n_classes: int, width: int, seed: int
    ) -> None:
        super().__init__()
        sizes = (n_channels, width, 2 * width, 2 * width)
        self.convolutions = nn.ModuleList(
            nn.utils.skip_init(  # type: ignore[no-untyped-call]
                nn.Conv1d, sizes[i], sizes[i + 1], kernel, padding=kernel // 2, bias=False
            )
            for i, kernel in enumerate((7, 5, 3))
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in sizes[1:])
        self.head = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, sizes[-1], n_classes
        )
        self.halvings = (n_steps > 64, n_steps > 256, False)
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in (*self.convolutions, self.head):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=rng)
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(n, n_classes)` of normalised series `(n, C + 1, L)`."""
        values, is_there = x[:, :-1], x[:, -1:]
        for convolve, norm, is_halved in zip(
            self.convolutions, self.norms, self.halvings, strict=True
        ):
            values = F.relu(norm(convolve(values))) * is_there
            if is_halved:
                values = F.max_pool1d(values, 2, ceil_mode=True)
                is_there = F.max_pool1d(is_there, 2, ceil_mode=True)
        mean = values.sum(dim=2) / is_there.sum(dim=2)
        logits: Tensor = self.head(mean)
        return logits


class SeriesProxy(TorchProxy):
    """One training of the network on series under a policy (see `TorchProxy`)."""

    def __init__(
        self, train: Dataset, policy: Policy, n_epochs: int, seed: int, config: SeriesProxyConfig
    ) -> None:
        super().__init__(train, policy, n_epochs, seed, config)
        self._mean, self._std = channel_statistics(train)
        self.network = SeriesNetwork(
            train.x.shape[1],
            train.x.shape[2],
            train.n_classes,
            config.width,
            derive_seed(seed, "weights"),
        ).to(self.device)

    def inputs(self, data: Dataset) -> Tensor:
        """Normalised series with a last channel that marks padding (see `TorchProxy`)."""
        lengths = None if data.lengths is None else torch.from_numpy(data.lengths)
        return self._normal(torch.from_numpy(data.x).to(self.device), lengths)

    def answer(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of series as they are (see `TorchProxy`)."""
        return self.logits(self._normal(x, lengths))

    def _normal(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        is_there = torch.ones_like(x[:, :1])
        if lengths is not None:
            steps = torch.arange(x.shape[2], device=self.device)
            is_there = (steps < lengths.to(self.device)[:, None, None]).to(x.dtype)
        mean, std = (v.to(self.device) for v in (self._mean, self._std))
        normal = ((x - mean) / std).nan_to_num(0.0) * is_there
        return torch.cat([normal, is_there], dim=1)

    def augmented(
        self, data: Dataset, drawn: Drawn, policy: Policy, company: Company | None = None
    ) -> Dataset:
        """Augmented series; lengths stay (see `TorchProxy`)."""
        x = torch.from_numpy(data.x)
        x = x if company is None else x.to(self.device)
        out = apply_drawn(x, drawn, policy, lengths=data.lengths, company=company)
        return dataclasses.replace(data, x=out.cpu().numpy())


def channel_statistics(train: Dataset) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel over known steps, `(1, C, 1)` each, float32.

    A channel without any known value has mean 0; a deviation of 0 counts as 1.
    """
    lengths = train.lengths
    if lengths is None:
        lengths = np.full(len(train), train.x.shape[2], dtype=np.int64)
    is_known = np.arange(train.x.shape[2]) < lengths[:, None, None]
    is_known = is_known & ~np.isnan(train.x)
    count = np.maximum(is_known.sum(axis=(0, 2), keepdims=True), 1)
    x = np.where(is_known, train.x, 0.0).astype(np.float64)
    mean = x.sum(axis=(0, 2), keepdims=True) / count
    squares = np.where(is_known, (x - mean) ** 2, 0.0).sum(axis=(0, 2), keepdims=True)
    std = np.sqrt(squares / count)
    std = np.where(std > 1e-6 * (1 + np.abs(mean)), std, 1.0)
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()
