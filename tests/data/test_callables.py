import sys
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset, TensorDataset

from policysearch.data.dataset import Dataset, Source
from policysearch.data.source import load_source
from policysearch.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 7, 9), dtype=np.uint8)
Y = np.arange(12) % 3


def notices(source):
    return "\n".join(source.notices)


# --- callables and Python values ------------------------------------------------------------


@pytest.fixture
def make_module(tmp_path, monkeypatch):
    """Writes a module into the working directory; gives its name."""
    made = []

    def make(body):
        name = f"users_data_{len(made)}_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text("import numpy as np\n" + textwrap.dedent(body))
        made.append(name)
        return name

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield make
    for name in made:
        sys.modules.pop(name, None)


def test_a_function_is_found_in_the_working_directory_and_called(make_module):
    name = make_module("def load(): return np.zeros((4, 5, 5), 'uint8'), np.array([0, 1, 0, 1])")
    before = list(sys.path)
    source = load_source(f"{name}:load")
    assert source.train.x.shape == (4, 1, 5, 5)
    assert source.name == f"{name}:load"
    assert sys.path == before


@pytest.mark.parametrize(
    ("body", "call", "message"),
    [
        ("def load(): ...", "lod", "Unknown function 'lod'.*Did you mean 'load'"),
        ("load = 3", "load", "must be a function, got int"),
        ("def load(): raise OSError('no disk')", "load", "raised OSError: no disk"),
        ("def load(): return None", "load", "gave NoneType, which is no dataset. Return"),
        ("def load(): return 1, 2, 3", "load", "gave tuple of 3"),
        ("def load(): return {}", "load", "missing: x_train, y_train"),
        ("def load(): return [[1, 2], [3]], [0, 1]", "load", "`x_train` is not an array"),
        ("import no_such_thing\ndef load(): ...", "load", "'no_such_thing', needed by users_data"),
        ("1 / 0", "load", "failed to import: ZeroDivisionError"),
    ],
)
def test_bad_callables_are_refused_with_the_reason(make_module, body, call, message):
    with pytest.raises(DataError, match=message):
        load_source(f"{make_module(body)}:{call}")


def test_missing_module_is_named():
    with pytest.raises(DataError, match=r"Module 'no_such_module' was not found .*Run from"):
        load_source("no_such_module.inner:load")


def test_pairs_dicts_tensors_and_sources_from_python():
    pair = load_source((X, Y))
    both = load_source(((X, Y), (X[:6], Y[:6])))
    named = load_source({"x_train": X, "y_train": Y, "x_test": X[:6], "y_test": Y[:6]})
    tensors = load_source((torch.from_numpy(X), torch.from_numpy(Y)))
    for source in (pair, both, named, tensors):
        np.testing.assert_array_equal(source.train.x[:, 0], X)
        np.testing.assert_array_equal(source.train.y, Y)
    assert len(both.test) == len(named.test) == 6
    assert load_source(both) is both
    assert load_source(both.train).train is both.train
    assert load_source(both, image_size=5).test.x.shape[2:] == (5, 5)


class Items:
    """A map-style dataset as torch defines it."""

    def __init__(self, images, labels, classes=None):
        self.images, self.labels = images, labels
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def test_torch_datasets_one_pair_or_dict():
    x = torch.rand(12, 3, 6, 6)
    data = TensorDataset(x, torch.from_numpy(Y))
    for value in (data, (data, data), {"train": data, "test": data}):
        source = load_source(value)
        np.testing.assert_allclose(source.train.x, x.numpy())
        np.testing.assert_array_equal(source.train.y, Y)
    assert len(source.test) == 12


def test_dataset_of_pil_images_follows_the_rules_for_files():
    images = [Image.fromarray(RNG.integers(0, 256, (8 + i, 9, 3), np.uint8)) for i in range(12)]
    source = load_source(Items(images, Y.tolist(), ["a", "b", "c"]))
    assert source.train.x.shape == (12, 3, 9, 9)
    assert source.train.classes == ("a", "b", "c")
    assert "were resized to 9 x 9" in notices(source)


