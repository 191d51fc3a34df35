"""The only reader and writer of saved generators: tensors, and JSON beside them that says whose.

A file is data: nothing in it is executed. What is wrong with a pair of files is said all at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from policysearch.errors import FormatError, InvalidValueError, MissingDependencyError
from policysearch.files import json_text, parse_json, read_text, write_atomic
from policysearch.generators.bank import BankGenerator
from policysearch.generators.base import Generator, Layout
from policysearch.generators.gan import GANGenerator
from policysearch.generators.gaussian import GaussianGenerator
from policysearch.generators.samples import Frame
from policysearch.generators.vae import VAEGenerator
from policysearch.validation import first_problems, problems_of

MAX_BYTES = 1 << 30
MAX_VALUES = 1 << 24

_CLASSES: dict[str, type[Generator]] = {
    "gaussian": GaussianGenerator,
    "vae": VAEGenerator,
    "gan": GANGenerator,
    "folder": BankGenerator,
    "user": BankGenerator,
    "bank": BankGenerator,
}


class GeneratorFile(BaseModel):
    """The JSON beside the tensors of a generator, version 1."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    format: Literal["policysearch.generator"]
    version: Literal[1]
    kind: Literal["gaussian", "vae", "gan", "folder", "user", "bank"]
    shape: list[Annotated[int, Field(ge=1, le=MAX_VALUES)]] = Field(min_length=1, max_length=4)
    n_classes: int = Field(ge=1, le=100_000)
    known: list[bool] = Field(description="Whether each class had training samples.")
    low: float | None
    high: float | None
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of the file of tensors.")

    @model_validator(mode="after")
    def _fits_together(self) -> GeneratorFile:
        if len(self.known) != self.n_classes or not any(self.known):
            raise ValueError(
                f"`known` must hold {self.n_classes} entries, of which one is true, "
                f"got {len(self.known)}."
            )
        if np.prod([float(side) for side in self.shape]) > MAX_VALUES:
            raise ValueError(f"`shape` must hold at most {MAX_VALUES:,} values.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"`low` must not exceed `high`, got {self.low} and {self.high}.")
        return self


def save_generator(generator: Generator, path: Path) -> None:
    """Writes the tensors to a file `.safetensors`, and JSON beside it (`.json`).

    What is written can give training samples away: see `docs/privacy.md`.

    Raises:
      InvalidValueError: When the path ends in anything else.
      MissingDependencyError: Without the package safetensors.
    """
    _check_suffix(path)
    tensors = {name: np.ascontiguousarray(part) for name, part in generator.tensors.items()}
    raw: bytes = safetensors_library().save(tensors)
    header = GeneratorFile(
        format="policysearch.generator",
        version=1,
        kind=generator.kind,  # type: ignore[arg-type]
        shape=list(generator.shape),
        n_classes=generator.n_classes,
        known=generator.known.tolist(),
        low=generator.frame.low,
        high=generator.frame.high,
        sha256=hashlib.sha256(raw).hexdigest(),
    )
    write_atomic(path, raw)
    write_atomic(path.with_suffix(".json"), json_text(header.model_dump()))


def load_generator(path: Path) -> Generator:
    """Reads what `save_generator` wrote; the generator gives the same samples to the bit.

    Args:
      path: The file `.safetensors`; the JSON lies beside it.

    Raises:
      FormatError: Naming every problem of both files.
      InvalidValueError: When one of them is not there.
      MissingDependencyError: Without the package safetensors.
    """
    _check_suffix(path)
    what = f"generator '{path}'"
    beside = path.with_suffix(".json")
    content = parse_json(read_text(beside, "generator file"), f"generator file '{beside}'")
    problems: list[str] = []
    header = None
    try:
        header = GeneratorFile.model_validate(content)
    except ValidationError as error:
        problems += problems_of(error, GeneratorFile)
    raw = _read(path)
    tensors = _parsed(raw, problems)
    for name, part in tensors.items():
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            problems.append(f"`{name[:80]}` must be finite.")
    if header is None:
        raise FormatError(what, first_problems(problems))
    if hashlib.sha256(raw).hexdigest() != header.sha256:
        problems.append("`sha256` is not that of the tensors: one of both files was changed.")
    known = np.array(header.known, dtype=np.bool_)
    frame = Frame(tuple(header.shape), known, header.low, header.high)
    cls = _CLASSES[header.kind]
    wrong = list(_layout_problems(cls.layout(frame, tensors), tensors))
    problems += wrong if wrong or problems else cls.problems(frame, tensors)
    if problems:
        raise FormatError(what, first_problems(problems))
    make = partial(BankGenerator, kind=header.kind) if cls is BankGenerator else cls
    return make(frame, tensors)


def _check_suffix(path: Path) -> None:
    if path.suffix != ".safetensors":
        raise InvalidValueError(f"A generator's file must end in .safetensors, got '{path}'.")


def safetensors_library() -> ModuleType:
    """The package that reads and writes tensors; raises `MissingDependencyError` without it."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingDependencyError(
            "Saved generators need a package more: pip install 'policysearch[safetensors]'"
        ) from error
    library: ModuleType = safetensors.numpy
    return library


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InvalidValueError(f"Generator '{path}' does not exist, or is not a file.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise FormatError(
            f"generator '{path}'",
            [f"the file must be at most {MAX_BYTES:,} bytes, got {size:,}."],
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"Generator '{path}' cannot be read: {error.strerror}.") from error


def _parsed(raw: bytes, problems: list[str]) -> dict[str, NDArray[Any]]:
    library = safetensors_library()
    try:
        return {str(name): np.asarray(part) for name, part in library.load(raw).items()}
    except Exception as error:  # the reader raises almost anything for a hostile header
        problems.append(f"the tensors cannot be read: {type(error).__name__}: {str(error)[:200]}.")
        return {}


def _layout_problems(layout: Layout, tensors: dict[str, NDArray[Any]]) -> Iterator[str]:
    """Missing and unknown tensors, and those of a wrong dtype or shape."""
    lengths: dict[str, int] = {}
    for name in sorted(tensors.keys() - layout.keys()):
        yield f"Unknown tensor `{name[:80]}`."
    for name, (dtype, shape) in layout.items():
        part = tensors.get(name)
        if part is None:
            yield f"Tensor `{name}` is missing."
            continue
        if part.dtype != dtype:
            yield f"`{name}` must be {dtype}, got {part.dtype}."
        wanted = shape
        if part.ndim == len(shape):
            pairs = zip(shape, part.shape, strict=True)
            wanted = tuple(
                lengths.setdefault(side, has) if isinstance(side, str) else side
                for side, has in pairs
            )
        if part.shape != wanted:
            yield f"`{name}` must have the shape {wanted}, got {part.shape}."
