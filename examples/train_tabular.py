"""Trains a small network on a table without and with a policy; prints both test accuracies.

    python examples/train_tabular.py
    python examples/train_tabular.py --policy runs/wine-1/policy.json --epochs 100

The data are scikit-learn's breast cancer table: 50 rows to train on and the other 519 to test on.
The three lines that bring in the policy are marked with (1), (2) and (3).
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

import policysearch

N_TRAIN = 50


def table() -> tuple[Tensor, Tensor]:
    """Rows `(569, 30)` in a fixed random order, and their classes."""
    x, y = load_breast_cancer(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    return torch.from_numpy(x)[order].float(), torch.from_numpy(y)[order].long()


def train(args: argparse.Namespace, policy: str) -> float:
    """An ordinary training; returns the share of test rows that its last epoch labels right."""
    torch.manual_seed(args.seed)
    x, y = table()
    x_test, y_test, x, y = x[N_TRAIN:], y[N_TRAIN:], x[:N_TRAIN], y[:N_TRAIN]
    mean, std = x.mean(dim=0), x.std(dim=0)
    model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    model.append(nn.Linear(64, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    augment = policysearch.load_policy(policy, seed=args.seed)  # (1) categorical=[...] if any
    augment.fit(x, y)  # (2) it measures by the training rows
    for epoch in range(args.epochs):
        for rows in torch.randperm(len(x)).split(10):
            # Raw rows, before scaling; their numbers make it reproducible.
            batch, target = augment(x[rows], y[rows], index=rows, epoch=epoch)  # (3)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model((batch - mean) / std), target).backward()
            optimizer.step()
    with torch.inference_mode():
        return float((model((x_test - mean) / std).argmax(1) == y_test).double().mean())


def main() -> None:
    """Reads the options, trains twice, prints two numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--policy", default="smote", help="a policy.json, a run directory, or a name"
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(1)
    print(f"without policy  {train(args, 'none'):6.1%}")
    print(f"with policy     {train(args, args.policy):6.1%}   ({args.policy})")


if __name__ == "__main__":
    main()
