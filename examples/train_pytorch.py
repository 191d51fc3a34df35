"""Trains a small PyTorch model without and with a policy, and prints both test accuracies.

    python examples/train_pytorch.py
    python examples/train_pytorch.py --policy trivialaugment-wide
    python examples/train_pytorch.py --policy runs/digits/policy.json --epochs 150 --workers 2

The data are 100 of scikit-learn's handwritten digits to train on and 800 others to test on. The
two lines that bring in the policy are marked with (1) and (2).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset

import policysearch


def digits() -> tuple[TensorDataset, TensorDataset]:
    """100 images to train on and 800 to test on: uint8 `(1, 8, 8)`, with their labels."""
    source = load_digits()
    x = torch.from_numpy(source.images * (255 / 16)).round().to(torch.uint8)[:, None]
    y = torch.from_numpy(source.target)
    train, test = train_test_split(
        range(len(x)), train_size=100, test_size=800, stratify=source.target, random_state=0
    )
    return TensorDataset(x[train], y[train]), TensorDataset(x[test], y[test])


def network() -> nn.Module:
    """Four convolutions and a linear layer."""

    def block(n_in: int, n_out: int) -> list[nn.Module]:
        convolution = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(n_out), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16),
        *block(16, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        *block(64, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def train(data: Dataset, args: argparse.Namespace) -> nn.Module:
    """An ordinary training: it knows nothing of policies, and its last epoch counts."""
    torch.manual_seed(args.seed)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    # An order with a generator of its own does not depend on the number of workers either.
    order = RandomSampler(data, generator=torch.Generator().manual_seed(args.seed))
    loader = DataLoader(
        data,
        batch_size=50,
        sampler=order,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=args.epochs * len(loader)
    )
    for _ in range(args.epochs):
        for x, y in loader:
            # Per batch instead of per sample, for tensors on any device: leave the dataset as it
            # is, make `augment = policysearch.load_policy(args.policy, seed=args.seed)` once, and
            # write here `x = augment(x)`. Every sample of the batch gets its own operations.
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x / 255), y)
            loss.backward()
            optimizer.step()
            schedule.step()
    return model


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """Share of images that the model labels right."""
    x, y = data.tensors
    model.eval()
    with torch.inference_mode():
        return float((model(x / 255).argmax(1) == y).double().mean())


def main() -> None:
    """Reads the options, trains twice, prints two numbers and their difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--policy",
        default=str(Path(__file__).with_name("digits-policy.json")),
        help="a policy.json, a run directory, or a shipped name such as trivialaugment-wide",
    )
    parser.add_argument("--data", default="digits", choices=["digits"])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    args = parser.parse_args()

    torch.set_num_threads(1)  # images this small are not worth a second thread
    train_data, test_data = digits()
    transform = policysearch.load_policy(args.policy, seed=args.seed)  # (1)
    augmented = policysearch.AugmentedDataset(train_data, transform, n_epochs=args.epochs)  # (2)

    without = accuracy(train(train_data, args), test_data)
    print(f"without policy  {without:6.1%}")
    with_policy = accuracy(train(augmented, args), test_data)
    print(f"with policy     {with_policy:6.1%}   ({args.policy})")
    print(f"difference      {100 * (with_policy - without):+5.1f} points")


if __name__ == "__main__":
    main()
