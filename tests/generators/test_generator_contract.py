"""What every generator promises, for every kind and every kind of data."""

import numpy as np
import pytest
import torch
from samples import (
    DATA,
    KINDS,
    classes_of,
    data_of,
    digits,
    drawn,
    fit_quickly,
    fitted,
    series,
    table,
)
from sklearn.neighbors import KNeighborsClassifier

from policysearch.errors import GeneratorError
from policysearch.generators.fit import fit_generator
from policysearch.generators.samples import FitData

every = pytest.mark.parametrize("name", DATA)
every_kind = pytest.mark.parametrize("kind", KINDS)
latent_kind = pytest.mark.parametrize("kind", ["gaussian", "vae"])


@every
@every_kind
def test_samples_have_shape_and_are_finite(kind, name):
    generator, data = fitted(kind, name), data_of(name)
    x = generator.sample(*drawn(generator))
    assert generator.kind == kind
    assert generator.n_classes == data.n_classes
    assert (x.shape, x.dtype) == ((40, *data.x.shape[1:]), np.float32)
    assert np.isfinite(x).all()
    assert generator.sample(*(part[:0] for part in drawn(generator))).shape == (0, *x.shape[1:])


@every
@every_kind
def test_a_row_depends_on_nothing_but_itself(kind, name):
    generator = fitted(kind, name)
    labels, heat, seeds = drawn(generator, 30)
    whole = generator.sample(labels, heat, seeds)
    order = np.random.default_rng(0).permutation(30)
    assert (generator.sample(labels[order], heat[order], seeds[order]) == whole[order]).all()
    for i in range(30):
        row = slice(i, i + 1)
        assert (generator.sample(labels[row], heat[row], seeds[row]) == whole[row]).all()


@every
@latent_kind
def test_latents_of_a_row_depend_on_nothing_but_itself(kind, name):
    generator, data = fitted(kind, name), data_of(name)
    z = generator.encode(data.x[:20], data.y[:20])
    back = generator.decode(z, data.y[:20])
    assert (z.shape, z.dtype) == ((20, generator.n_latents), np.float32)
    assert (back.shape, back.dtype) == ((20, *data.x.shape[1:]), np.float32)
    assert np.isfinite(z).all()
    assert np.isfinite(back).all()
    for i in range(20):
        row = slice(i, i + 1)
        assert (generator.encode(data.x[row], data.y[row]) == z[row]).all()
        assert (generator.decode(z[row], data.y[row]) == back[row]).all()


@every_kind
def test_the_same_seed_fits_the_same_and_leaves_global_states_alone(kind):
    data = FitData(digits().x[:40], digits().y[:40], 6, 0.0, 1.0)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, two, other = (fit_quickly(kind, data, seed, 10) for seed in (3, 3, 4))
    assert (torch.get_rng_state() == torch_state).all()
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    assert all((one.tensors[key] == two.tensors[key]).all() for key in one.tensors)
    if kind != "gaussian":
        assert any((one.tensors[key] != other.tensors[key]).any() for key in one.tensors)


@every
@every_kind
def test_temperature_scales_the_noise(kind, name):
    generator = fitted(kind, name)
    labels, _, seeds = drawn(generator, 40)
    labels[:] = labels[0]
    spread = [
        np.ptp(generator.sample(labels, np.full(40, t), seeds), axis=0).sum()
        for t in (0.0, 0.5, 1.0)
    ]
    assert spread[0] == 0
    assert spread[0] < spread[1] < spread[2]


@every_kind
def test_images_stay_in_bounds(kind):
    generator = fitted(kind, "images")
    x = generator.sample(*drawn(generator, 200, temperature=1.0))
    assert x.min() >= 0
    assert x.max() <= 1


@pytest.mark.parametrize(("kind", "temperature"), [("gaussian", 0.5), ("vae", 0.0), ("gan", 0.5)])
def test_samples_are_of_their_class(kind, temperature):
    data = digits()
    judge = KNeighborsClassifier(1).fit(data.x.reshape(len(data.x), -1), data.y)
    generator = fitted(kind, "images")
    labels, heat, seeds = drawn(generator, 200, temperature)
    labels = labels % 4
    x = generator.sample(labels, heat, seeds)
    assert judge.score(x.reshape(200, -1), labels) > 0.9


def test_the_gaussian_has_the_means_and_spread_of_its_classes():
    data, generator = series(), fitted("gaussian", "series")
    x = generator.sample(np.zeros(400, int), np.ones(400), np.arange(400))
    x, real = x[:, 0], data.x[data.y == 0, 0]
    assert np.abs(x.mean(axis=0) - real.mean(axis=0)).max() < 0.1
    assert 0.5 < x.std(axis=0).mean() / real.std(axis=0).mean() < 1.2


