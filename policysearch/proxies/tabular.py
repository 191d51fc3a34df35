"""The proxy of rows of a table: a small network of two hidden layers.

Made for two cores: a training on 50 rows takes a few tenths of a second. Scaling, encoding and all
that operations know of the columns come from its own training rows.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policysearch.company import Company
from policysearch.data.columns import categorical_of
from policysearch.data.dataset import Dataset
from policysearch.draws import Drawn
from policysearch.modalities.tabular import TabularSettings
from policysearch.ops.table_facts import table_facts
from policysearch.policy import Policy
from policysearch.proxies.table_encoding import TableEncoding
from policysearch.proxies.training import TorchProxy, TrainingConfig, check_device
from policysearch.seeding import derive_seed
from policysearch.transform import apply_drawn


@dataclass(frozen=True, slots=True)
class TabularProxyConfig(TrainingConfig):
    """Hyper-parameters of the proxy of rows.

    Attributes:
      learning_rate: Peak of the one-cycle schedule (Adam).
      width: Units of each hidden layer.
    """

    learning_rate: float = 5e-3
    weight_decay: float = 1e-3
    width: int = 64

    def default_epochs(self, n_train: int) -> int:
        """Epochs of a full training: 80 for 50 rows, fewer for more (inverse square root)."""
        return int(min(100, max(15, round(80 * (50 / max(1, n_train)) ** 0.5))))

    def make(self, train: Dataset, policy: Policy, n_epochs: int, seed: int) -> TabularProxy:
        """A training of the network (see `TabularProxy`)."""
        return TabularProxy(train, policy, n_epochs, seed, self)


def config_for(data: Dataset, device: str = "cpu") -> TabularProxyConfig:
    """Sizes the proxy to the data: at least four steps an epoch, batches of 8 to 128.

    Raises:
      InvalidValueError: When this torch cannot compute on the device.
    """
    check_device(device)
    return TabularProxyConfig(batch_size=min(128, max(8, len(data) // 4)), device=device)


class TabularProxy(TorchProxy):
    """One training of the network on rows under a policy (see `TorchProxy`)."""

    def __init__(
        self, train: Dataset, policy: Policy, n_epochs: int, seed: int, config: TabularProxyConfig
    ) -> None:
        super().__init__(train, policy, n_epochs, seed, config)
        self._config = config
        self.encoding = TableEncoding(train)
        facts = table_facts(train.x, categorical_of(train.columns or ()), train.y)
        self._settings = TabularSettings(facts=facts)
        self.network = _network(
            self.encoding.width, config.width, train.n_classes, derive_seed(seed, "weights")
        ).to(self.device)

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam, which does not mind inputs that are rarely set."""
        return torch.optim.Adam(
            self.network.parameters(),
            lr=self._config.learning_rate,
            weight_decay=self._config.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def inputs(self, data: Dataset) -> Tensor:
        """Encoded rows (see `TorchProxy`)."""
        return torch.from_numpy(self.encoding.encode(data.x)).to(self.device)

    def augmented(
        self, data: Dataset, drawn: Drawn, policy: Policy, company: Company | None = None
    ) -> Dataset:
        """Augmented rows; classes stay (see `TorchProxy`)."""
        x = torch.from_numpy(data.x)
        out = apply_drawn(x, drawn, policy, y=data.y, settings=self._settings, company=company)
        return dataclasses.replace(data, x=out.numpy())


def _network(n_inputs: int, width: int, n_classes: int, seed: int) -> nn.Sequential:
    """Two hidden layers; weights from the seed alone (He initialisation)."""
    sizes = (n_inputs, width, width, n_classes)
    rng = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, n_in, n_out
        )
        with torch.no_grad():
            linear.weight.normal_(0.0, (2.0 / n_in) ** 0.5, generator=rng)
            linear.bias.zero_()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
