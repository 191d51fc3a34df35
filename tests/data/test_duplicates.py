import io
import time

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from policysearch.data.columns import Column
from policysearch.data.dataset import Dataset, Source
from policysearch.data.duplicates import find_duplicates, split_duplicates
from policysearch.data.source import load_source
from policysearch.data.splits import make_splits

RNG = np.random.default_rng(0)
N_PLANTED = 20


def dataset(x, first=0):
    return Dataset(
        x=x,
        y=np.arange(len(x)) % 2,
        classes=("a", "b"),
        names=tuple(f"{first + i}.png" for i in range(len(x))),
    )


@pytest.fixture(scope="module")
def photographs():
    """200 different 32 x 32 pieces of scikit-learn's two photographs, none of them flat."""
    pieces = []
    for photo in load_sample_images().images:
        for top in range(0, photo.shape[0] - 80, 24):
            for left in range(0, photo.shape[1] - 80, 32):
                piece = Image.fromarray(photo[top : top + 80, left : left + 80])
                pieces.append(as_array(piece.resize((32, 32))))
    x = np.stack([piece for piece in pieces if piece.std() > 30])
    return dataset(x[np.random.default_rng(1).permutation(len(x))[:200]])


def as_image(x):
    return Image.fromarray(x.transpose(1, 2, 0))


def as_array(image):
    return np.asarray(image).transpose(2, 0, 1)


def brighter(x, by):
    return np.clip(x.astype(int) + by, 0, 255).astype(np.uint8)


def saved_as_jpeg(x, quality):
    file = io.BytesIO()
    as_image(x).save(file, "JPEG", quality=quality)
    return as_array(Image.open(file))


def scaled_and_back(x, factor):
    size = round(32 * factor)
    return as_array(as_image(x).resize((size, size)).resize((32, 32)))


def test_exact_twins_are_counted_and_named(photographs):
    report = find_duplicates(
        photographs.take(np.arange(110)), photographs.take(np.arange(100, 200))
    )
    assert (report.exact, report.near) == (10, 0)
    assert report.examples[0] == ("100.png", "100.png", "exact")
    assert report.text.startswith("10 exact and 0 near duplicates among 100 samples (10.00%)")
    assert "exact: 100.png and 100.png" in report.text


@pytest.mark.parametrize(
    "alter",
    [
        lambda x: brighter(x, 1),
        lambda x: brighter(x, 25),
        lambda x: saved_as_jpeg(x, 75),
        lambda x: scaled_and_back(x, 2),
        lambda x: scaled_and_back(x, 0.75),
    ],
    ids=["brightness +1", "brightness +25", "jpeg 75", "scaled by 2", "scaled by 0.75"],
)
def test_altered_copies_are_found_and_nothing_else(photographs, alter):
    a, b = photographs.x[:100].copy(), photographs.x[100:]
    a[:N_PLANTED] = [alter(x) for x in b[:N_PLANTED]]
    report = find_duplicates(dataset(a), dataset(b, first=100))
    assert (report.exact, report.near) == (0, N_PLANTED)
    assert report.examples[0] == ("0.png", "100.png", "near")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 5, 40), (4, 1, 1)])
def test_random_images_have_no_near_duplicates(dtype, shape):
    x = RNG.random((400, *shape), dtype=np.float32)
    if dtype != "float32":
        x = (x * np.iinfo(dtype).max).astype(dtype)
    report = find_duplicates(dataset(x[:200]), dataset(x[200:]))
    assert report.near == 0
    if shape != (4, 1, 1):
        assert report.exact == 0
        assert report.text == ""


def test_look_alike_digits_are_not_reported():
    source = load_source("digits")
    report = find_duplicates(source.train, source.test)
    assert (report.exact, report.near) == (0, 0)


def test_flat_images_are_compared_exactly_only():
    faint = RNG.integers(0, 2, (50, 1, 8, 8), dtype=np.uint8)
    darker, lighter = dataset(faint + np.uint8(100)), dataset(faint + np.uint8(150))
    assert (find_duplicates(darker, lighter).exact, find_duplicates(darker, lighter).near) == (
        0,
        0,
    )
    assert find_duplicates(darker, darker).exact == 50


def test_too_many_pairs_fall_back_to_exact_ones_and_say_so(photographs):
    report = find_duplicates(photographs, photographs.take(np.arange(10)), max_pairs=100)
    assert (report.exact, report.near) == (10, 0)
    assert "Near duplicates were not looked for: 200 x 10 pairs are too many" in report.text


def test_other_modalities_are_compared_exactly():
    words = np.array([[1.0, 2.0], [3.0, 4.0]])
    columns = (Column("a"), Column("b"))
    table = Dataset(words, np.array([0, 1]), ("k", "l"), modality="tabular", columns=columns)
    report = find_duplicates(table, table.take([1]))
    assert (report.exact, report.near, report.notice) == (1, 0, "")


def test_a_few_samples_suffice():
    x = RNG.integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    assert find_duplicates(dataset(x), dataset(brighter(x[:1], 1))).near == 1
    assert find_duplicates(dataset(x[:0]), dataset(x)).near == 0


def test_a_whole_set_of_copies_is_found(photographs):
    report = find_duplicates(photographs, dataset(brighter(photographs.x, 1)))
    assert report.near == 200


def test_twins_across_the_test_split_and_across_folds_are_told(photographs):
    x = photographs.x[:60].copy()
    x[1] = x[0]
    source = Source(dataset(x), test=dataset(photographs.x[58:70], first=700))
    cases = set()
    for seed in range(6):
        splits = make_splits(source, seed=seed, n_folds=2)
        texts = split_duplicates(splits)
        assert texts[0].startswith("Between training and test data: 2 exact")
        is_apart = len({0, 1} & set(splits.search.folds[0][1].tolist())) == 1
        told = [text for text in texts[1:] if "1 exact" in text]
        assert len(told) == (2 if is_apart else 0)
        assert all(text.startswith("Between training and validation data") for text in told)
        cases.add(is_apart)
    assert cases == {True, False}


def test_ten_million_pairs_are_quick():
    x = RNG.integers(0, 256, (12_000, 1, 16, 16), dtype=np.uint8)
    start = time.perf_counter()
    find_duplicates(dataset(x[:10_000]), dataset(x[10_000:]))
    assert time.perf_counter() - start < 5  # takes 0.2 s; 50 times as many must stay bearable
