"""The contract of all operations on rows of a table, and what each of them does."""

import dataclasses

import numpy as np
import pytest
import torch
from contracts.modality_contract import ModalityContract
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from policysearch.errors import InvalidValueError
from policysearch.modalities import Batch
from policysearch.modalities.tabular import TabularSettings
from policysearch.ops.registry import op_table
from policysearch.ops.table_facts import table_facts
from policysearch.ops.tabular_kernels import KERNELS

NAN = float("nan")
IS_CATEGORICAL = np.array([False, False, False, True, True])


def table(n, seed=0):
    """Three columns of numbers on scales of their own and two of categories; two classes."""
    rng = np.random.default_rng([n, seed])
    y = np.arange(n) % 2
    numbers = (rng.normal(size=(n, 3)) + 3 * y[:, None]) * [1, 10, 0.1] + [0, 50, -1]
    categories = np.stack([rng.integers(0, 4, n), rng.integers(0, 3, n)], axis=1)
    return np.concatenate([numbers, categories], axis=1), y.astype(np.int64)


def fitted(x, y, is_categorical=IS_CATEGORICAL):
    places = tuple(np.flatnonzero(is_categorical).tolist())
    return TabularSettings(places, table_facts(x, is_categorical, y))


X, Y = table(200, seed=1)
FITTED = fitted(X, Y)


def batch_of(x, y, told=FITTED):
    return Batch(torch.from_numpy(np.asarray(x)), y=y, settings=told)


class TestTabular(ModalityContract):
    modality = "tabular"

    def samples(self, n):
        return batch_of(*table(n))

    def edges(self):
        x, y = table(4)
        gaps = x.copy()
        gaps[:, [0, 3]] = NAN
        one = np.array([[1.0, 2.0, 3.0, 0.0, 1.0]])
        return {
            "missing values": batch_of(gaps, y),
            "nothing but missing values": batch_of(np.full((4, 5), NAN), y),
            "training rows with gaps": batch_of(x, y, fitted(gaps, y)),
            "a constant table": batch_of(np.ones((4, 5)), y, fitted(np.ones((4, 5)), y)),
            "one training row": batch_of(x, y, fitted(one, np.zeros(1, np.int64))),
            "one row": batch_of(x[:1], y[:1]),
            "a class without training rows": batch_of(x, np.full(4, 7)),
            "single precision": batch_of(x.astype(np.float32), y),
            "half precision": batch_of(x.astype(np.float16), y),
            "not contiguous": batch_of(np.asfortranarray(x), y),
        }


def apply(name, batch, level=1.0, seed=0):
    contract = TestTabular()
    spec = op_table("tabular")[name]
    return contract.apply(batch, contract.drawn(spec, level, len(batch), seed))


NAMES = [name for name in op_table("tabular") if name != "identity"]


