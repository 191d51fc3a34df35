"""Generators of a search: fitted to what a training is trained on, once in every process.

Folds come again and again, with other policies and seeds; the generator of a fold does not depend
on them. Nothing is written to disk: what is fitted is forgotten with the process.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from policysearch.company import fit_data
from policysearch.data.columns import categorical_of
from policysearch.data.dataset import Dataset
from policysearch.errors import GeneratorError
from policysearch.generators.base import Generator
from policysearch.generators.fit import fit_generator, source_of
from policysearch.generators.samples import FitData
from policysearch.modalities import Batch, modality_of
from policysearch.modalities.tabular import TabularSettings
from policysearch.user_code import find_function, source_digest

#: Fitted generators that a process remembers: the folds of a search.
_N_KEPT = 8


@dataclass(frozen=True, slots=True)
class GeneratorChoice:
    """What the operations that need a generator draw from.

    Attributes:
      name: A kind, a folder, or a function of the user's; see `fit_generator`.
      seed: Of whatever is random in fitting it.
      code: Digest of the file of a user's function, or of names and sizes in a folder.
    """

    name: str = "gaussian"
    seed: int = 0
    code: str = ""


def chosen_generator(name: str, seed: int) -> GeneratorChoice:
    """The choice of a user, checked as far as that goes without fitting it.

    Raises:
      GeneratorError: For an unknown kind.
      InvalidValueError: Where there is no such function.
    """
    source, code = source_of(name), ""
    if source == "folder":
        code = _folder_digest(Path(name))
    elif source == "function":
        code = source_digest(find_function(name))
    return GeneratorChoice(name, seed, code)


def _folder_digest(root: Path) -> str:
    """Of the names and sizes of all files."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    told = [(path.relative_to(root).as_posix(), path.stat().st_size) for path in files]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def samples_of(data: Dataset) -> FitData:
    """The samples of a dataset as generators are fitted to them."""
    facts = TabularSettings(tuple(np.flatnonzero(categorical_of(data.columns or ())).tolist()))
    batch = Batch(torch.from_numpy(np.array(data.x)), data.lengths, None, facts)
    return fit_data(modality_of(data.modality), batch, data.y, data.n_classes)


def generator_for(train: Dataset, choice: GeneratorChoice) -> Generator:
    """The generator of these training samples, and of no others.

    Raises:
      GeneratorError: Where it does not do what it must; again, without a new try, for the same
        samples.
    """
    found = _outcome(_Request(choice, train.fingerprint, train))
    if isinstance(found, GeneratorError):
        raise found
    return found


@dataclass(frozen=True, slots=True)
class _Request:
    """Equal for equal samples."""

    choice: GeneratorChoice
    fingerprint: str
    train: Dataset = field(compare=False)


@functools.lru_cache(maxsize=_N_KEPT)
def _outcome(request: _Request) -> Generator | GeneratorError:
    choice, train = request.choice, request.train
    try:
        return fit_generator(choice.name, samples_of(train), choice.seed, train.classes)
    except GeneratorError as error:
        return error
