"""The proxy of time series: what it learns from, and that padding and gaps do not count."""

import dataclasses

import numpy as np
import pytest
import torch

from policysearch.data.dataset import Dataset
from policysearch.errors import InvalidValueError
from policysearch.metrics import scores
from policysearch.named import resolve_policy
from policysearch.policy import Policy
from policysearch.proxies.base import settings_for
from policysearch.proxies.series import SeriesNetwork, channel_statistics

NONE = Policy(modality="series", ops_version="series-1")
DEFAULT = resolve_policy("default-series").policy


def waves(n, length=32, seed=0):
    """Slow and fast waves of any phase and height."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    t = np.linspace(0, 1, length)
    speed = np.where(y, 5, 2)[:, None]
    x = np.sin(2 * np.pi * (speed * t + rng.random((n, 1)))) * rng.uniform(0.5, 2, (n, 1))
    x = np.stack([x, rng.normal(size=x.shape)], axis=1) * [[1], [100]] + [[0], [1e4]]
    return Dataset(x.astype(np.float32), y.astype(np.int64), ("a", "b"), modality="series")


def fitted(train, policy=NONE, epochs=20, seed=0):
    proxy = settings_for(train).make(train, policy, epochs, seed)
    proxy.fit()
    return proxy


def padded(data, n_more):
    x = np.concatenate([data.x, np.full((*data.x.shape[:2], n_more), 77, np.float32)], axis=2)
    return dataclasses.replace(data, x=x, lengths=np.full(len(data), data.x.shape[2]))


def test_it_learns_and_equal_seeds_learn_the_same():
    test = waves(200, seed=1)
    first, again = (fitted(waves(40), DEFAULT).predict(test) for _ in range(2))
    assert scores(first, test.y)["accuracy"] > 0.9
    assert np.array_equal(first, again)
    assert not np.array_equal(first, fitted(waves(40), DEFAULT, seed=1).predict(test))
    assert not np.array_equal(first, fitted(waves(40), NONE).predict(test))


def test_what_it_says_of_a_series_does_not_depend_on_its_padding():
    test = waves(10, seed=1)
    proxy = fitted(waves(20), epochs=2)
    np.testing.assert_allclose(proxy.predict(padded(test, 9)), proxy.predict(test), atol=1e-5)


def test_it_learns_from_padded_series_with_gaps():
    train, test = waves(40), waves(100, seed=1)
    train.x[:, 0, 5] = np.nan
    log_probabilities = fitted(padded(train, 8), DEFAULT).predict(test)
    assert np.isfinite(log_probabilities).all()
    assert scores(log_probabilities, test.y)["accuracy"] > 0.8


def test_channels_are_normalised_by_what_is_known_in_the_training_series():
    train = waves(30)
    mean, std = channel_statistics(train)
    np.testing.assert_allclose(mean[0, :, 0], train.x.mean(axis=(0, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(std[0, :, 0], train.x.std(axis=(0, 2)), rtol=1e-4)
    same = channel_statistics(padded(train, 5))
    torch.testing.assert_close(same, (mean, std))
    train.x[:, 1] = 3.25
    assert channel_statistics(train)[1][0, 1, 0] == 1.0
    train.x[:, 1] = np.nan
    assert channel_statistics(train)[0][0, 1, 0] == 0.0


@pytest.mark.parametrize("length", [1, 2, 24, 65, 300])
def test_the_network_takes_series_of_every_length(length):
    network = SeriesNetwork(3, length, 4, 8, seed=0)
    x = torch.randn(2, 4, length)
    x[:, -1] = 1
    assert network(x).shape == (2, 4)
    assert torch.equal(SeriesNetwork(3, length, 4, 8, seed=0).head.weight, network.head.weight), (
        "weights come from the seed alone"
    )


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InvalidValueError, match="`--device` must be one that torch"):
        settings_for(waves(4), "cuda:99")
