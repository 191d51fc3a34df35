"""NIfTI files by class: volumes on one grid, and a search of them."""

import dataclasses

import numpy as np
import pytest
import torch

from policysearch.corruptions.base import corrupted
from policysearch.data import load_source
from policysearch.data.duplicates import find_duplicates
from policysearch.data.nifti_folder import _fitted
from policysearch.errors import DataError, MissingDependencyError
from policysearch.metrics import scores
from policysearch.named import resolve_policy
from policysearch.proxies.base import settings_for
from policysearch.proxies.image import build_network

nibabel = pytest.importorskip("nibabel")


def write(path, values, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)


def ball(rng, radius, shape=(14, 16, 12)):
    """A bright ball in noise, on a scale as scanners have."""
    grid = np.stack(np.meshgrid(*(np.arange(k) - k / 2 for k in shape), indexing="ij"))
    inside = (grid**2).sum(axis=0) < radius**2
    return (1000 * inside + rng.normal(0, 100, shape) - 500).astype(np.int16)


@pytest.fixture
def scans(tmp_path):
    """Small and large balls of twelve patients, two scans of each."""
    rng = np.random.default_rng(0)
    for i in range(24):
        label = "large" if i // 2 % 2 else "small"
        suffix = "nii.gz" if i % 3 else "nii"
        write(
            tmp_path / "scans" / label / f"p{i // 2}_{i % 2}.{suffix}",
            ball(rng, 5 if i // 2 % 2 else 3),
        )
    return tmp_path / "scans"


def test_volumes_come_in_on_one_grid_in_unit_range_with_patients_as_groups(scans):
    rng = np.random.default_rng(1)
    write(scans / "small" / "p90_0.nii", ball(rng, 3, (20, 16, 12)))
    source = load_source(scans, group_pattern=r"p(\d+)_")
    x = source.train.x
    assert x.shape == (25, 1, 12, 16, 14)
    assert x.dtype == np.float32
    assert x.min() == 0
    assert x.max() == 1
    assert set(source.train.groups) == {*map(str, range(12)), "90"}
    assert any("25 NIfTI files were brought to 12 x 16 x 14" in text for text in source.notices)


def test_axes_are_turned_to_the_closest_canonical_ones(tmp_path):
    ramp = np.broadcast_to(np.arange(8.0)[:, None, None], (8, 8, 8)).astype(np.float32)
    for label in "ab":
        write(tmp_path / label / "1.nii", ramp)
        write(tmp_path / label / "2.nii", ramp[::-1], np.diag([-1, 1, 1, 1]))
    x = load_source(tmp_path).train.x[:, 0]
    assert (np.diff(x[0], axis=2) >= 0).all(), "to the right"
    np.testing.assert_allclose(x[1], x[0], atol=1e-6)


def test_files_of_one_slice_are_flat_images(tmp_path):
    rng = np.random.default_rng(0)
    for label in "ab":
        for i in range(3):
            write(tmp_path / label / f"{i}.nii.gz", rng.random((70, 80, 1)).astype(np.float32))
    assert load_source(tmp_path).train.x.shape == (6, 1, 64, 64)
    assert load_source(tmp_path, image_size=20).train.x.shape == (6, 1, 20, 20)


def test_a_finer_grid_is_smoothed_before_it_is_read():
    stripes = np.broadcast_to((np.arange(40) % 2).astype(np.float32), (1, 40, 40))
    small = _fitted(stripes, (1, 10, 10))
    assert small.shape == (1, 10, 10)
    assert np.abs(small[0, :, 1:-1] - 0.5).max() < 0.1
    assert np.array_equal(_fitted(stripes, (1, 40, 40)), stripes)


def test_bad_files_are_named_with_their_reasons(scans, monkeypatch):
    (scans / "small" / "x1.nii.gz").write_bytes(b"nothing")
    (scans / "small" / "x2.tar.gz").write_bytes(b"nothing")
    write(scans / "small" / "x3.nii", np.zeros((4, 4, 4, 5), np.float32))
    write(scans / "small" / "x4.nii", np.full((4, 4, 4), np.nan, np.float32))
    with pytest.raises(DataError) as caught:
        load_source(scans)
    text = str(caught.value)
    for part in (
        "not a NIfTI file, or damaged",
        "not a .nii or .nii.gz file",
        "three axes is needed, got (4, 4, 4, 5)",
        "values that are NaN",
    ):
        assert part in text
    assert len(load_source(scans, skip_bad=True).train) == 24
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'policysearch\[medical\]'"):
        load_source(scans)


def test_a_network_of_volumes_learns_under_a_medical_policy(scans):
    train = load_source(scans, group_pattern=r"p(\d+)_").train
    policy = resolve_policy("nnunet").policy
    settings = dataclasses.replace(settings_for(train), batch_size=6, learning_rate=0.05)
    proxy = settings.make(train, policy, 15, 0)
    proxy.fit()
    assert scores(proxy.predict(train), train.y)["accuracy"] > 0.9
    assert list(corrupted(train)) == []
    assert find_duplicates(train, train).exact == 24
    network = build_network((1, 12, 16, 14), 2, 8, seed=0)
    assert network(torch.zeros(2, 1, 12, 16, 14)).shape == (2, 2)
