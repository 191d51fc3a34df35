"""The user's own network as proxy, from scratch or from a pretrained checkpoint.

A policy that helps a small network which starts from nothing need not help one that has seen
millions of images. Fine-tuning moves weights less and for a shorter time: the learning rate is a
tenth, the length a third of those from scratch, but never so short that a fresh head cannot learn.

References:
  Kornblith, Shlens & Le, Do Better ImageNet Models Transfer Better?, 2019 (arXiv:1805.08974),
    appendix A.5: all layers are fine-tuned with SGD and Nesterov momentum; the best learning
    rates lie about 0.01.
  Kolesnikov et al., Big Transfer, 2020 (arXiv:1912.11370), section 3.3: 500 steps for data of
    fewer than 20,000 samples.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from policysearch.data.dataset import Dataset
from policysearch.errors import InvalidValueError
from policysearch.policy import Policy
from policysearch.proxies.checkpoint import Weights, fit_weights, read_checkpoint
from policysearch.proxies.image import ImageProxy, ImageProxyConfig, config_for, default_epochs
from policysearch.seeding import derive_seed
from policysearch.user_code import find_function, importable

Normalization = Literal["dataset", "imagenet", "none"]

LEARNING_RATE, FINE_TUNING_RATE = 0.1, 0.01
#: Share of the epochs from scratch that fine-tuning takes, and its fewest steps.
FINE_TUNING_SHARE, LEAST_STEPS = 1 / 3, 500
#: Mean and standard deviation of ImageNet's channels, as torchvision's weights expect them.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, slots=True)
class OwnNetworkConfig(ImageProxyConfig):
    """Hyper-parameters of a training of the user's network.

    Attributes:
      network: Name of the factory (see `user_code.find_function`).
      weights: Entries of the checkpoint that fit; empty: from scratch.
      normalization: What images are normalised with: their own mean and standard deviation,
        ImageNet's, or nothing (they stay in [0, 1]).
    """

    network: str = ""
    weights: Weights = field(default_factory=dict)
    normalization: Normalization = "dataset"

    def default_epochs(self, n_train: int) -> int:
        """As many as from scratch, or a third where weights are there; at least 500 steps."""
        whole = default_epochs(n_train)
        if not self.weights:
            return whole
        for_steps = math.ceil(LEAST_STEPS / math.ceil(max(1, n_train) / self.batch_size))
        return min(whole, max(for_steps, round(FINE_TUNING_SHARE * whole)))

    def make(self, train: Dataset, policy: Policy, n_epochs: int, seed: int) -> OwnNetworkProxy:
        """A training of the user's network (see `OwnNetworkProxy`)."""
        return OwnNetworkProxy(train, policy, n_epochs, seed, self)


class OwnNetworkProxy(ImageProxy):
    """One training of the user's network under a policy (see `TorchProxy`).

    What the network draws by itself, weights that are not in the checkpoint and dropout, follows
    from the seed; the global generator is put back as it was.
    """

    is_replayable = False  # nobody knows what it does

    def __init__(
        self, train: Dataset, policy: Policy, n_epochs: int, seed: int, config: OwnNetworkConfig
    ) -> None:
        super().__init__(train, policy, n_epochs, seed, config)
        if config.normalization == "imagenet":
            mean, std = (torch.tensor(v, device=self.device)[:, None, None] for v in _IMAGENET)
            self._mean, self._std = mean[None], std[None]
        elif config.normalization == "none":
            self._mean, self._std = torch.zeros_like(self._mean), torch.ones_like(self._std)

    def build(self, train: Dataset, seed: int, config: ImageProxyConfig) -> nn.Module:
        """The user's network with the weights of the checkpoint (see `ImageProxy`)."""
        assert isinstance(config, OwnNetworkConfig)
        network = build_own(config.network, len(train.classes), train.x.shape[1], seed)
        network.load_state_dict(config.weights, strict=False)
        return network

    def fit(self, start: Mapping[str, Tensor] | None = None) -> None:
        """Trains to the last epoch (see `TorchProxy`)."""
        with _seeded(derive_seed(self._seed, "network"), self.device):
            super().fit(start)

    def fit_until(self, end: int, checkpoint: bytes | None = None) -> bytes:
        """Trains a segment, which draws by itself from its own seed (see `TorchProxy`)."""
        with _seeded(derive_seed(self._seed, "network", end), self.device):
            return super().fit_until(end, checkpoint)


