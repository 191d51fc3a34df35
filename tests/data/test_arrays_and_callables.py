import io
import sys
import textwrap
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset, TensorDataset

from policysearch.data import resize
from policysearch.data.dataset import Dataset, Source
from policysearch.data.source import load_source
from policysearch.errors import DataError, InvalidValueError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 7, 9), dtype=np.uint8)
Y = np.arange(12) % 3


def save(path, **arrays):
    np.savez_compressed(path / "data.npz", **arrays)
    return path / "data.npz"


def notices(source):
    return "\n".join(source.notices)


# --- npz: what is read ----------------------------------------------------------------------


def test_digits_are_split_for_good():
    source = load_source("digits")
    assert (len(source.train), len(source.test)) == (997, 800)
    assert source.train.x.shape[1:] == (1, 8, 8)
    assert source.train.x.dtype == np.uint8
    assert (source.train.x.min(), source.train.x.max()) == (0, 255)
    assert source.test.counts().tolist() == [79, 81, 79, 81, 81, 81, 81, 80, 77, 80]
    # Figures in the documentation are about these images: the split must never move.
    assert source.train.fingerprint == "bb7f22c486332de6"


def test_npz_with_all_its_keys(tmp_path):
    path = save(
        tmp_path, x_train=X, y_train=Y, x_val=X[:6], y_val=Y[:6], x_test=X[:3], y_test=Y[:3],
        groups=np.arange(12) // 2, classes=np.array(["a", "b", "c"]),
    )  # fmt: skip
    source = load_source(path)
    np.testing.assert_array_equal(source.train.x[:, 0], X)
    assert [len(part) for part in source.parts().values()] == [12, 6, 3]
    assert source.train.classes == ("a", "b", "c")
    assert source.train.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert source.test.groups is None
    assert source.name == "data.npz"


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((12, 7, 9, 3), "NHWC"),
        ((12, 7, 9, 1), "NHWC"),
        ((12, 3, 7, 9), "NCHW"),
        ((12, 1, 7, 9), "NCHW"),
        ((12, 3, 3, 1), "NHWC"),
        ((12, 1, 3, 3), "NCHW"),
        ((12, 5, 8, 8), "NCHW"),
        ((12, 8, 8, 5), "NHWC"),
    ],
)
def test_layout_is_guessed_and_said(tmp_path, shape, order):
    x = RNG.integers(0, 256, shape, dtype=np.uint8)
    source = load_source(save(tmp_path, x_train=x, y_train=Y))
    expected = x if order == "NCHW" else x.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(source.train.x, expected)
    assert f"was read as {order}" in notices(source)


@pytest.mark.parametrize("shape", [(12, 3, 3, 3), (12, 1, 28, 1), (12, 3, 32, 3), (12, 8, 8, 8)])
def test_ambiguous_layout_is_refused_unless_it_is_given(tmp_path, shape):
    path = save(tmp_path, x_train=np.zeros(shape, np.uint8), y_train=Y)
    with pytest.raises(DataError, match="channels first and channels last are both possible"):
        load_source(path)
    assert load_source(path, layout="NCHW").train.x.shape == shape
    with pytest.raises(InvalidValueError, match="`layout` must be"):
        load_source(path, layout="CHW")


@pytest.mark.parametrize(
    ("x", "dtype", "said"),
    [
        (X.astype(np.uint16) * 257, "uint16", ""),
        (X.astype(">u2") * 257, "uint16", ""),
        ((X / 255).astype(np.float32), "float32", ""),
        (X / 255, "float32", "float64 was read as float32"),
        (X.astype(np.int64), "uint8", "int64 in 0..255 was read as uint8"),
        (X.astype(np.int32) * 200, "uint16", "was read as uint16"),
    ],
)
def test_pixel_types(tmp_path, x, dtype, said):
    source = load_source(save(tmp_path, x_train=x, y_train=Y))
    assert source.train.x.dtype == dtype
    np.testing.assert_allclose(source.train.x[:, 0], x, rtol=1e-6)
    assert said in notices(source)


def test_column_of_labels_and_float_labels_are_read(tmp_path):
    source = load_source(save(tmp_path, x_train=X, y_train=Y.astype(np.float64)[:, None]))
    np.testing.assert_array_equal(source.train.y, Y)
    assert "whole numbers stored as float64" in notices(source)


def test_named_labels_are_numbered_in_order(tmp_path):
    source = load_source(save(tmp_path, x_train=X, y_train=np.array(["b", "c", "a"])[Y]))
    assert source.train.classes == ("a", "b", "c")
    assert source.train.y[:3].tolist() == [1, 2, 0]


def test_large_arrays_are_resized_and_said(tmp_path):
    x = RNG.integers(0, 256, (6, 100, 80, 3), dtype=np.uint8)
    source = load_source(save(tmp_path, x_train=x, y_train=Y[:6]))
    assert source.train.x.shape == (6, 3, 64, 64)
    assert "Images of 80 x 100 pixels were resized to 64 x 64" in notices(source)


def test_float_images_of_many_channels_are_resized_within_their_range(tmp_path):
    x = RNG.random((6, 5, 20, 20), dtype=np.float32)
    small = load_source(save(tmp_path, x_train=x, y_train=Y[:6]), image_size=10).train.x
    assert small.shape == (6, 5, 10, 10)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small.mean((2, 3)), x.mean((2, 3)), atol=0.03)


