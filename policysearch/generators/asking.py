"""The process that asks a user's generator for a bank of samples (see `user`); without torch."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.errors import GeneratorError, InvalidValueError, shortened
from policysearch.files import json_text
from policysearch.generators.samples import FitData
from policysearch.seeding import derive_seed, generator
from policysearch.user_code import find_function, importable

TEMPERATURES = (0.25, 0.5, 0.75, 1.0)


def cells_of(data: FitData) -> list[tuple[int, float]]:
    """Class and temperature of each block of the bank."""
    return [(c, t) for c in np.flatnonzero(data.frame.known).tolist() for t in TEMPERATURES]


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
        for label, temperature in cells_of(data):
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
