"""A generator of the user's own: asked once for a bank of samples, and never again.

It is asked in a process of its own: one that hangs, crashes or writes over what it is given costs
the training that wanted it, and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.resize import check_memory
from policysearch.errors import GeneratorError, InvalidValueError, shortened
from policysearch.files import json_text
from policysearch.generators.bank import BankGenerator
from policysearch.generators.base import FitData
from policysearch.seeding import derive_seed, generator
from policysearch.user_code import find_function, importable

TEMPERATURES = (0.25, 0.5, 0.75, 1.0)
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
    cells = _cells(data)
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


def _cells(data: FitData) -> list[tuple[int, float]]:
    """Class and temperature of each block of the bank."""
    return [(c, t) for c in np.flatnonzero(data.frame.known).tolist() for t in TEMPERATURES]


def _asked(
    name: str, data: FitData, seed: int, bank_size: int, max_seconds: float
) -> NDArray[np.float32]:
    """The samples of all cells, made in another process."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.savez(place / "data.npz", x=data.x, y=data.y)
        if data.is_categorical is not None:
            np.save(place / "categorical.npy", data.is_categorical, allow_pickle=False)
        asked = {"name": name, "seed": seed, "bank_size": bank_size}
        asked |= {"n_classes": data.n_classes, "low": data.low, "high": data.high}
        (place / "asked.json").write_text(json_text(asked))
        command = [sys.executable, "-m", "policysearch.generators.user", str(place)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with (place / "said").open("wb") as said:
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    timeout=max_seconds,
                    env=environment,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise GeneratorError(
                    f"Generator '{name}' must answer within {max_seconds:g} seconds, and did not."
                ) from None
        if (place / "error.json").exists():
            error = json.loads((place / "error.json").read_text())
            raise _ERRORS[error["kind"]](error["text"])
        if done.returncode or not (place / "samples.npy").exists():
            last = (place / "said").read_text(errors="replace").strip()[-300:]
            raise GeneratorError(
                f"The process of generator '{name}' ended with code {done.returncode}. Its last "
                f"words: {last or 'none'}"
            )
        samples: NDArray[np.float32] = np.load(place / "samples.npy", allow_pickle=False)
        return samples


def _answer(place: Path) -> None:
    """What the other process does: asks the generator, and writes samples or an error."""
    asked = json.loads((place / "asked.json").read_text())
    flags = None
    if (place / "categorical.npy").exists():
        flags = np.load(place / "categorical.npy", allow_pickle=False)
    with np.load(place / "data.npz", allow_pickle=False) as arrays:
        data = FitData(
            arrays["x"], arrays["y"], asked["n_classes"], asked["low"], asked["high"], flags
        )
    try:
        samples = _made(asked["name"], data, asked["seed"], asked["bank_size"])
    except InvalidValueError as error:
        kind = GeneratorError if isinstance(error, GeneratorError) else InvalidValueError
        (place / "error.json").write_text(json_text({"kind": kind.__name__, "text": str(error)}))
    else:
        np.save(place / "samples.npy", samples, allow_pickle=False)


def _made(name: str, data: FitData, seed: int, bank_size: int) -> NDArray[np.float32]:
    """The samples of all cells, one after the other."""
    factory = find_function(name)
    with importable():
        try:
            own_seed = derive_seed(seed, "factory") % 2**31
            made = factory(data.x.copy(), data.y.copy(), data.n_classes, own_seed)
        except Exception as error:
            raise GeneratorError(f"The factory of {_failed(name, error)}") from error
        if not callable(getattr(made, "sample", None)):
            raise GeneratorError(
                f"The factory of generator '{name}' must return an object with a method `sample`, "
                f"got {type(made).__name__}."
            )
        samples = []
        for label, temperature in _cells(data):
            where = f"for label {label}, temperature {temperature:g}"
            rng = generator(seed, "user", label, str(temperature))
            try:
                # A copy, since the generator may go on writing into what it returned.
                out = np.array(made.sample(label, bank_size, temperature, rng))
            except Exception as error:
                raise GeneratorError(f"`sample` of {_failed(name, error, where)}") from error
            rule = _broken_rule(out, data, bank_size)
            if rule:
                raise GeneratorError(f"Samples of generator '{name}' {rule} ({where}).")
            samples.append(out.astype(np.float32))
    return np.concatenate(samples)


def _failed(name: str, error: Exception, where: str = "") -> str:
    text = shortened(str(error), 200)
    return f"generator '{name}' failed{where and ' '}{where}: {type(error).__name__}: {text}."


def _broken_rule(out: NDArray[Any], data: FitData, n: int) -> str | None:
    """The rule that samples break, with what came instead; `None` where they keep all."""
    wanted = (n, *data.frame.shape)
    if out.dtype.kind != "f":
        return f"must be floating, got {out.dtype}"
    if out.shape != wanted:
        return f"must have the shape {wanted}, got {out.shape}"
    if not np.isfinite(out).all():
        return f"must be finite, got {shortened(float(out[~np.isfinite(out)][0]))}"
    if np.abs(out).max() > np.finfo(np.float32).max:
        return f"must fit float32, got {float(np.abs(out).max())}"
    flags = data.is_categorical
    numbers = out if flags is None else out[:, ~flags]
    low, high = data.low, data.high
    if numbers.size and low is not None and numbers.min() < low:
        return f"must be at least {low:g}, got {float(numbers.min())}"
    if numbers.size and high is not None and numbers.max() > high:
        return f"must be at most {high:g}, got {float(numbers.max())}"
    for j in () if flags is None else np.flatnonzero(flags):
        known = np.unique(data.x[~np.isnan(data.x[:, j]), j])
        other = out[~np.isin(out[:, j].astype(np.float32), known), j]
        if len(other):
            return f"must hold categories of the training rows in column {j}, got {other[0]:g}"
    return None


def _end_with(parent: int) -> None:
    """Ends this process when the one that asked is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _answer(Path(sys.argv[1]))
