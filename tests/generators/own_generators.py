"""Generators of a user's, good and bad, as factories."""
# ruff: noqa: ARG002, ARG005

import numpy as np


class Good:
    def __init__(self, x, y):
        self._means = {int(c): x[y == c].mean(axis=0) for c in np.unique(y)}

    def sample(self, label, n, temperature, rng):
        mean = self._means[label]
        return np.clip(mean + 0.1 * temperature * rng.standard_normal((n, *mean.shape)), 0, 1)


class Bad:
    def __init__(self, shape, change):
        self._shape, self._change = shape, change

    def sample(self, label, n, temperature, rng):
        return self._change(np.full((n, *self._shape), 0.5))


def good(x, y, n_classes, seed):
    return Good(x, y)


def scribbler(x, y, n_classes, seed):
    made = Good(x, y)
    x[:] = np.nan
    y[:] = -1
    return made


def categories(x, y, n_classes, seed):
    return Bad(x.shape[1:], lambda out: out + 7)


def broken(x, y, n_classes, seed):
    raise ZeroDivisionError("no such luck")


def no_object(x, y, n_classes, seed):
    return [1, 2]


def wrong_shape(x, y, n_classes, seed):
    return Bad(x.shape[1:], lambda out: out[:-1])


def integers(x, y, n_classes, seed):
    return Bad(x.shape[1:], lambda out: (out * 510).astype(np.int64))


def too_high(x, y, n_classes, seed):
    return Bad(x.shape[1:], lambda out: out * 510)


def too_low(x, y, n_classes, seed):
    return Bad(x.shape[1:], lambda out: out - 1)


def nan(x, y, n_classes, seed):
    def change(out):
        out[3] = np.nan
        return out

    return Bad(x.shape[1:], change)


def words(x, y, n_classes, seed):
    return Bad(x.shape[1:], lambda out: ["sample"] * len(out))


def ragged(x, y, n_classes, seed):
    return Bad(x.shape[1:], lambda out: [[1.0], [1.0, 2.0]])


def raises(x, y, n_classes, seed):
    def change(out):
        raise KeyError(7)

    return Bad(x.shape[1:], change)
