"""Saved generators: the same to the bit, and hostile files."""

import hashlib
import json
import pickle

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from samples import DATA, KINDS, drawn, fitted
from test_banks import own

from policysearch.errors import FormatError, InvalidValueError, PolicySearchError
from policysearch.generators.bank import BankGenerator
from policysearch.generators.files import load_generator, save_generator


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_loaded_gives_the_same_to_the_bit(kind, name, tmp_path):
    generator = fitted(kind, name)
    path = tmp_path / "made.safetensors"
    save_generator(generator, path)
    loaded = load_generator(path)
    assert (loaded.kind, loaded.shape) == (kind, generator.shape)
    assert (loaded.known == generator.known).all()
    assert (loaded.sample(*drawn(generator)) == generator.sample(*drawn(generator))).all()
    first = path.read_bytes()
    save_generator(loaded, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_can_be_sent_to_another_process(kind):
    generator = fitted(kind, "table")
    sent = pickle.loads(pickle.dumps(generator))
    assert (sent.sample(*drawn(generator)) == generator.sample(*drawn(generator))).all()


def test_a_bank_is_saved_with_its_samples(tmp_path):
    generator = own("good", bank_size=3)
    save_generator(generator, tmp_path / "own.safetensors")
    loaded = load_generator(tmp_path / "own.safetensors")
    assert isinstance(loaded, BankGenerator)
    assert loaded.kind == "user"
    assert (loaded.sample(*drawn(generator)) == generator.sample(*drawn(generator))).all()


@pytest.fixture
def saved(tmp_path):
    save_generator(fitted("gaussian", "table"), tmp_path / "made.safetensors")
    return tmp_path / "made.safetensors"


def rewrite(path, header=None, tensors=None):
    """Changes a saved pair; the digest fits unless the header says otherwise."""
    beside = path.with_suffix(".json")
    found = safetensors.numpy.load(path.read_bytes()) | (tensors or {})
    raw = safetensors.numpy.save({k: v for k, v in found.items() if v is not None})
    path.write_bytes(raw)
    content = json.loads(beside.read_text()) | {"sha256": hashlib.sha256(raw).hexdigest()}
    beside.write_text(json.dumps(content | (header or {})))


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ({"format": "policysearch.policy"}, "`format` must be 'policysearch.generator'"),
        ({"version": 2}, "`version` must be 1"),
        ({"kind": "pickle"}, "`kind` must be"),
        ({"shape": [5]}, r"`encoding.mean` must have the shape \(5,\), got \(4,\)"),
        ({"shape": [10**9] * 4}, "`shape`|entry"),
        ({"shape": [2**20, 2**20]}, "at most 16,777,216 values"),
        ({"shape": []}, "`shape` must hold at least 1"),
        ({"n_classes": 5}, "`known` must hold 5 entries"),
        ({"known": [True] * 5, "n_classes": 5}, "`means` must have the shape"),
        ({"known": [False] * 4}, "`known` must hold 4 entries, of which one is true"),
        ({"low": 2.0, "high": 1.0}, "`low` must not exceed `high`"),
        ({"low": "x"}, "`low` must be"),
        ({"sha256": "0" * 64}, "`sha256` is not that of the tensors"),
        ({"sha256": "../../secret"}, "`sha256`"),
        ({"code": "import os"}, "Unknown key `code`"),
        ({"kind": "gan"}, "Tensor `maker.0.weight` is missing"),
    ],
)
def test_a_hostile_header_is_refused(saved, header, text):
    rewrite(saved, header)
    with pytest.raises(FormatError, match=text):
        load_generator(saved)


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"means": None}, "Tensor `means` is missing"),
        ({"more": np.zeros(3)}, "Unknown tensor `more`"),
        ({"centre": np.zeros(6)}, "`centre` must be float32, got float64"),
        ({"centre": np.zeros((2, 3), np.float32)}, r"`centre` must have the shape \(7,\)"),
        ({"means": np.full((4, 9), np.nan, np.float32)}, "`means` must be finite"),
        ({"means": np.zeros((4, 9), np.float32)}, r"`means` must have the shape \(4, "),
        ({"encoding.column": np.full(4, 9)}, r"`encoding.column` must be ascending in 0..3"),
        ({"encoding.column": np.array([1, 1, 1, 0])}, "not in order|must have the shape"),
        ({"encoding.column": np.zeros((3, 1), np.int64)}, "`encoding.column` must have the shape"),
        ({"encoding.scale": np.full(4, -1.0)}, "`encoding.scale` must not be negative"),
    ],
)
def test_hostile_tensors_are_refused(saved, tensors, text):
    rewrite(saved, tensors=tensors)
    with pytest.raises(FormatError, match=text):
        load_generator(saved)


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"labels": np.full(60, 7)}, "`labels` must be in 0..5"),
        ({"labels": np.zeros(60, np.int64)}, "every known class at every temperature"),
        ({"temperatures": np.full(60, 7.0)}, r"`temperatures` must be in \[0, 1\]"),
        ({"samples": np.full((60, 1, 8, 8), 7, np.float32)}, r"`samples` must be in 0.0..1.0"),
        ({"samples": np.zeros((59, 1, 8, 8), np.float32)}, r"`labels` must have the shape \(59,"),
        (
            {
                "samples": np.zeros((0, 1, 8, 8), np.float32),
                "labels": np.zeros(0, np.int64),
                "temperatures": np.zeros(0),
            },
            "every known class",
        ),
    ],
)
def test_a_hostile_bank_is_refused(tmp_path, tensors, text):
    path = tmp_path / "own.safetensors"
    save_generator(own("good", bank_size=3), path)
    rewrite(path, tensors=tensors)
    with pytest.raises(FormatError, match=text):
        load_generator(path)


