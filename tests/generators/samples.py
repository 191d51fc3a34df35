"""Small data of each kind, and generators fitted to it, made once."""

import functools

import numpy as np
from sklearn.datasets import load_digits

from policysearch.generators.base import Generator
from policysearch.generators.gan import fit_gan
from policysearch.generators.gaussian import fit_gaussian
from policysearch.generators.samples import FitData
from policysearch.generators.vae import fit_vae

KINDS = ("gaussian", "vae", "gan")
DATA = ("images", "series", "table")


def classes_of(data: FitData) -> list[str]:
    return [f"class {i}" for i in range(data.n_classes)]


@functools.cache
def digits(part: str = "train") -> FitData:
    """Images of classes 0 to 3; of class 4 one, of class 5 none."""
    loaded = load_digits()
    x, y = (loaded.images[:, None] / 16).astype(np.float32), loaded.target.astype(np.int64)
    rows = np.flatnonzero(y < 4)
    rows = rows[:300] if part == "train" else rows[300:600]
    rows = np.append(rows, np.flatnonzero(y == 4)[: int(part == "train")])
    return FitData(x[rows], y[rows], 6, 0.0, 1.0)


@functools.cache
def series() -> FitData:
    """Two channels of different units, with a gap; of class 2 one sample, of class 3 none."""
    rng = np.random.default_rng(0)
    y = np.append(np.arange(60) % 2, 2)
    t = np.linspace(0, 6, 20)
    x = np.sin(t * (1 + y[:, None, None])) * np.array([1.0, 1000.0])[:, None]
    x = (x * (1 + 0.1 * rng.standard_normal(x.shape))).astype(np.float32)
    x[3, 1, 4:7] = np.nan
    return FitData(x, y.astype(np.int64), 4)


@functools.cache
def table() -> FitData:
    """Numbers, a category, a constant, and a column of nothing; gaps in the first two."""
    rng = np.random.default_rng(1)
    y = np.append(np.arange(80) % 2, 2)
    number = 5 * y + rng.standard_normal(len(y))
    category = np.where(rng.random(len(y)) < 0.8, 3 + 2 * y, 9)
    x = np.stack((number, category, np.full(len(y), 4.0), np.full(len(y), np.nan)), axis=1)
    x[rng.random(len(y)) < 0.1, 0] = np.nan
    x[rng.random(len(y)) < 0.1, 1] = np.nan
    flags = np.array([False, True, False, False])
    return FitData(x.astype(np.float32), y.astype(np.int64), 4, is_categorical=flags)


def data_of(name: str) -> FitData:
    return {"images": digits, "series": series, "table": table}[name]()


def fit_quickly(kind: str, data: FitData, seed: int, steps: int) -> Generator:
    """Contracts hold after any number of steps; few of them keep the tests quick."""
    if kind == "gaussian":
        return fit_gaussian(data, seed)
    return {"vae": fit_vae, "gan": fit_gan}[kind](data, seed, steps)


@functools.cache
def fitted(kind: str, name: str) -> Generator:
    return fit_quickly(kind, data_of(name), 0, 250 if name == "images" else 60)


def drawn(generator: Generator, n: int = 40, temperature: float | None = None):
    """Labels, temperatures and seeds of samples of all known classes."""
    known = np.flatnonzero(generator.known)
    labels = known[np.arange(n) % len(known)]
    heat = np.linspace(0, 1, n) if temperature is None else np.full(n, temperature)
    seeds = np.random.default_rng(5).integers(-(2**63), 2**63 - 1, n)
    return labels, heat, seeds
