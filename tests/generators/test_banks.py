"""Generators of others: a user's function, and a folder of images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import classes_of, digits, table

from policysearch.errors import DataError, FormatError, GeneratorError, InvalidValueError
from policysearch.generators.fit import fit_generator
from policysearch.generators.samples import FitData
from policysearch.generators.user import fit_user

OWN = str(Path(__file__).parent / "own_generators.py")


def own(name, data=None, **options):
    return fit_user(f"{OWN}:{name}", data or digits(), 0, **options)


def test_a_users_generator_becomes_a_bank():
    generator = fit_generator(f"{OWN}:good", digits(), 0, classes_of(digits()))
    again = own("good")
    labels, heat, seeds = np.arange(100) % 5, np.linspace(0, 1, 100), np.arange(100)
    x = generator.sample(labels, heat, seeds)
    assert generator.kind == "user"
    assert (x == again.sample(labels, heat, seeds)).all()
    assert (x[7:8] == again.sample(labels[7:8], heat[7:8], seeds[7:8])).all()
    assert not generator.knows(5)
    assert len(generator.tensors["samples"]) == 5 * 4 * 64
    many = [generator.sample(np.zeros(300, int), np.full(300, t), np.arange(300)) for t in (0, 1)]
    assert len(np.unique(many[1], axis=0)) > 40
    assert many[0].std(axis=0).mean() < many[1].std(axis=0).mean()


def test_a_users_generator_cannot_change_the_training_samples():
    data = FitData(digits().x.copy(), digits().y.copy(), 6, 0.0, 1.0)
    own("scribbler", data, bank_size=2)
    assert (data.x == digits().x).all()
    assert (data.y == digits().y).all()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("broken", "factory of generator '.*:broken' failed: ZeroDivisionError"),
        ("no_object", "must return an object with a method `sample`, got list"),
        ("wrong_shape", r"must have the shape \(4, 1, 8, 8\), got \(3, 1, 8, 8\) \(for label 0, "),
        ("integers", "must be floating, got int64"),
        ("too_high", "must be at most 1, got 255"),
        ("too_low", "must be at least 0, got -0.5"),
        ("nan", "must be finite, got nan"),
        ("words", "must be floating, got <U6"),
        ("ragged", "`sample` of generator '.*:ragged' failed for label 0.*ValueError"),
        ("raises", "`sample` of generator '.*:raises' failed .*temperature 0.25: KeyError"),
    ],
)
def test_a_poisoned_generator_is_named_with_the_rule(name, text):
    with pytest.raises(GeneratorError, match=text):
        own(name, bank_size=4)


def test_categories_that_no_training_row_has_are_refused():
    with pytest.raises(GeneratorError, match="categories of the training rows in column 1"):
        own("categories", table(), bank_size=4)


def test_a_factory_that_is_not_there_is_named():
    with pytest.raises(InvalidValueError, match=r"Unknown function 'goood'.*'good'"):
        own("goood")
    with pytest.raises(InvalidValueError, match="does not exist"):
        fit_user("no_such_file.py:make", digits(), 0)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for label in (0, 2):
        (tmp_path / f"class {label}").mkdir()
        for i in range(5):
            gray = rng.integers(0, 120, (12, 16), dtype=np.uint8) + np.uint8(60 * label)
            Image.fromarray(gray).save(tmp_path / f"class {label}" / f"{i}.png")
    return tmp_path


def test_a_folder_of_images_becomes_a_bank(folder):
    generator = fit_generator(str(folder), digits(), 0, classes_of(digits()))
    x = generator.sample(np.array([0, 2] * 50), np.linspace(0, 1, 100), np.arange(100))
    assert generator.kind == "folder"
    assert generator.known.tolist() == [True, False, True, False, False, False]
    assert x.shape == (100, 1, 8, 8)
    assert 0 <= x.min() < x.max() <= 1
    assert x[::2].mean() + 0.3 < x[1::2].mean()
    assert len(np.unique(x, axis=0)) == 10
    hot = generator.sample(np.zeros(20, int), np.ones(20), np.arange(20))
    assert (hot == generator.sample(np.zeros(20, int), np.zeros(20), np.arange(20))).all()


def test_colour_and_gray_are_brought_to_the_channels_of_the_data(folder):
    colour = np.zeros((9, 9, 3), np.uint8)
    colour[..., 0] = 255
    Image.fromarray(colour).save(folder / "class 0" / "0.png")
    generator = fit_generator(str(folder), digits(), 0, classes_of(digits()))
    assert np.allclose(generator.tensors["samples"][0], 0.299, atol=1e-3)
    rgb = FitData(np.zeros((2, 3, 6, 8), np.float32), np.array([0, 1]), 6, 0.0, 1.0)
    generator = fit_generator(str(folder), rgb, 0, classes_of(rgb))
    assert generator.tensors["samples"].shape == (10, 3, 6, 8)


def test_all_that_is_wrong_with_a_folder_is_said_at_once(folder):
    (folder / "class 9").mkdir()
    (folder / "class 9" / "1.png").write_bytes((folder / "class 0" / "1.png").read_bytes())
    (folder / "class 0" / "1.png").write_bytes(b"not an image")
    (folder / "class 2" / "2.png").write_bytes(b"")
    with pytest.raises(FormatError) as caught:
        fit_generator(str(folder), digits(), 0, classes_of(digits()))
    assert len(caught.value.problems) == 3
    assert "Unknown class folder 'class 9'" in str(caught.value)
    assert "class 0/1.png: not a JPEG" in str(caught.value)
    assert "class 2/2.png" in str(caught.value)


def test_a_folder_needs_images(folder, tmp_path):
    with pytest.raises(GeneratorError, match="needs training images"):
        fit_generator(str(folder), table(), 0, classes_of(table()))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no class folders"):
        fit_generator(str(tmp_path / "empty"), digits(), 0, classes_of(digits()))