@pytest.mark.parametrize(
    ("item", "shape"),
    [
        (np.zeros((6, 7, 3), np.uint8), (3, 6, 7)),
        (np.zeros((3, 6, 7), np.uint8), (3, 6, 7)),
        (np.zeros((6, 7), np.uint8), (1, 6, 7)),
        (torch.zeros((6, 7), dtype=torch.uint8), (1, 6, 7)),
        (torch.zeros((3, 5, 3), dtype=torch.uint8), (3, 5, 3)),
    ],
)
def test_dataset_of_arrays_or_tensors(item, shape):
    assert load_source(Items([item] * 12, Y)).train.x.shape == (12, *shape)


class Stream(IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Items([X[0]] * 3, ["a", 0.5, 1]), "A label must be an integer, got 0.5 .item 1 of the"),
        (Items([X[0]] * 3, [[1], {}, 1]), "A label must be an integer, got list of 1 .item 0"),
        (Items([X[0], X[0][1:]], [0, 1]), "must have one shape, got .1, 6, 9., .1, 7, 9."),
        (Items([X[0, 0]] * 2, [0, 1]), "must have 2 or 3 dimensions"),
        (Items([], []), "at least one item"),
        (Items(X, [0]), "Reading item 1 of .* raised IndexError"),
        (X.tolist(), "is no dataset"),
        (TensorDataset(torch.rand(3, 1, 4, 4)), "must be .image, label., got tuple of 1"),
        (TensorDataset(torch.randn(3, 1, 4, 4), torch.arange(3)), "normalised"),
        (Stream(), "must give items by number, got Stream"),
        ({"train": Items(X, Y), "tset": Items(X, Y)}, "A dict of datasets must have the key"),
        (42, "gave int, which is no dataset"),
    ],
)
def test_bad_values_are_refused_with_the_reason(value, message):
    with pytest.raises(DataError, match=message):
        load_source(value)


def test_a_dataset_with_random_transforms_is_said():
    class Random(Items):
        def __getitem__(self, i):
            return torch.rand(1, 4, 4), int(Y[i])

    assert "different image each time" in notices(load_source(Random(X, Y)))


# --- Dataset --------------------------------------------------------------------------------


def dataset(**changes):
    parts = {"x": X[:, None], "y": Y.astype(np.int64), "classes": ("a", "b", "c")} | changes
    return Dataset(**parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": Y[:4]}, "`y` must have one entry per sample, got 4 for 12"),
        ({"y": Y.astype(np.int32)}, "`y` must be int64"),
        ({"y": Y + 1}, "`y` must be in 0..2, got 1..3"),
        ({"classes": ("a", "a", "b")}, "`classes` must differ"),
        ({"x": X}, "must have shape .n, C, H, W."),
        ({"x": X[:, None].astype(np.int64)}, "must be one of uint8, uint16, float32"),
        ({"names": ("x",)}, "`names` must have one entry"),
    ],
)
def test_parts_of_a_dataset_must_fit(changes, message):
    with pytest.raises(DataError, match=message):
        dataset(**changes)


def test_take_keeps_everything_aligned():
    whole = dataset(groups=np.arange(12), names=tuple(map(str, range(12))))
    some = whole.take([5, 2])
    np.testing.assert_array_equal(some.x, whole.x[[5, 2]])
    assert (some.y.tolist(), some.groups.tolist(), some.names) == ([2, 2], [5, 2], ("5", "2"))
    assert len(whole.take([])) == 0


def test_fingerprint_changes_with_data_labels_and_names_only():
    one = dataset()
    assert len(one.fingerprint) == 16
    assert one.fingerprint == dataset(groups=np.arange(12)).fingerprint
    changed_pixel = X[:, None].copy()
    changed_pixel[11, 0, 6, 8] ^= 1
    others = [
        dataset(x=changed_pixel),
        dataset(y=np.roll(Y, 1)),
        dataset(classes=("a", "b", "d")),
        one.take(np.arange(12)[::-1]),
        dataset(x=X.reshape(12, 1, 9, 7)),
    ]
    assert len({one.fingerprint, *(d.fingerprint for d in others)}) == 6


def test_other_modalities_fit():
    text = Dataset(
        np.array(["good film", "bad"], object), np.array([0, 1]), ("no", "yes"), modality="text"
    )
    other = Dataset(
        np.array(["good fil", "mbad"], object), np.array([0, 1]), ("no", "yes"), modality="text"
    )
    assert text.fingerprint != other.fingerprint
    assert text.take([1]).x.tolist() == ["bad"]
    assert isinstance(load_source(text), Source)
