"""Trains a small network on time series without and with a policy; prints both test accuracies.

    python examples/train_series.py
    python examples/train_series.py --policy runs/ArrowHead-1/policy.json --epochs 100

The data are made here: 40 series to train on and 400 to test on, of three channels that rise
slowly and fall fast or the other way round, at any speed, of unequal lengths and with noise. The
two lines that bring in the policy are marked with (1) and (2).
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

import policysearch

LONGEST = 60


def waves(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Padded series `(n, 3, 60)`, their lengths and their classes."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    lengths = torch.randint(LONGEST // 2, LONGEST + 1, (n,), generator=rng)
    speed = 2.0 + 3.0 * torch.rand(n, 1, 1, generator=rng)
    phase = torch.rand(n, 3, 1, generator=rng)
    height = 0.5 + torch.rand(n, 3, 1, generator=rng)
    time = torch.arange(LONGEST) / lengths[:, None, None]
    teeth = (speed * time + phase) % 1.0 - 0.5
    x = height * torch.where(y == 1, 1.0, -1.0)[:, None, None] * teeth
    x += 0.1 * torch.randn(x.shape, generator=rng)
    x[(time >= 1).expand_as(x)] = 0.0
    return x, lengths, y


def network() -> nn.Module:
    """Two convolutions, the mean over time, a linear layer."""
    return nn.Sequential(
        nn.Conv1d(3, 16, 7, padding=3),
        nn.ReLU(),
        nn.Conv1d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 2),
    )


def train(args: argparse.Namespace, policy: str) -> nn.Module:
    """An ordinary training; its last epoch counts."""
    torch.manual_seed(args.seed)
    x, lengths, y = waves(40, seed=args.seed)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    augment = policysearch.load_policy(policy, seed=args.seed)  # (1)
    for epoch in range(args.epochs):
        for rows in torch.randperm(len(x)).split(10):
            # The numbers of the samples make it reproducible, whatever the order of batches.
            batch = augment(x[rows], index=rows, epoch=epoch, lengths=lengths[rows])  # (2)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch), y[rows]).backward()
            optimizer.step()
    return model


def accuracy(model: nn.Module) -> float:
    """Share of new series that the model labels right."""
    x, _, y = waves(400, seed=1_000_000)
    model.eval()
    with torch.inference_mode():
        return float((model(x).argmax(1) == y).double().mean())


def main() -> None:
    """Reads the options, trains twice, prints two numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--policy", default="default-series", help="a policy.json, a run directory, or a name"
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(1)
    print(f"without policy  {accuracy(train(args, 'none')):6.1%}")
    print(f"with policy     {accuracy(train(args, args.policy)):6.1%}   ({args.policy})")


if __name__ == "__main__":
    main()
