"""Clips to test audio operations with, and what to measure on them."""

import numpy as np
import torch
from torch import Tensor

RATE = 8000


def voices(n: int, channels: int = 1, length: int = 2000, dtype=torch.float32) -> Tensor:
    """Harmonics that die away above 1 kHz, swelling and fading, with a little noise."""
    rng = np.random.default_rng([n, channels, length])
    time = np.arange(length) / RATE
    pitch = rng.uniform(100, 250, (n, 1, 1, 1)) * np.arange(1, 17)[:, None]
    weight = np.exp(-((pitch / 1000) ** 2)) * rng.uniform(0.5, 1.5, pitch.shape)
    tones = np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6, (n, channels, 16, 1)))
    envelope = np.sin(np.pi * (time + 1 / RATE) / (length + 1) * RATE) ** 2
    x = (weight * tones).sum(axis=2) * envelope
    x = 0.5 * x / np.abs(x).max() + rng.normal(0, 0.003, x.shape)
    return torch.from_numpy(x).to(dtype)


def tone(hertz: float, length: int = RATE, amplitude: float = 0.3) -> Tensor:
    """A sine as a batch of one clip."""
    time = torch.arange(length, dtype=torch.float64) / RATE
    return (amplitude * torch.sin(2 * torch.pi * hertz * time)).to(torch.float32)[None, None]


def peak_hertz(x: Tensor) -> float:
    """Frequency of the highest peak of a clip `(1, 1, T)`, to a fraction of a Hz."""
    wave = x[0, 0].to(torch.float64)
    wave = wave * torch.hann_window(len(wave), dtype=torch.float64)
    size = 1 << 18
    return float(torch.fft.rfft(wave, n=size).abs().argmax()) * RATE / size


def decibels(ratio: float) -> float:
    """A ratio of powers in dB."""
    return 10 * float(np.log10(ratio))


def displacement(x: Tensor, y: Tensor) -> float:
    """How far the energy of clips has moved, in time and in frequency: fractions of the whole.

    Distances between cumulated energies (Wasserstein): they grow with every displacement, where
    a difference of samples knows no more than that waves have fallen out of step.
    """
    in_time = [wave.square().sum(dim=1).cumsum(1) for wave in (x, y)]
    in_frequency = [torch.fft.rfft(wave.sum(dim=1)).abs().square().cumsum(1) for wave in (x, y)]
    total = 0.0
    for before, after in (in_time, in_frequency):
        distance = (before / before[:, -1:] - after / after[:, -1:].clamp_min(1e-12)).abs()
        total += float(distance.mean())
    return total