@every
@every_kind
def test_a_class_of_one_sample_is_known_and_one_of_none_is_not(kind, name):
    generator = fitted(kind, name)
    one, none = generator.n_classes - 2, generator.n_classes - 1
    assert generator.knows(one)
    assert not generator.knows(none)
    assert not generator.knows(-1)
    assert not generator.knows(none + 1)
    x = generator.sample(np.full(9, one), np.linspace(0, 1, 9), np.arange(9))
    assert np.isfinite(x).all()
    for wrong in (none, -1, none + 1):
        with pytest.raises(GeneratorError, match=rf"training samples of, got \[{wrong}\]"):
            generator.sample(np.array([one, wrong]), np.ones(2), np.arange(2))


@every_kind
def test_categories_come_back_as_categories(kind):
    data, generator = table(), fitted(kind, "table")
    x = generator.sample(*drawn(generator, 200, temperature=1.0))
    assert set(x[:, 1]) <= set(data.x[~np.isnan(data.x[:, 1]), 1])
    assert (x[:, 2] == 4).all()
    assert (x[:, 3] == 0).all()


def test_the_gaussian_knows_which_category_goes_with_a_class():
    generator = fitted("gaussian", "table")
    x = generator.sample(np.arange(200) % 2, np.full(200, 0.5), np.arange(200))
    assert np.mean(x[:, 1] == 3 + 2 * (np.arange(200) % 2)) > 0.8


@every_kind
@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_samples_are_enough(kind, n):
    data = FitData(digits().x[:n], np.zeros(n, np.int64), 2, 0.0, 1.0)
    generator = fit_quickly(kind, data, 0, 10)
    x = generator.sample(np.zeros(3, int), np.ones(3), np.arange(3))
    assert np.isfinite(x).all()
    if generator.has_latents:
        z = generator.encode(data.x, data.y)
        assert generator.decode(z, data.y).shape == data.x.shape


def test_decoding_latents_of_the_gaussian_gives_nearly_the_samples():
    data, generator = digits(), fitted("gaussian", "images")
    back = generator.decode(generator.encode(data.x, data.y), data.y)
    assert ((back - data.x) ** 2).mean() < 0.06 * data.x.var()


def test_a_vae_rebuilds_what_it_has_not_seen():
    held, generator = digits("held"), fitted("vae", "images")
    back = generator.decode(generator.encode(held.x, held.y), held.y)
    assert ((back - held.x) ** 2).mean() < 0.5 * held.x.var()


def test_a_gan_has_no_latents():
    generator, data = fitted("gan", "images"), digits()
    assert not generator.has_latents
    with pytest.raises(GeneratorError, match="'gan' has no latents"):
        generator.encode(data.x, data.y)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"temperature": np.full(3, 1.5)}, r"`temperature` must be in \[0, 1\]"),
        ({"temperature": np.full(3, np.nan)}, r"`temperature` must be in \[0, 1\]"),
        ({"seeds": np.arange(2)}, "one entry per sample"),
        ({"labels": np.zeros(3)}, "`labels` must be whole numbers"),
    ],
)
def test_arguments_out_of_range_are_refused(change, text):
    arguments = {"labels": np.zeros(3, int), "temperature": np.ones(3), "seeds": np.arange(3)}
    with pytest.raises(GeneratorError, match=text):
        fitted("gaussian", "images").sample(**(arguments | change))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"x": np.zeros((2, 3))}, "`x` must be float32"),
        ({"x": np.zeros((0, 3), np.float32), "y": np.zeros(0, np.int64)}, "at least one sample"),
        ({"x": np.full((2, 3), np.inf, np.float32)}, "got infinities"),
        ({"y": np.zeros(3, np.int64)}, r"`y` must be int64 of shape \(2,\)"),
        ({"y": np.array([0, 5])}, r"`y` must be in 0..1, got 0..5"),
        ({"is_categorical": np.zeros(2, bool)}, "one entry per column"),
    ],
)
def test_data_that_does_not_fit_together_is_refused(change, text):
    parts = {"x": np.zeros((2, 3), np.float32), "y": np.array([0, 1]), "n_classes": 2}
    with pytest.raises(GeneratorError, match=text):
        FitData(**(parts | change))


def test_kinds_are_fitted_by_name():
    made = fit_generator("gaussian", digits(), 0, classes_of(digits()))
    same = fitted("gaussian", "images").tensors
    assert all((made.tensors[name] == same[name]).all() for name in same)


def test_an_unknown_kind_is_named_with_the_nearest():
    with pytest.raises(GeneratorError, match=r"'gausian'.* Did you mean 'gaussian'"):
        fit_generator("gausian", digits(), 0, classes_of(digits()))
    for name in ("", "x" * 5000, "a\0b"):
        with pytest.raises(GeneratorError, match="Unknown generator"):
            fit_generator(name, digits(), 0, classes_of(digits()))
    with pytest.raises(GeneratorError, match="must name 6 classes, got 1 names"):
        fit_generator("gaussian", digits(), 0, ["a"])