# --- npz: what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X, "y": Y}, "missing: x_train, y_train; found: X, y"),
        ({"x_train": X}, "missing: y_train"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "missing: y_test"),
        ({"x_train": X, "y_train": Y[:5]}, "same length, got 12 and 5"),
        ({"x_train": X[0], "y_train": Y}, "must have 3 or 4 dimensions, got shape .7, 9."),
        ({"x_train": np.zeros((12, 64)), "y_train": Y}, r"reshape them to \(n, 8, 8\)"),
        ({"x_train": X[:0], "y_train": Y[:0]}, "must not be empty"),
        ({"x_train": X.astype(bool), "y_train": Y}, r"Use x.astype\('uint8'\) \* 255"),
        ({"x_train": X.astype(complex), "y_train": Y}, "must be uint8, uint16 or float"),
        ({"x_train": X.astype(int) - 5, "y_train": Y}, "got int64 in -5..250"),
        ({"x_train": X.astype(int) * 1000, "y_train": Y}, "uint16.*Scale the pixels"),
        ({"x_train": X.astype(float), "y_train": Y}, r"must be in \[0, 1\].*x.astype\('uint8'\)"),
        ({"x_train": X / 16.0, "y_train": Y}, r"must be in \[0, 1\].*x / 15.9"),
        ({"x_train": X / 100.0 - 1, "y_train": Y}, "normalised .mean, deviation., leave that out"),
        ({"x_train": np.where(X > 250, np.nan, X / 255), "y_train": Y}, "NaN or infinity in"),
        ({"x_train": np.where(X > 250, np.inf, X / 255), "y_train": Y}, "NaN or infinity in"),
        (
            {"x_train": X, "y_train": np.where(Y == 1, 5, Y)},
            "every label in 0..5.*none of 1, 3, 4",
        ),
        ({"x_train": X, "y_train": Y + 1}, "got none of 0 .*Use y - 1."),
        ({"x_train": X, "y_train": Y * 10**15}, "got none of 1, 2, 3"),
        ({"x_train": X, "y_train": Y - 1}, "must be 0 or more, got -1"),
        ({"x_train": X, "y_train": Y + 0.5}, "must hold class numbers, got 0.5.*regression"),
        ({"x_train": X, "y_train": np.where(Y, Y, np.nan)}, "must hold class numbers, got nan"),
        ({"x_train": X, "y_train": np.eye(3)[Y]}, r"one-hot, use y.argmax\(axis=1\)"),
        ({"x_train": X, "y_train": Y.astype("S")}, "must hold integers"),
        ({"x_train": X, "y_train": Y, "groups": Y[:4]}, "`groups` must hold one"),
        ({"x_train": X, "y_train": Y, "groups": Y / 2}, "`groups` must hold one"),
        ({"x_train": X, "y_train": Y, "classes": np.array(["a"])}, "`classes` must be 3 names"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, 1:], "y_test": Y}, "must match `x_train`"),
        ({"x_train": X, "y_train": Y, "x_test": X / 255, "y_test": Y}, "must match `x_train`"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1}, "`y_test`.*got 3"),
    ],
)
def test_bad_arrays_are_refused_with_the_reason(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message) as caught:
        load_source(save(tmp_path, **arrays))
    assert "data.npz" in str(caught.value)


def test_unused_arrays_are_said(tmp_path):
    source = load_source(save(tmp_path, x_train=X, y_train=Y, weights=Y))
    assert "ignored the arrays weights" in notices(source)


class Trap:
    """Would be noticed if it were unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("key", ["x_train", "y_train", "groups"])
def test_object_arrays_are_refused_and_never_unpickled(tmp_path, key):
    arrays = {"x_train": X, "y_train": Y, key: np.array([Trap()] * 12, dtype=object)}
    with pytest.raises(DataError, match=f"`{key}`.*holds Python objects"):
        load_source(save(tmp_path, **arrays))


def npy_header(shape, dtype="|u1"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def test_a_file_that_declares_more_than_it_holds_is_refused(tmp_path):
    path = save(tmp_path, y_train=Y)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", npy_header((10**6, 10**6)) + b"few")
    with pytest.raises(DataError, match="declares 1,000,000,000,000 bytes but holds 3"):
        load_source(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = save(tmp_path, x_train=np.zeros((2000, 32, 32), np.uint8), y_train=np.arange(2000) % 2)
    monkeypatch.setattr(resize, "memory_limit", lambda: 10**6)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(DataError, match=r"would take .* GiB of memory"):
        load_source(path)


def test_truncated_and_false_npz_are_refused(tmp_path):
    path = save(tmp_path, x_train=X, y_train=Y)
    whole = path.read_bytes()
    for content in (whole[:-40], b"", b"hello"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"is not a readable .npz file"):
            load_source(path)
    damaged = bytearray(whole)
    damaged[len(whole) // 4] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(DataError):
        load_source(path)


def test_an_entry_that_is_no_array_is_refused(tmp_path):
    path = save(tmp_path, y_train=Y)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", b"hello")
    with pytest.raises(DataError, match=r"`x_train` in 'data.npz' is not a numpy array"):
        load_source(path)


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