def test_every_op_has_a_kernel_and_every_kernel_an_op():
    assert list(KERNELS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_missing_stays_missing_and_known_stays_known(name):
    x, y = table(40)
    x[::3, 0] = x[::2, 3] = NAN
    with_gaps = fitted(x, y)
    out = apply(name, batch_of(x, y, with_gaps))
    assert np.array_equal(np.isnan(out.numpy()), np.isnan(x))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(
    x=hnp.arrays(np.float64, (6, 5), elements=st.floats(-1e6, 1e6) | st.just(NAN)),
    seed=st.integers(0, 9),
)
def test_categories_stay_categories_and_results_finite(name, x, seed):
    x[:, 3:] = np.round(np.abs(x[:, 3:]) % 3)
    y = np.arange(6) % 2
    out = apply(name, batch_of(x, y, fitted(x, y)), seed=seed).numpy()
    assert np.array_equal(np.isnan(out), np.isnan(x))
    assert not np.isinf(out).any()
    for j in (3, 4):
        known = x[:, j][~np.isnan(x[:, j])]
        assert set(out[:, j][~np.isnan(out[:, j])]) <= set(known)


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_units_passes_through(name):
    x, y = table(60)
    scale = np.array([0.01, 3.0, 100.0, 1.0, 1.0])
    shift = np.array([5.0, -2.0, 30.0, 0.0, 0.0])
    expected = apply(name, batch_of(x, y)).numpy() * scale + shift
    other = fitted(X * scale + shift, Y)
    found = apply(name, batch_of(x * scale + shift, y, other)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_gaussian_noise_has_the_deviation_it_says_and_leaves_categories():
    x, y = table(5000)
    change = apply("gaussian_noise", batch_of(x, y)).numpy() - x
    np.testing.assert_allclose(change[:, :3].std(axis=0), 0.3 * X[:, :3].std(axis=0), rtol=0.05)
    assert (change[:, 3:] == 0).all()


@pytest.mark.parametrize("name", ["swap_noise", "categorical_resample", "feature_dropout"])
def test_cells_are_hit_as_often_as_it_says_and_become_what_training_has(name):
    x = np.full((4000, 5), 1e9)
    x[:, 3:] = 77
    out = apply(name, batch_of(x, np.zeros(4000, np.int64))).numpy()
    is_hit = out != x
    expected = 0.3 * (IS_CATEGORICAL if name == "categorical_resample" else 1.0)
    np.testing.assert_allclose(is_hit.mean(axis=0), np.broadcast_to(expected, 5), atol=0.03)
    for j in np.flatnonzero(is_hit.any(axis=0)):
        got = set(out[is_hit[:, j], j])
        if name != "feature_dropout":
            assert got <= set(X[:, j])
            assert len(got) > 1
        elif IS_CATEGORICAL[j]:
            values, counts = np.unique(X[:, j], return_counts=True)
            assert got == {values[counts.argmax()]}
        else:
            np.testing.assert_allclose(list(got), X[:, j].mean())


def test_swapped_categories_come_as_often_as_in_training():
    told = fitted(np.repeat([[0.0], [1.0]], [30, 10], axis=0), np.zeros(40), np.array([True]))
    x = np.full((4000, 1), 5.0)
    out = apply("swap_noise", batch_of(x, None, told)).numpy()
    assert abs((out == 0).sum() / (out != 5).sum() - 0.75) < 0.05


def test_interpolation_goes_to_one_of_the_nearest_rows_of_the_class():
    out = apply("interpolate", batch_of(X, Y)).numpy()
    z = 2 * out[:, :3] - X[:, :3]  # level 1 goes half the way
    for i in range(len(X)):
        same = np.flatnonzero((Y[i] == Y) & (np.arange(len(X)) != i))
        partner = same[np.abs(X[same, :3] - z[i]).sum(axis=1).argmin()]
        np.testing.assert_allclose(X[partner, :3], z[i], rtol=1e-6, atol=1e-6)
        scaled = (X[same, :3] - X[i, :3]) / X[:, :3].std(axis=0)
        far = (scaled**2).sum(axis=1) + (X[same, 3:] != X[i, 3:]).sum(axis=1)
        assert np.sum(far < far[same == partner]) < 5
        assert (out[i, 3:] == np.where(out[i, 3:] != X[i, 3:], X[partner, 3:], X[i, 3:])).all()


def test_interpolation_needs_classes_when_it_is_fitted_and_when_it_is_called():
    x, y = table(4)
    for batch in (batch_of(x, None), batch_of(x, y, fitted(X, None))):
        with pytest.raises(InvalidValueError, match=r"Op 'interpolate' stays within the class"):
            apply("interpolate", batch)
    for name in set(NAMES) - {"interpolate"}:
        assert apply(name, batch_of(x, None)).shape == x.shape


def test_neighbours_are_sought_among_evenly_spaced_rows_of_a_large_class():
    x, y = np.arange(2500.0)[:, None], np.zeros(2500, np.int64)
    facts = table_facts(x, np.zeros(1, np.bool_), y)
    assert facts.rows[0][:, 0].tolist() == list(range(0, 2500, 3))


def test_other_columns_than_those_of_training_are_refused():
    batch = dataclasses.replace(batch_of(*table(3)), x=torch.zeros(3, 4))
    with pytest.raises(InvalidValueError, match=r"\(n, 5\), with the columns .* got .*\(3, 4\)"):
        apply("swap_noise", batch)
