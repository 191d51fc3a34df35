"""A generator of the user's own: asked once for a bank of samples, and never again.

It is asked in a process of its own: one that hangs, crashes or writes over what it is given costs
the training that wanted it, and nothing else. Samples go through pipes, never to the disk.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.resize import check_memory
from policysearch.errors import GeneratorError, InvalidValueError
from policysearch.generators.asking import cells_of
from policysearch.generators.bank import BankGenerator
from policysearch.generators.samples import FitData

#: Seconds that a user's generator has for its whole bank.
MAX_SECONDS = 600.0
_ERRORS = {kind.__name__: kind for kind in (GeneratorError, InvalidValueError)}


def fit_user(
    name: str,
    data: FitData,
    seed: int,
    bank_size: int = 64,
    max_seconds: float = MAX_SECONDS,
) -> BankGenerator:
    """Calls the factory of the user's, and what it returns for each class and temperature.

    The factory is called as `factory(x, y, n_classes, seed)` with the training samples. It returns
    an object whose `sample(label: int, n: int, temperature: float, rng)` returns `(n, *shape)`,
    floating, finite and within the bounds, from the numpy generator `rng` alone.

    Args:
      name: `package.module:factory` or `file.py:factory`.
      data: Training samples.
      seed: Of the factory and of each `rng`.
      bank_size: Samples for each class and temperature.
      max_seconds: Time for all of it.

    Raises:
      GeneratorError: Naming the generator, what it did and the rule.
      InvalidValueError: When there is no such factory.
    """
    cells = cells_of(data)
    check_memory(4 * len(cells) * bank_size * data.frame.n_values, f"The bank of '{name}'")
    frame = data.frame
    if data.is_categorical is not None:  # bounds are of numbers; a bank knows no columns
        frame = dataclasses.replace(frame, low=None, high=None)
    tensors: dict[str, NDArray[Any]] = {
        "samples": _asked(name, data, seed, bank_size, max_seconds),
        "labels": np.repeat(np.array([c[0] for c in cells], np.int64), bank_size),
        "temperatures": np.repeat([c[1] for c in cells], bank_size),
    }
    return BankGenerator(frame, tensors, "user")


def _asked(
    name: str, data: FitData, seed: int, bank_size: int, max_seconds: float
) -> NDArray[np.float32]:
    """The samples of all cells, made in another process."""
    flags = np.zeros(0, np.bool_) if data.is_categorical is None else data.is_categorical
    told = {"name": name, "seed": seed, "bank_size": bank_size}
    told |= {"n_classes": data.n_classes, "low": data.low, "high": data.high}
    request = io.BytesIO()
    np.savez(request, x=data.x, y=data.y, is_categorical=flags, told=np.array(json.dumps(told)))
    with tempfile.TemporaryFile() as said:  # it has no name, and is gone with this process
        try:
            done = subprocess.run(
                [sys.executable, "-m", "policysearch.generators.asking"],
                input=request.getvalue(),
                stdout=subprocess.PIPE,
                stderr=said,
                timeout=max_seconds,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise GeneratorError(
                f"Generator '{name}' must answer within {max_seconds:g} seconds, and did not."
            ) from None
        if done.returncode or not done.stdout:
            said.seek(0)
            last = said.read().decode(errors="replace").strip()[-300:]
            raise GeneratorError(
                f"The process of generator '{name}' ended with code {done.returncode}. Its last "
                f"words: {last or 'none'}"
            )
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as answer:
        if "error" in answer:
            kind, text = answer["error"].tolist()
            raise _ERRORS[kind](text)
        samples: NDArray[np.float32] = answer["samples"]
    return samples
