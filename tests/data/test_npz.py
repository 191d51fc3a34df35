import io
import zipfile

import numpy as np
import pytest

from policysearch.data import resize
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
