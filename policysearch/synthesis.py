"""Operations that draw from a generator: samples that are made, or moved among its latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policysearch.errors import GeneratorError, InvalidValueError
from policysearch.generators.base import Generator
from policysearch.modalities.base import Batch, Modality, with_rows
from policysearch.ops.company import MAX_SYNTHETIC
from policysearch.ops.stages import StageGroup, batches_of


class Synthesis:
    """Applies the operations, each called as the method of its name, to one batch.

    Args:
      modality: Of the samples.
      generator: Fitted to training samples.
      sizes: Sizes of the batches that lie one after the other.
    """

    def __init__(self, modality: Modality, generator: Generator, sizes: Sequence[int]) -> None:
        self._modality = modality
        self._generator = generator
        self._sizes = tuple(sizes)
        self._place: NDArray[np.float64] | None = None

    def synthesize(self, batch: Batch, group: StageGroup, targets: Tensor) -> Tensor:
        """New samples of the classes of those of a group, for as many as may be replaced."""
        generator, labels = self._checked(batch, targets), _labels(targets)[group.rows]
        kept: Tensor = batch.x[torch.from_numpy(group.rows).to(batch.x.device)]
        is_new = self._may_be_new(group, len(batch)) & generator.known[labels]
        if not is_new.any():
            return kept
        made = generator.sample(labels[is_new], group.magnitude[is_new], group.seeds()[is_new])
        values = self._values(made, batch, group.rows[is_new])
        return with_rows(kept, torch.from_numpy(is_new), values)

    def _may_be_new(self, group: StageGroup, n: int) -> NDArray[np.bool_]:
        """Whether each sample is among those that may be replaced, the same at every stage."""
        if self._place is None:
            self._place = np.full(n, np.nan)
        mine = self._place[group.rows]
        self._place[group.rows] = np.where(np.isnan(mine), group.draws[:, 1], mine)
        return np.asarray(self._place[group.rows] < MAX_SYNTHETIC)

    def latent_mix(self, batch: Batch, group: StageGroup, targets: Tensor) -> Tensor:
        """Samples of a group moved towards another one of their class, or away from it."""
        generator = self._checked(batch, targets)
        if not generator.has_latents:
            raise GeneratorError(
                f"Op 'latent_mix' needs a generator with latents; '{generator.kind}' has none. "
                "Use 'gaussian' or 'vae'."
            )
        classes = _labels(targets)
        labels = classes[group.rows]
        if not generator.known[labels].all():
            raise InvalidValueError(
                "The generator knows no sample of some class that is here. Fit it to all classes."
            )
        partners = self._partners_of_class(group, classes)
        x = self._plain_floats(batch, group.rows)
        at = generator.encode(x, labels)
        other = generator.encode(self._plain_floats(batch, partners), labels)
        there = at + group.magnitude[:, None].astype(np.float32) * (other - at)
        # What the latents do not hold stays as it is.
        moved = x + generator.decode(there, labels) - generator.decode(at, labels)
        return self._values(np.where(np.isfinite(moved), moved, x), batch, group.rows)

    def _checked(self, batch: Batch, targets: Tensor) -> Generator:
        """The generator, if it is for such samples and classes."""
        generator = self._generator
        shape = tuple(batch.x.shape[1:])
        if tuple(generator.shape) != shape:
            raise InvalidValueError(
                f"The generator makes samples of shape {tuple(generator.shape)}, these have "
                f"{shape}."
            )
        if targets.shape[1] != generator.n_classes:
            raise InvalidValueError(
                f"The generator knows {generator.n_classes} classes, the targets have "
                f"{targets.shape[1]}."
            )
        return generator

    def _partners_of_class(
        self, group: StageGroup, classes: NDArray[np.int64]
    ) -> NDArray[np.intp]:
        """Another sample of the batch and class for each; itself where there is none."""
        first, size = batches_of(group, self._sizes)
        found: NDArray[np.intp] = group.rows.copy()
        for i, row in enumerate(group.rows):
            near = np.arange(first[i], first[i] + size[i])
            near = near[(classes[near] == classes[row]) & (near != row)]
            if len(near):
                found[i] = near[int(group.draws[i, 0] * len(near))]
        return found

    def _plain_floats(self, batch: Batch, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        x = self._modality.as_floats(batch.x[torch.from_numpy(rows).to(batch.x.device)])
        plain: NDArray[np.float32] = x.detach().cpu().to(torch.float32).numpy()
        return plain

    def _values(self, made: NDArray[np.float32], batch: Batch, rows: NDArray[np.intp]) -> Tensor:
        """Floats as values of the batch; padding of its samples stays as it is."""
        out = self._modality.of_floats(torch.from_numpy(made), batch.x.dtype).to(batch.x.device)
        if batch.lengths is None:
            return out
        steps = torch.arange(batch.x.shape[-1], device=out.device)
        is_inside = steps < torch.from_numpy(batch.lengths[rows]).to(out.device)[:, None, None]
        kept = batch.x[torch.from_numpy(rows).to(out.device)]
        return torch.where(is_inside, out, kept)


def _labels(targets: Tensor) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = targets.argmax(dim=1).cpu().numpy()
    return labels
