"""Small networks as lists of weights: made from a seed, trained, saved and run row by row."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from policysearch.generators.base import Layout, Tensors

#: Units of a hidden layer, and length of a latent.
HIDDEN, LATENT = 256, 16
_BATCH = 64
_SLOPE = 0.2

Layers = list[tuple[Tensor, Tensor]]


def make_layers(sizes: tuple[int, ...], rng: torch.Generator) -> Layers:
    """Weights `(out, in)` and biases `(out,)` from the generator alone (He initialisation)."""
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        weight = torch.empty(n_out, n_in).normal_(0.0, (2.0 / n_in) ** 0.5, generator=rng)
        layers.append((weight.requires_grad_(), torch.zeros(n_out).requires_grad_()))
    return layers


def run_layers(layers: Layers, x: Tensor) -> Tensor:
    """Output of the network for inputs `(..., in)`; leaky ReLU between the layers."""
    for weight, bias in layers[:-1]:
        x = F.leaky_relu(F.linear(x, weight, bias), _SLOPE)
    return F.linear(x, *layers[-1])


def parameters(*networks: Layers) -> list[Tensor]:
    """What an optimiser moves."""
    return [part for layers in networks for layer in layers for part in layer]


def one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """Labels `(n,)` as float32 `(n, n_classes)`."""
    return F.one_hot(labels, n_classes).to(torch.float32)


def n_steps(n_samples: int) -> int:
    """Steps of a training: 60 passes, but no fewer than 400 and no more than 3,000."""
    return min(3000, max(400, 60 * n_samples // _BATCH))


def batch(n_samples: int, rng: torch.Generator) -> Tensor:
    """Samples of a step: `(64,)`, int64."""
    return torch.randint(n_samples, (_BATCH,), generator=rng)


def layers_to_tensors(name: str, layers: Layers) -> Tensors:
    """What `layers_from_tensors` needs."""
    found = {}
    for i, (weight, bias) in enumerate(layers):
        found[f"{name}.{i}.weight"] = weight.detach().numpy()
        found[f"{name}.{i}.bias"] = bias.detach().numpy()
    return found


def layers_from_tensors(name: str, n_layers: int, tensors: Tensors) -> Layers:
    """Layers that were saved, in memory of torch's own, whose alignment decides on rounding."""
    return [
        (
            torch.from_numpy(tensors[f"{name}.{i}.weight"]).clone(),
            torch.from_numpy(tensors[f"{name}.{i}.bias"]).clone(),
        )
        for i in range(n_layers)
    ]


def layers_layout(name: str, sizes: tuple[int, ...]) -> Layout:
    """Names and shapes of the tensors of a network."""
    layout: Layout = {}
    for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        layout[f"{name}.{i}.weight"] = ("float32", (n_out, n_in))
        layout[f"{name}.{i}.bias"] = ("float32", (n_out,))
    return layout
