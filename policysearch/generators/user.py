"""A generator of the user's own: asked once for a bank of samples, and never again."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.resize import check_memory
from policysearch.errors import GeneratorError, shortened
from policysearch.generators.bank import BankGenerator
from policysearch.generators.base import FitData
from policysearch.seeding import derive_seed, generator
from policysearch.user_code import find_function, importable

TEMPERATURES = (0.25, 0.5, 0.75, 1.0)


def fit_user(name: str, data: FitData, seed: int, bank_size: int = 64) -> BankGenerator:
    """Calls the factory of the user's, and what it returns for each class and temperature.

    The factory is called as `factory(x, y, n_classes, seed)` with copies of the training samples.
    It returns an object whose `sample(label: int, n: int, temperature: float, rng)` returns
    `(n, *shape)`, floating, finite and within the bounds, from the numpy generator `rng` alone.

    Code that never returns cannot be stopped from here; the time-out of a trial ends it.

    Args:
      name: `package.module:factory` or `file.py:factory`.
      data: Training samples.
      seed: Of the factory and of each `rng`.
      bank_size: Samples for each class and temperature.

    Raises:
      GeneratorError: Naming the generator, what it did and the rule.
      InvalidValueError: When there is no such factory.
    """
    factory = find_function(name)
    known = np.flatnonzero(data.frame.known).tolist()
    cells = [(label, t) for label in known for t in TEMPERATURES]
    check_memory(4 * len(cells) * bank_size * data.frame.n_values, f"The bank of '{name}'")
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
        for label, temperature in cells:
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
    tensors: dict[str, NDArray[Any]] = {
        "samples": np.concatenate(samples),
        "labels": np.repeat(np.array([c[0] for c in cells], np.int64), bank_size),
        "temperatures": np.repeat([c[1] for c in cells], bank_size),
    }
    frame = data.frame
    if data.is_categorical is not None:  # bounds are of numbers; a bank knows no columns
        frame = dataclasses.replace(frame, low=None, high=None)
    return BankGenerator(frame, tensors, "user")


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