def test_every_problem_is_said_at_once(saved):
    rewrite(saved, {"version": 9, "more": 1}, {"means": np.full((4, 2), np.inf, np.float32)})
    with pytest.raises(FormatError) as caught:
        load_generator(saved)
    assert len(caught.value.problems) == 3
    rewrite(saved, {"version": 1, "sha256": "0" * 64}, {"basis": None, "more": np.zeros(1)})
    beside = saved.with_suffix(".json")
    content = json.loads(beside.read_text())
    del content["more"]
    beside.write_text(json.dumps(content))
    with pytest.raises(FormatError) as caught:
        load_generator(saved)
    assert len(caught.value.problems) >= 4


def test_files_that_are_not_there_or_not_such_files(saved, tmp_path):
    with pytest.raises(InvalidValueError, match=r"must end in \.safetensors"):
        load_generator(tmp_path / "made.pkl")
    with pytest.raises(InvalidValueError, match=r"must end in \.safetensors"):
        save_generator(fitted("gaussian", "table"), tmp_path / "made.npz")
    with pytest.raises(InvalidValueError, match="does not exist"):
        load_generator(tmp_path / "other.safetensors")
    saved.with_suffix(".json").write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        load_generator(saved)


def test_values_that_overflow_stay_finite(saved):
    tensors = {
        "encoding.scale": np.array([5e-324, 0, 1e308, 1e308]),
        "encoding.mean": np.array([1e308, 3, -1e308, 1e308]),
        "factors": np.full_like(fitted("gaussian", "table").tensors["factors"], 3e38),
    }
    rewrite(saved, tensors=tensors)
    generator, x = load_generator(saved), np.ones((3, 4), np.float32)
    assert np.isfinite(generator.sample(*drawn(generator))).all()
    assert np.isfinite(generator.encode(x, np.zeros(3, int))).all()


@given(st.data())
def test_a_changed_file_is_an_error_of_the_house(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("files") / "made.safetensors"
    save_generator(fitted("gaussian", "table"), path)
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, min(len(raw), 700) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    beside = path.with_suffix(".json")
    content = json.loads(beside.read_text()) | {"sha256": hashlib.sha256(raw).hexdigest()}
    beside.write_text(json.dumps(content))
    try:
        generator = load_generator(path)
    except PolicySearchError:
        return
    assert np.isfinite(generator.sample(*drawn(generator))).all()