def own_network(
    data: Dataset,
    device: str,
    network: str,
    checkpoint: str | None,
    learning_rate: float | None,
    normalization: Normalization,
) -> tuple[OwnNetworkConfig, list[str]]:
    """Settings for a user's network, checked on two images, and what a user should know.

    Raises:
      InvalidValueError: When the network cannot be built, does not take the images, or does not
        fit the checkpoint.
      DataError: When the checkpoint cannot be read.
    """
    if data.modality != "image":
        raise InvalidValueError(f"`network` is for images, the data are {data.modality}.")
    if data.x.ndim != 4:
        raise InvalidValueError("`network` is for flat images, the data are volumes.")
    n_channels = data.x.shape[1]
    if normalization == "imagenet" and n_channels != 3:
        raise InvalidValueError(
            f"`normalization` 'imagenet' needs images of 3 channels, got {n_channels}."
        )
    sized = config_for(data, device)
    with contextlib.redirect_stdout(sys.stderr):  # a user's function may print
        built = build_own(network, len(data.classes), n_channels, 0)
    weights: Weights = {}
    notices: list[str] = []
    if checkpoint is not None:
        fitted = fit_weights(read_checkpoint(Path(checkpoint)), built)
        weights, notices = fitted.weights, fitted.notices(built)
    rate = FINE_TUNING_RATE if weights else LEARNING_RATE
    config = OwnNetworkConfig(
        batch_size=sized.batch_size,
        learning_rate=rate if learning_rate is None else learning_rate,
        device=device,
        network=network,
        weights=weights,
        normalization=normalization,
    )
    _check_output(config, data)
    return config, notices


def build_own(name: str, n_classes: int, n_channels: int, seed: int) -> nn.Module:
    """Calls the user's factory; fresh weights follow from the seed.

    Raises:
      InvalidValueError: When it raises or gives no network.
    """
    factory = find_function(name)
    place = name.rpartition(":")[0]
    folder = Path(place).parent if place.endswith(".py") else None
    with importable(), importable(folder), _seeded(seed, torch.device("cpu")):
        try:
            network = factory(n_classes=n_classes, n_channels=n_channels)
        except Exception as error:
            raise InvalidValueError(
                f"`network` '{name}' raised {type(error).__name__}: {error}. It is called as "
                f"factory(n_classes={n_classes}, n_channels={n_channels})."
            ) from error
    if not isinstance(network, nn.Module):
        raise InvalidValueError(
            f"`network` '{name}' must give a torch.nn.Module, got {type(network).__name__}."
        )
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in network.parameters()):
        raise InvalidValueError(
            f"`network` '{name}' has lazy layers: run it on one sample within the function."
        )
    if not any(p.requires_grad for p in network.parameters()):
        raise InvalidValueError(f"`network` '{name}' gives a network without trainable weights.")
    return network


def _check_output(config: OwnNetworkConfig, data: Dataset) -> None:
    two = data.take(np.arange(min(2, len(data))))
    expected = (len(two), len(data.classes))
    try:
        found = config.make(two, Policy(modality="image"), 1, 0).predict(two).shape
    except Exception as error:
        raise InvalidValueError(
            f"`network` '{config.network}' does not take images of shape {two.x.shape[1:]}: "
            f"{type(error).__name__}: {str(error)[:300]}. Give --image-size, or change it."
        ) from error
    if found != expected:
        raise InvalidValueError(
            f"`network` '{config.network}' must give logits of shape {expected}, got {found}."
        )


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Lets torch's generators begin at a seed, and puts them back."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed % 2**63)
        yield
