"""What corruptions have in common, which of them a comparison may use, and on which samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.corruptions.image import IMAGE_CORRUPTIONS
from policysearch.data.dataset import Dataset
from policysearch.data.draw import stratified
from policysearch.policy import Policy
from policysearch.seeding import derive_seed, generator

Samples = NDArray[Any]

#: Samples that are corrupted, and numbers in them: a few large images cost as much as many small.
MAX_SAMPLES, MAX_VALUES = 1000, 20_000_000

Corruption = Callable[[Samples, np.random.Generator], Samples]

#: By modality and name: the corruption, and the operations it is too like to be called unseen.
CORRUPTIONS: dict[str, dict[str, tuple[Corruption, frozenset[str]]]] = {"image": IMAGE_CORRUPTIONS}


def unseen_by(policies: Iterable[Policy]) -> list[str]:
    """Names of the corruptions that are like no operation of these policies (of one modality)."""
    known = list(policies)
    ops = {
        call.op
        for policy in known
        for sub in policy.sub_policies
        for stage in sub.stages
        for call in stage.choices
    }
    found = CORRUPTIONS.get(known[0].modality, {}) if known else {}
    return [name for name, (_, related) in found.items() if not related & ops]


def corrupted(data: Dataset) -> Iterator[tuple[str, Dataset]]:
    """The same samples under every corruption of their modality; equal calls give equal data.

    At most 1,000 samples, fewer when they are large, stratified; nothing for volumes, and for a
    modality without corruptions.
    """
    kinds = CORRUPTIONS.get(data.modality, {})
    if not kinds or data.x.ndim > 4:
        return
    per_sample = max(1, int(np.prod(data.x.shape[1:])))
    n = min(len(data), MAX_SAMPLES, max(data.n_classes, MAX_VALUES // per_sample))
    some = data.take(stratified(data.y, n, derive_seed(0, "corruptions")))
    for name, (corrupt, _) in kinds.items():
        x = corrupt(some.x, generator(0, "corruptions", name))
        yield name, dataclasses.replace(some, x=x)
