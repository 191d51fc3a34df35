"""The image proxy: a small convolutional network.

Made for two cores: a training on 100 digits takes a third of a second, one on 1,000 28-pixel
images some seconds. The last epoch is scored, never the best one.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policysearch.company import Company
from policysearch.data.dataset import Dataset
from policysearch.draws import Drawn
from policysearch.modalities.image import MODALITY
from policysearch.policy import Policy
from policysearch.proxies.training import TorchProxy, TrainingConfig, check_device
from policysearch.seeding import derive_seed
from policysearch.transform import apply_drawn


@dataclass(frozen=True, slots=True)
class ImageProxyConfig(TrainingConfig):
    """Hyper-parameters of the image proxy.

    Attributes:
      width: Channels of the first layer.
    """

    width: int = 16

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
    check_device(device)
    return ImageProxyConfig(batch_size=50 if len(data) <= 1000 else 128, device=device)


def default_epochs(n_train: int) -> int:
    """Epochs of a full training: 60 for 1,000 samples.

    More for fewer (inverse root), fewer for more (inverse fourth root). Long enough for
    augmentation to pay off: short trainings prefer weak augmentation. After 107 epochs of 100
    digits a merged policy was 0.47 points above RandAugment, after 214 epochs 0.84 (12 draws).
    """
    ratio = 1000 / max(1, n_train)
    return int(min(250, max(10, round(60 * ratio ** (0.5 if ratio > 1 else 0.25)))))


def build_network(shape: tuple[int, ...], n_classes: int, width: int, seed: int) -> nn.Module:
    """Builds the network for images `(C, H, W)` or volumes `(C, D, H, W)`.

    3x3 convolutions (3x3x3 in volumes), halving down to 4 pixels, then global average pooling and
    a linear layer, as in the residual networks that people train. Weights come from `seed` alone
    (He initialisation); the global generator is neither read nor moved.
    """
    channels, *sides = shape
    side, is_flat = min(sides), len(sides) == 2
    pool: type[nn.Module] = nn.MaxPool2d if is_flat else nn.MaxPool3d
    layers: list[nn.Module] = [*_block(channels, width, is_flat)]
    if side >= 16:  # full resolution is where the time goes
        layers.append(pool(2))
        side //= 2
    n_in = width
    while True:
        n_out = min(2 * n_in, 8 * width)
        layers += _block(n_in, n_out, is_flat)
        n_in = n_out
        if side < 8:
            break
        layers.append(pool(2))
        side //= 2
    layers += [nn.AdaptiveAvgPool2d(1) if is_flat else nn.AdaptiveAvgPool3d(1), nn.Flatten()]
    head = nn.utils.skip_init(nn.Linear, n_in, n_classes)  # type: ignore[no-untyped-call]
    network = nn.Sequential(*layers, head)
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            fan_in = module.weight[0].numel()
            with torch.no_grad():
                module.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=rng)
                if module.bias is not None:
                    module.bias.zero_()
    return network


def _block(n_in: int, n_out: int, is_flat: bool) -> list[nn.Module]:
    layer, norm = (nn.Conv2d, nn.BatchNorm2d) if is_flat else (nn.Conv3d, nn.BatchNorm3d)
    convolution = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        layer, n_in, n_out, 3, padding=1, bias=False
    )
    return [convolution, norm(n_out), nn.ReLU()]


def _tensor(array: NDArray[Any]) -> Tensor:
    """The array as a tensor, without a copy where its memory may be written to."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def to_unit(x: Tensor) -> Tensor:
    """Images of any accepted dtype as float32 in [0, 1]."""
    return MODALITY.as_floats(x)


class ImageProxy(TorchProxy):
    """One training of the network on images under a policy (see `TorchProxy`)."""

    is_replayable = True

    def __init__(
        self, train: Dataset, policy: Policy, n_epochs: int, seed: int, config: ImageProxyConfig
    ) -> None:
        super().__init__(train, policy, n_epochs, seed, config)
        self._x = _tensor(train.x).to(self.device)
        unit = to_unit(self._x)
        dims = (0, *range(2, unit.ndim))
        self._mean = unit.mean(dim=dims, keepdim=True)
        self._std = unit.std(dim=dims, keepdim=True).clamp_min(1e-3)
        self._layout = torch.channels_last if unit.ndim == 4 else torch.channels_last_3d
        self.network = self.build(train, derive_seed(seed, "weights"), config)
        self.network.to(self.device).to(memory_format=self._layout)  # type: ignore[call-overload]

    def build(self, train: Dataset, seed: int, config: ImageProxyConfig) -> nn.Module:
        """The network before training, for the images and classes of a dataset."""
        return build_network(train.x.shape[1:], len(train.classes), config.width, seed)

    def inputs(self, data: Dataset) -> Tensor:
        """Images as floats in [0, 1] (see `TorchProxy`)."""
        return to_unit(_tensor(data.x).to(self.device))

    def augmented(
        self, data: Dataset, drawn: Drawn, policy: Policy, company: Company | None = None
    ) -> Dataset:
        """Augmented images of the same dtype (see `TorchProxy`)."""
        # Adversarial operations ask the network, which is where the images have to be then.
        x = _tensor(data.x) if company is None else _tensor(data.x).to(self.device)
        out = apply_drawn(x, drawn, policy, company=company)
        return dataclasses.replace(data, x=out.cpu().numpy())

    def training_inputs(
        self, indices: NDArray[np.int64], drawn: Drawn, company: Company | None = None
    ) -> Tensor:
        """Augmented on the device, where all training images lie (see `TorchProxy`)."""
        chosen = torch.from_numpy(indices).to(self.device)
        return to_unit(apply_drawn(self._x[chosen], drawn, self._policy, company=company))

    def logits(self, x: Tensor) -> Tensor:
        """What the network says of images in [0, 1] (see `TorchProxy`)."""
        # Channels last: convolutions take about half the time on a CPU.
        normal = ((x - self._mean) / self._std).contiguous(memory_format=self._layout)
        return super().logits(normal)
