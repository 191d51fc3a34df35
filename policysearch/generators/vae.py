"""A small conditional variational autoencoder."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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

_LEARNING_RATE = 3e-3
# Of what is decoded, in variances of a channel. With 0.1, a tenth of the 8 x 8 digits drawn at
# temperature 1 look like another class to their nearest neighbour, with 0.3 one in forty.
_MIN_VARIANCE = 0.3


class VAEGenerator(EncodedGenerator):
    """Encoder and decoder of one hidden layer each, both told the class.

    References:
      Kingma & Welling, Auto-Encoding Variational Bayes, 2014 (arXiv:1312.6114). One variance of
      what is decoded, the best one in closed form: Rybkin, Daniilidis & Levine, Simple and
      Effective VAE Training with Calibrated Decoders, 2021 (arXiv:2006.13202).
    """

    kind = "vae"
    has_latents = True

    def __init__(self, frame: Frame, tensors: Tensors) -> None:
        super().__init__(frame, tensors)
        self._encoder = layers_from_tensors("encoder", 2, tensors)
        self._decoder = layers_from_tensors("decoder", 2, tensors)

    @property
    def n_latents(self) -> int:
        """Length of a latent."""
        return LATENT

    @classmethod
    def own_layout(cls, width: int, n_classes: int) -> Layout:
        """Weights of both networks (see `EncodedGenerator`)."""
        encoder, decoder = _sizes(width, n_classes)
        return layers_layout("encoder", encoder) | layers_layout("decoder", decoder)

    def _sample(
        self,
        labels: NDArray[np.int64],
        temperature: NDArray[np.float64],
        seeds: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        z = each_row(
            lambda scale, seed: scale * normals(seed[None], LATENT)[0],
            torch.from_numpy(temperature).to(torch.float32),
            torch.from_numpy(seeds),
        )
        return self._decode(z.numpy(), labels)

    def _encode(self, x: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        inputs = self._with_class(self.encoding.encode(x), labels)
        z = each_row(lambda row: run_layers(self._encoder, row)[:LATENT], inputs)
        return np.asarray(z.numpy())

    def _decode(self, z: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        inputs = self._with_class(torch.from_numpy(z), labels)
        return self.encoding.decode(each_row(lambda row: run_layers(self._decoder, row), inputs))

    def _with_class(self, rows: Tensor, labels: NDArray[np.int64]) -> Tensor:
        return torch.cat((rows, one_hot(torch.from_numpy(labels), self.n_classes)), dim=1)


def fit_vae(data: FitData, seed: int, steps: int | None = None) -> VAEGenerator:
    """Trains encoder and decoder; neither reads nor moves the global random state.

    Args:
      data: Training samples.
      seed: Of weights, batches and noise.
      steps: Of the optimiser; `None`: by the number of samples.
    """
    encoding = Encoding.fit(data)
    x = encoding.encode(data.x)
    y = one_hot(torch.from_numpy(data.y), data.n_classes)
    rng = torch.Generator().manual_seed(derive_seed(seed, "vae"))
    encoder, decoder = (make_layers(s, rng) for s in _sizes(encoding.width, data.n_classes))
    optimizer = torch.optim.Adam(parameters(encoder, decoder), _LEARNING_RATE, fused=True)
    with torch.enable_grad():
        for _ in range(n_steps(len(x)) if steps is None else steps):
            rows = batch(len(x), rng)
            optimizer.zero_grad()
            _loss(encoder, decoder, x[rows], y[rows], rng).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    tensors = (layers_to_tensors("encoder", encoder), layers_to_tensors("decoder", decoder))
    return VAEGenerator(data.frame, {**encoding.tensors(), **tensors[0], **tensors[1]})


def _sizes(width: int, n_classes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (width + n_classes, HIDDEN, 2 * LATENT), (LATENT + n_classes, HIDDEN, width)


def _loss(encoder: Layers, decoder: Layers, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
    """The negative bound on the likelihood of a batch, per sample, without constants."""
    mean, log_variance = run_layers(encoder, torch.cat((x, y), dim=1)).chunk(2, dim=1)
    log_variance = log_variance.clamp(-10.0, 10.0)
    noise = torch.randn(mean.shape, generator=rng)
    z = mean + (0.5 * log_variance).exp() * noise
    error = (run_layers(decoder, torch.cat((z, y), dim=1)) - x).square().mean()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=1)
    # Below the smallest variance the error counts as it is, above it by its logarithm.
    variance = error.detach().clamp_min(_MIN_VARIANCE)
    return 0.5 * x.shape[1] * error / variance + divergence.mean()
