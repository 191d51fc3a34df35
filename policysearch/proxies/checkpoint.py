"""Weights of a user's network from a file: read as tensors and nothing else, and fitted by name.

A checkpoint is outside data. `torch.load` reads it with `weights_only=True`, which refuses
anything that could run code; safetensors cannot hold any.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from policysearch.errors import DataError, InvalidValueError, MissingDependencyError

Weights = Mapping[str, Tensor]

#: Keys under which training programs put the weights beside other things.
_NESTED = ("state_dict", "model_state_dict", "model", "network", "net", "module", "weights")
#: Prefixes that wrappers put before every name: data parallelism, compilation, Lightning.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
_MAX_NAMED = 6


@dataclass(frozen=True)
class Fitted:
    """Which entries of a checkpoint fit a network.

    Attributes:
      weights: Those that do, by the names of the network.
      reshaped: Names of the network whose entry has another shape, such as a head for other
        classes: they keep their fresh weights.
      missing: Names of the network that the checkpoint does not have: they do so too.
      unused: Names of the checkpoint that the network does not have.
    """

    weights: Weights
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def notices(self, network: nn.Module) -> list[str]:
        """What a user should know before a run is built on it."""
        names = [name for name, _ in network.named_parameters()]
        sizes = {name: value.numel() for name, value in network.named_parameters()}
        share = sum(sizes[n] for n in names if n in self.weights) / max(1, sum(sizes.values()))
        told = [f"The checkpoint gives {share:.1%} of the weights of the network."]
        for text, found in (
            ("Of another shape, so they start fresh", self.reshaped),
            ("Not in the checkpoint, so they start fresh", self.missing),
            ("Only in the checkpoint, so they are left out", self.unused),
        ):
            if found:
                told.append(f"{text}: {_listed(found)}.")
        return told


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a checkpoint, on the CPU, without the prefixes of wrappers.

    Args:
      path: A file of `torch.save`, with a `state_dict` or one beside other things, or
        `.safetensors`.

    Raises:
      DataError: When it cannot be read, holds code, no tensors, or NaN.
      MissingDependencyError: For `.safetensors` without that package.
    """
    if not path.is_file():
        raise DataError(f"Checkpoint '{path}' does not exist, or is not a file.")
    read = _read_safetensors if path.suffix == ".safetensors" else _read_torch
    weights = _weights_in(read(path), path)
    for prefix in _WRAPPERS * 2:  # a compiled model may be within a parallel one
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    wrong = [n for n, v in weights.items() if v.is_floating_point() and not v.isfinite().all()]
    if wrong:
        raise DataError(f"Checkpoint '{path}' holds NaN or infinities: {_listed(wrong)}.")
    return weights


def file_digest(path: Path) -> str:
    """Digest of a file, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def fit_weights(weights: Weights, network: nn.Module) -> Fitted:
    """Fits weights to a network by name and shape.

    Raises:
      InvalidValueError: When no weight of the network is among them.
    """
    wanted = network.state_dict()
    same = {n: v for n, v in weights.items() if n in wanted and v.shape == wanted[n].shape}
    parameters = dict(network.named_parameters())
    if not any(name in parameters for name in same):
        raise InvalidValueError(
            "No weight of the checkpoint fits the network. The checkpoint has "
            f"{_listed(_shapes(weights))}; the network {_listed(_shapes(wanted))}."
        )
    return Fitted(
        same,
        tuple(n for n in wanted if n in weights and n not in same),
        tuple(n for n in wanted if n not in weights),
        tuple(n for n in weights if n not in wanted),
    )


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats it may not know; what fails is told below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"Checkpoint '{path}' is no file of tensors alone: it may hold code, which is never "
            "run here. Save the weights only: torch.save(network.state_dict(), path)."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        raise DataError(
            f"Checkpoint '{path}' cannot be read by torch.load: {type(error).__name__}: "
            f"{str(error)[:200]}."
        ) from error


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingDependencyError(
            f"Reading '{path}' needs safetensors: pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"Checkpoint '{path}' cannot be read: {str(error)[:200]}.") from error


def _weights_in(content: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        found = {str(n): v.detach() for n, v in content.items() if isinstance(v, Tensor)}
        inner = next((content[key] for key in _NESTED if _is_mapping(content.get(key))), None)
        if inner is None:
            if found:
                return found
            break
        content = inner
    raise DataError(
        f"Checkpoint '{path}' holds no weights by name, but {type(content).__name__}. Save "
        "network.state_dict()."
    )


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _shapes(weights: Weights) -> list[str]:
    return [f"{name} {tuple(value.shape)}" for name, value in weights.items()]


def _listed(names: Any) -> str:
    shown = [str(name)[:80] for name in list(names)[:_MAX_NAMED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
