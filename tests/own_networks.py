"""Networks of a user's own, as tests name them."""

import torch
from torch import nn


def small(n_classes: int, n_channels: int) -> nn.Module:
    """Batch normalisation, dropout and a head: what pretrained networks have."""
    return nn.Sequential(
        nn.Conv2d(n_channels, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(128, n_classes),
    )


def other(n_classes: int, n_channels: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(n_channels * 64, n_classes))


def fails(n_classes: int, n_channels: int) -> nn.Module:
    raise KeyError("width")


def no_network(n_classes: int, n_channels: int) -> int:
    return n_classes


def frozen(n_classes: int, n_channels: int) -> nn.Module:
    return small(n_classes, n_channels).requires_grad_(False)


def wrong_classes(n_classes: int, n_channels: int) -> nn.Module:
    return small(n_classes + 1, n_channels)


def for_large_images(n_classes: int, n_channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(n_channels, 16, 3, padding=1),
        nn.Conv2d(16, 4, 11),
        nn.Flatten(),
        nn.Linear(4, n_classes),
    )


def lazy(n_classes: int, n_channels: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(n_classes))


def draws_globally(n_classes: int, n_channels: int) -> nn.Module:
    torch.rand(3)
    return small(n_classes, n_channels)
