"""A policy on batches of waveforms, in an ordinary training loop.

A policy is in hertz, seconds and decibels, so it has to be told the sample rate: once, when it is
loaded. Waveforms are augmented before anything is computed from them; `lengths` says where the
padding of each clip begins.

Run with: python examples/train_audio.py [policy.json]
"""

import math
import sys

import torch
from torch import Tensor, nn

import policysearch

SAMPLE_RATE = 8000


def whistles(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rising, falling and level whistles in noise: clips `(n, 1, T)`, lengths, classes."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (n,), generator=rng)
    lengths = torch.randint(2000, 4001, (n,), generator=rng)
    seconds = torch.arange(4000) / SAMPLE_RATE
    start = 1400 + 600 * torch.rand(n, 1, generator=rng)
    slope = torch.tensor([2500.0, -2500.0, 0.0])[y][:, None]
    wave = 0.3 * torch.sin(2 * math.pi * (start * seconds + slope * seconds**2 / 2))
    x = wave + 0.1 * torch.randn(n, 4000, generator=rng)
    return (x * (torch.arange(4000) < lengths[:, None]))[:, None], lengths, y


def spectrogram(x: Tensor) -> Tensor:
    """Logarithm of the power of 64 bands: `(n, 1, 64, frames)`."""
    frames = torch.stft(x[:, 0], 256, 128, window=torch.hann_window(256), return_complex=True)
    power = frames.abs().square()[:, 1:].unflatten(1, (64, 2)).mean(dim=2)
    return (power + 1e-4).log()[:, None]


def main(policy: str = "audiomentations", epochs: int = 30) -> float:
    """Trains a small network; returns its accuracy on whistles it has not heard."""
    torch.manual_seed(0)
    x, lengths, y = whistles(90, seed=0)
    augment = policysearch.load_policy(policy, seed=0, sample_rate=SAMPLE_RATE)  # an nn.Module
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(30):
            waves = augment(x[rows], lengths=lengths[rows])
            loss = nn.functional.cross_entropy(model(spectrogram(waves)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    model.eval()
    unheard, _, classes = whistles(300, seed=1)
    with torch.no_grad():
        is_right = model(spectrogram(unheard)).argmax(dim=1) == classes
    accuracy = is_right.float().mean().item()
    print(f"{accuracy:.1%} of {len(is_right)} whistles")
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:2])
