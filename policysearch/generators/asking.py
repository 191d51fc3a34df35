"""The process that asks a user's generator for a bank of samples (see `user`); without torch."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.errors import GeneratorError, InvalidValueError, shortened
from policysearch.generators.samples import FitData
from policysearch.seeding import derive_seed, generator
from policysearch.user_code import find_function, importable

TEMPERATURES = (0.25, 0.5, 0.75, 1.0)


def cells_of(data: FitData) -> list[tuple[int, float]]:
    """Class and temperature of each block of the bank."""
    return [(c, t) for c in np.flatnonzero(data.frame.known).tolist() for t in TEMPERATURES]


def _answer(request: bytes) -> dict[str, NDArray[Any]]:
    """The samples that are asked for, or an error: its kind and its text."""
    with np.load(io.BytesIO(request), allow_pickle=False) as arrays:
        told = json.loads(arrays["told"].item())
        flags = arrays["is_categorical"]
        data = FitData(
            arrays["x"],
            arrays["y"],
            told["n_classes"],
            told["low"],
            told["high"],
            flags if flags.size else None,
        )
    try:
        return {"samples": _made(told["name"], data, told["seed"], told["bank_size"])}
    except InvalidValueError as error:
        kind = GeneratorError if isinstance(error, GeneratorError) else InvalidValueError
        return {"error": np.array([kind.__name__, str(error)])}


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


def _main() -> None:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with os.fdopen(os.dup(1), "wb") as reply:
        os.dup2(2, 1)  # what a user's code prints is talk
        answer = _answer(sys.stdin.buffer.read())
        np.savez(reply, **answer)  # type: ignore[arg-type]


if __name__ == "__main__":
    _main()
