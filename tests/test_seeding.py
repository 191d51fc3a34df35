"""Seeds and counter-based draws.

Statistical tests state their bound and its false-alarm rate; with fixed seeds they either always
pass or always fail, so the rate is that of refusing a future change of the generator in error.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from policysearch.seeding import derive_seed, generator, uniforms

FALSE_ALARM = 1e-6


def z_bound(n_comparisons=1):
    """Largest |z| of standard normal values that is passed once in a million times."""
    return float(stats.norm.isf(FALSE_ALARM / 2 / n_comparisons))


def test_a_derived_seed_belongs_to_its_whole_path():
    paths = [
        (0,), (1,), (-1,), (0, "a"), (0, "b"), (0, "a", 1), (0, "a", "1"), (0, 1, "a"),
        (0, "a", "b"), (0, "ab"), (0, "a/str:b"), (0, "a\\/str:b"), (0, "a\\", "b"),
        (0, "a/", "b"),
    ]  # fmt: skip
    seeds = [derive_seed(*path) for path in paths]
    assert len(set(seeds)) == len(paths)
    assert seeds == [derive_seed(*path) for path in paths]
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_derived_seeds_keep_their_values():
    # Pinned: resumed runs and published numbers depend on them.
    assert derive_seed(0, "trial", 3) == 5372810631139684184
    assert generator(0, "order").integers(1000, size=3).tolist() == [807, 496, 796]


@settings(deadline=None, max_examples=100)
@given(
    st.integers(),
    st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**62)), min_size=1, max_size=8),
    st.integers(0, 5),
    st.randoms(),
)
def test_a_sample_gets_its_numbers_in_any_batch_and_order(seed, samples, n_draws, random):
    epochs, indices = map(list, zip(*samples, strict=True))
    together = uniforms(seed, epochs, indices, n_draws)
    assert together.shape == (len(samples), n_draws)
    order = random.sample(range(len(samples)), len(samples))
    shuffled = uniforms(seed, [epochs[i] for i in order], [indices[i] for i in order], n_draws)
    np.testing.assert_array_equal(shuffled, together[order])
    for i, (epoch, index) in enumerate(samples):
        np.testing.assert_array_equal(uniforms(seed, epoch, index, n_draws)[0], together[i])


def test_more_draws_begin_with_the_same_ones():
    few, many = uniforms(1, 2, np.arange(5), 3), uniforms(1, 2, np.arange(5), 9)
    np.testing.assert_array_equal(many[:, :3], few)


def test_draws_keep_their_values():
    # Pinned: a policy file with a seed must give the same images in every later version.
    expected = [
        [0.8396637143015513, 0.10892553573149466],
        [0.13808813679052878, 0.4812567621131477],
    ]
    np.testing.assert_array_equal(uniforms(7, 1, [0, 5], 2), expected)


def test_the_seed_is_taken_modulo_two_to_the_64():
    np.testing.assert_array_equal(uniforms(2**64 + 3, 0, [1], 4), uniforms(3, 0, [1], 4))
    np.testing.assert_array_equal(uniforms(-1, 0, [1], 4), uniforms(2**64 - 1, 0, [1], 4))


@pytest.fixture(scope="module")
def grid():
    """Draws of 20 seeds x 20 epochs x 50 neighbouring samples, 10 numbers each."""
    rows = [
        uniforms(seed, np.repeat(np.arange(20), 50), np.tile(np.arange(50), 20), 10)
        for seed in range(20)
    ]
    return np.stack(rows).reshape(20, 20, 50, 10)


def test_draws_are_in_the_half_open_unit_interval_and_all_different(grid):
    assert grid.min() >= 0
    assert grid.max() < 1
    # 200,000 numbers of 53 bits: two are equal by chance with probability 2e-6.
    assert len(np.unique(grid)) == grid.size


def test_draws_are_uniform(grid):
    for values in (grid.ravel(), grid[0, 0].ravel(), grid[:, 0, 0, 0], grid[0, 0, :, 0]):
        assert stats.kstest(values, "uniform").pvalue > FALSE_ALARM
    bits = np.unpackbits((grid.ravel() * 2**32).astype(np.uint32).view(np.uint8))
    ones = bits.reshape(-1, 32).mean(axis=0)
    assert (np.abs(ones - 0.5) < z_bound(32) * 0.5 / grid.size**0.5).all()


@pytest.mark.parametrize("axis", [0, 1, 2, 3], ids=["seed", "epoch", "index", "draw"])
def test_neighbours_are_uncorrelated(grid, axis):
    """The mean product of n independent centred pairs has standard deviation 1 / (12 sqrt n)."""
    centred = np.moveaxis(grid - 0.5, axis, 0)
    for lag in (1, 2, 7):
        products = centred[lag:] * centred[:-lag]
        z = products.mean() * 12 * products.size**0.5
        assert abs(z) < z_bound(12)


def test_all_pairs_of_streams_are_uncorrelated(grid):
    streams = grid[:4, :5, :, :].reshape(20, -1)  # 4 seeds x 5 epochs, 500 numbers each
    r = np.corrcoef(streams)[np.triu_indices(20, 1)]
    assert np.abs(r).max() * streams.shape[1] ** 0.5 < z_bound(len(r))


def test_seed_epoch_and_index_do_not_stand_for_each_other():
    rows = [uniforms(*triple, 2)[0] for triple in itertools.product(range(6), repeat=3)]
    assert len({tuple(row) for row in rows}) == 6**3
