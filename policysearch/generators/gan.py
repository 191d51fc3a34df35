"""A small conditional generative adversarial network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from policysearch.generators.base import Layout, Tensors, each_row
from policysearch.generators.encoding import EncodedGenerator, Encoding
from policysearch.generators.networks import (
    HIDDEN,
    LATENT,
    Layers,
    batch,
    layers_from_tensors,
    layers_layout,
    layers_to_tensors,
    make_layers,
    n_steps,
    one_hot,
    parameters,
    run_layers,
)
from policysearch.generators.samples import FitData, Frame
from policysearch.ops.noise import normals
from policysearch.seeding import derive_seed

_LEARNING_RATE = 1e-3
_BETAS = (0.5, 0.99)
_PENALTY = 1.0


class GANGenerator(EncodedGenerator):
    """A network of two hidden layers from noise and class to a sample.

    Noise of 0 gives one sample of the class, by no means its average.

    References:
      Mirza & Osindero, Conditional Generative Adversarial Nets, 2014 (arXiv:1411.1784). The
      penalty R1 on the slope at real samples: Mescheder, Geiger & Nowozin, Which Training Methods
      for GANs do actually Converge?, 2018 (arXiv:1801.04406).
    """

    kind = "gan"

    def __init__(self, frame: Frame, tensors: Tensors) -> None:
        super().__init__(frame, tensors)
        self._maker = layers_from_tensors("maker", 3, tensors)

    @classmethod
    def own_layout(cls, width: int, n_classes: int) -> Layout:
        """Weights of the network that makes samples (see `EncodedGenerator`)."""
        return layers_layout("maker", _maker_sizes(width, n_classes))

    def _sample(
        self,
        labels: NDArray[np.int64],
        temperature: NDArray[np.float64],
        seeds: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        made = each_row(
            lambda scale, seed, y: run_layers(
                self._maker, torch.cat((scale * normals(seed[None], LATENT)[0], y))
            ),
            torch.from_numpy(temperature).to(torch.float32),
            torch.from_numpy(seeds),
            one_hot(torch.from_numpy(labels), self.n_classes),
        )
        return self.encoding.decode(made)


def fit_gan(data: FitData, seed: int, steps: int | None = None) -> GANGenerator:
    """Trains a maker against a judge; neither reads nor moves the global random state.

    Args:
      data: Training samples.
      seed: Of weights, batches and noise.
      steps: Of the optimiser; `None`: by the number of samples.
    """
    encoding = Encoding.fit(data)
    x = encoding.encode(data.x)
    y = one_hot(torch.from_numpy(data.y), data.n_classes)
    rng = torch.Generator().manual_seed(derive_seed(seed, "gan"))
    n_inputs = encoding.width + data.n_classes
    maker = make_layers(_maker_sizes(encoding.width, data.n_classes), rng)
    judge = make_layers((n_inputs, HIDDEN, HIDDEN, 1), rng)
    make, judging = (
        torch.optim.Adam(parameters(network), _LEARNING_RATE, _BETAS, fused=True)
        for network in (maker, judge)
    )
    with torch.enable_grad():
        for _ in range(n_steps(len(x)) if steps is None else steps):
            rows = batch(len(x), rng)
            classes = y[rows]
            noise = torch.randn(len(rows), LATENT, generator=rng)
            made = run_layers(maker, torch.cat((noise, classes), dim=1))
            _step(judging, judge, _judge_loss(judge, x[rows], made.detach(), classes))
            verdict = run_layers(judge, torch.cat((made, classes), dim=1))
            _step(make, maker, F.softplus(-verdict).mean())
    return GANGenerator(data.frame, {**encoding.tensors(), **layers_to_tensors("maker", maker)})


def _maker_sizes(width: int, n_classes: int) -> tuple[int, ...]:
    return LATENT + n_classes, HIDDEN, HIDDEN, width


def _judge_loss(judge: Layers, real: Tensor, made: Tensor, classes: Tensor) -> Tensor:
    """Non-saturating loss, and the squared slope at real samples."""
    real = real.requires_grad_()
    on_real = run_layers(judge, torch.cat((real, classes), dim=1))
    on_made = run_layers(judge, torch.cat((made, classes), dim=1))
    (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
    penalty = 0.5 * _PENALTY * slope.square().sum(dim=1).mean()
    return F.softplus(-on_real).mean() + F.softplus(on_made).mean() + penalty


def _step(optimizer: torch.optim.Optimizer, network: Layers, loss: Tensor) -> None:
    """One step of one network alone."""
    moved = parameters(network)
    for part, gradient in zip(moved, torch.autograd.grad(loss, moved), strict=True):
        part.grad = gradient
    optimizer.step()
