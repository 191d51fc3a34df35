"""Corruptions: the same every time, as strong as they say, and never one that an arm has seen."""

import numpy as np
import pytest

from policysearch.corruptions import base
from policysearch.corruptions.base import CORRUPTIONS, corrupted, unseen_by
from policysearch.corruptions.image import IMAGE_CORRUPTIONS, compression, contrast, pixelate
from policysearch.data.dataset import Dataset
from policysearch.named import resolve_policy
from policysearch.ops.registry import KINDS
from policysearch.space_yaml import load_space

NAMES = sorted(IMAGE_CORRUPTIONS)


def images(shape=(40, 3, 16, 12), dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.random(shape, dtype=np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def run(name, x, seed=0):
    return IMAGE_CORRUPTIONS[name][0](x, np.random.default_rng(seed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (2, 4, 7, 9), (2, 1, 5, 6, 7)])
def test_images_of_any_kind_come_back_in_shape_and_range(name, dtype, shape):
    x = images(shape, dtype)
    before = x.copy()
    found = run(name, x)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 1
    assert (x == before).all()
    assert (run(name, x) == found).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_natural_image_is_changed_and_still_itself(name):
    ramp = np.linspace(0, 255, 32)
    x = np.broadcast_to(ramp[:, None] * 0.5 + ramp * 0.5, (8, 3, 32, 32)).astype(np.uint8)
    found = run(name, x)
    assert np.abs(found - x / 255).mean() > 0.001
    assert np.corrcoef(found.ravel(), x.ravel())[0, 1] > 0.8


def test_noises_have_the_published_strength():
    gray = np.full((50, 1, 32, 32), 0.5, dtype=np.float32)
    assert run("gaussian_noise", gray).std() == pytest.approx(0.1, rel=0.02)
    hit = run("impulse_noise", gray)
    assert np.mean(hit == 0) == pytest.approx(0.035, rel=0.05)
    assert np.mean(hit == 1) == pytest.approx(0.035, rel=0.05)
    assert np.isin(hit, [0, 0.5, 1]).all()


def test_contrast_shrinks_differences_about_the_mean():
    x = images(dtype="float32") * 0.5
    found = contrast(x, np.random.default_rng(0))
    assert found.mean(axis=(2, 3)) == pytest.approx(x.mean(axis=(2, 3)), abs=1e-6)
    assert found.std(axis=(2, 3)) == pytest.approx(0.15 * x.std(axis=(2, 3)), rel=1e-4)


def test_pixels_become_blocks_of_their_mean():
    x = images((2, 1, 20, 20), "float32")
    found = pixelate(x, np.random.default_rng(0))
    assert len(np.unique(found[0, 0])) == 13 * 13  # 65 % of 20
    first = x[0, 0, :1, :1].mean()  # blocks begin at 0, 1, 3, ...
    assert found[0, 0, 0, 0] == pytest.approx(first)
    assert found[0, 0, 1, 1] == found[0, 0, 2, 2] == pytest.approx(x[0, 0, 1:3, 1:3].mean())


def test_compression_keeps_flat_images_and_drops_what_is_fine():
    flat = np.full((1, 3, 11, 5), 128, dtype=np.uint8)
    assert compression(flat, np.random.default_rng(0)) == pytest.approx(flat / 255, abs=1e-6)
    faint = np.full((1, 1, 8, 8), 0.5, dtype=np.float32)
    faint[..., ::2, ::2] += 0.05
    smooth = compression(faint, np.random.default_rng(0))
    assert smooth.std() < 0.3 * faint.std()


def test_large_images_are_corrupted_as_much_as_small_ones():
    side = 128
    x = np.zeros((1, 1, side, side), dtype=np.float32)
    x[..., : side // 2] = 1
    edge = run("gaussian_blur", x)[0, 0, 0]
    assert np.sum((edge > 0.16) & (edge < 0.84)) == pytest.approx(2 * side / 32, abs=2)


def test_the_same_few_samples_are_corrupted_every_time(monkeypatch):
    data = Dataset(images((60, 1, 8, 8)), np.arange(60) % 3, ("a", "b", "c"))
    first, second = (dict(corrupted(data)) for _ in range(2))
    assert list(first) == list(IMAGE_CORRUPTIONS)
    for name, part in first.items():
        assert len(part) == 60
        assert (part.x == second[name].x).all()
        assert (part.y == data.y).all()
    monkeypatch.setattr(base, "MAX_VALUES", 64 * 30)
    assert all(part.counts().tolist() == [10, 10, 10] for _, part in corrupted(data))
    monkeypatch.setattr(base, "MAX_SAMPLES", 6)
    assert all(len(part) == 6 for _, part in corrupted(data))


def test_what_an_arm_trains_on_is_not_unseen():
    policies = {
        name: resolve_policy(name).policy for name in ("none", "trivialaugment-wide", "augmix")
    }
    assert unseen_by([policies["none"]]) == list(IMAGE_CORRUPTIONS)
    assert unseen_by(policies.values()) == [
        "impulse_noise", "pixelate", "compression", "gaussian_noise",
    ]  # fmt: skip
    everything = load_space("image/opwise").uniform_policy()
    assert unseen_by([policies["none"], everything]) == [
        "impulse_noise", "pixelate", "compression",
    ]  # fmt: skip
    assert unseen_by([]) == []


def test_corruptions_belong_to_kinds_of_data_that_there_are():
    assert set(CORRUPTIONS) <= set(KINDS)
