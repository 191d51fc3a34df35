"""What every operation of a modality must keep, asked of its whole table.

`pytest` collects the classes that inherit from `OpContract`; each of them names a modality whose
kernels are entered through `apply_stages`. A new entry in the table is covered without a new line
here, and one without a kernel fails.
"""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from contracts.kernel_calls import apply_stage
from torch import Tensor

from policysearch.ops.image_kernels import ImageSettings
from policysearch.ops.registry import OpSpec, op_table

NAMES = list(op_table("image"))
DTYPES = [torch.uint8, torch.uint16, torch.float32]
SETTINGS = [ImageSettings("nearest", 0.5), ImageSettings("bilinear", 0.0)]
N_DRAWS = 16


def images(n: int, channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Waves with noise: every level occurs, neighbours differ, channels and samples too."""
    rng = np.random.default_rng([n, channels, height, width])
    phase = rng.uniform(0, 6, (n, channels, 1, 1))
    y, x = np.mgrid[:height, :width] / 4
    waves = np.sin(x * rng.uniform(0.5, 1.5, (n, channels, 1, 1)) + phase) * np.cos(y - phase)
    values = np.clip(0.5 + 0.4 * waves + rng.normal(0, 0.08, waves.shape), 0, 1)
    return as_dtype(values, dtype)


def as_dtype(values: Any, dtype: torch.dtype) -> Tensor:
    """Values in [0, 1] as a tensor."""
    if dtype == torch.uint8:
        return torch.from_numpy((values * 255).astype(np.uint8))
    if dtype == torch.uint16:
        return torch.from_numpy((values * 65535).astype(np.uint16))
    return torch.from_numpy(values).to(dtype)


def volumes(n: int, channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """The same with a depth of as many slices as rows, `(n, channels, height, height, width)`."""
    rng = np.random.default_rng([n, channels, height, width, 3])
    phase, rate = rng.uniform(0, 6, (n, channels, 1, 1, 1)), rng.uniform(0.5, 1.5, (n, 1, 1, 1, 1))
    z, y, x = np.mgrid[:height, :height, :width] / 4
    waves = np.sin(x * rate + phase) * np.cos(y - phase) * np.cos(z * rate + 2 * phase)
    values = np.clip(0.5 + 0.4 * waves + rng.normal(0, 0.08, waves.shape), 0, 1)
    return as_dtype(values, dtype)


def samples(spec: OpSpec, *args: Any) -> Tensor:
    """What an operation can change: images, or volumes where it needs a depth."""
    return (volumes if spec.needs_depth else images)(*args)


def bendable(spec: OpSpec, dtype: torch.dtype) -> Tensor:
    """Samples on which a stronger form of the op makes a larger change on average."""
    if spec.name == "elastic_3d":  # a bend by a fiftieth of a side is to be a voxel
        return volumes(6, 1, 50, 50, dtype)
    return samples(spec, 64, 1 if spec.needs_depth else 3, 20, 20, dtype)


def plan(spec: OpSpec, n: int, level: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Op index, magnitudes of alternating sign and draws for `n` samples with one op."""
    sign = np.where(np.arange(n) % 2, -1.0, 1.0) if spec.is_signed else np.ones(n)
    magnitude = sign * spec.magnitude(level) if spec.has_magnitude else np.zeros(n)
    draws = np.random.default_rng(seed).random((n, N_DRAWS))
    index = torch.zeros(n, dtype=torch.int64)
    return index, torch.from_numpy(magnitude), torch.from_numpy(draws)


def as_float(x: Tensor) -> Tensor:
    top = {torch.uint8: 255, torch.uint16: 65535}.get(x.dtype, 1)
    return x.to(torch.float64) / top


def assert_same(a: Tensor, b: Tensor) -> None:
    """Equal pixels; floats may differ by rounding, where a sum is taken in another order."""
    assert a.dtype == b.dtype
    if a.dtype == torch.float32:
        torch.testing.assert_close(a, b, rtol=0, atol=2e-6)
    else:
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", NAMES)
class OpContract:
    """Inherit and name the class `Test...` to have it collected."""

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    @pytest.mark.parametrize("size", [(9, 14), (1, 1), (2, 3)], ids=str)
    def test_keeps_shape_and_dtype_and_range(self, name, dtype, channels, size):
        spec = op_table("image")[name]
        x = samples(spec, 4, channels, *size, dtype)
        before = x.clone()
        for settings in SETTINGS:
            for level in (0.3, 1.0):
                y = apply_stage(x, [name], *plan(spec, 4, level), settings)
                assert y.shape == x.shape
                assert y.dtype == x.dtype
                assert 0 <= as_float(y).min() <= as_float(y).max() <= 1
        assert torch.equal(x, before), "the input was changed"

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_leaves_samples_without_op_alone(self, name, dtype):
        spec = op_table("image")[name]
        x = samples(spec, 6, 3, 8, 11, dtype)
        index, magnitude, draws = plan(spec, 6, 1.0)
        index[::2] = -1
        for settings in SETTINGS:
            y = apply_stage(x, [name], index, magnitude, draws, settings)
            assert torch.equal(y[::2], x[::2])
            assert torch.equal(
                apply_stage(x, [name], index * 0 - 1, magnitude, draws, settings), x
            )

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_level_zero_is_the_identity_where_declared(self, name, dtype):
        spec = op_table("image")[name]
        # Below 256 pixels a histogram has nothing to equalize.
        x = samples(spec, 4, 3, 16, 18, dtype)
        for settings in SETTINGS:
            y = apply_stage(x, [name], *plan(spec, 4, 0.0), settings)
            if spec.is_identity_at_low:
                assert torch.equal(y, x)
            else:
                assert not torch.equal(y, x)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
    @pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
    def test_strength_never_falls_as_level_rises(self, name, dtype, interpolation):
        spec = op_table("image")[name]
        x = bendable(spec, dtype)
        changes = []
        for level in (0.0, 0.25, 0.5, 0.75, 1.0):
            y = apply_stage(
                x, [name], *plan(spec, len(x), level), ImageSettings(interpolation, 0.0)
            )
            changes.append((as_float(y) - as_float(x)).abs().mean().item())
        # A thousandth of slack: waves may by chance meet themselves again when shifted.
        assert all(b >= a - 1e-3 for a, b in itertools.pairwise(changes)), changes
        assert name == "identity" or changes[-1] > 0.005

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize("channels", [1, 3])
    def test_a_sample_does_not_depend_on_its_batch(self, name, dtype, channels):
        spec = op_table("image")[name]
        x = samples(spec, 7, channels, 18, 13, dtype)
        others = [n for n in NAMES if n != name]
        index, magnitude, draws = plan(spec, 7, 0.7)
        mixed_index = index.clone()
        mixed_index[[1, 4, 6]] = torch.tensor([1 + (7 * k) % len(others) for k in range(3)])
        mixed_magnitude = magnitude.clone()
        mixed_magnitude[[1, 4, 6]] = 0.2
        for settings in SETTINGS:
            batch = apply_stage(x, [name], index, magnitude, draws, settings)
            mixed = apply_stage(x, [name, *others], mixed_index, mixed_magnitude, draws, settings)
            for i in (0, 2, 3, 5):
                row = slice(i, i + 1)
                alone = apply_stage(
                    x[row], [name], index[row], magnitude[row], draws[row], settings
                )
                assert_same(alone, batch[row])
                assert_same(alone, mixed[row])

    def test_same_arguments_give_the_same_pixels(self, name):
        spec = op_table("image")[name]
        x = samples(spec, 4, 3, 8, 11, torch.float32)
        torch.manual_seed(5)
        state = torch.get_rng_state()
        first = apply_stage(x, [name], *plan(spec, 4, 0.8), SETTINGS[0])
        assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
        torch.manual_seed(6)
        assert torch.equal(apply_stage(x, [name], *plan(spec, 4, 0.8), SETTINGS[0]), first)

    def test_only_declared_draws_matter(self, name):
        spec = op_table("image")[name]
        x = samples(spec, 4, 3, 16, 16, torch.uint8)
        index, magnitude, draws = plan(spec, 4, 1.0)
        other = draws.clone()
        other[:, spec.n_draws :] = 1 - other[:, spec.n_draws :]
        a = apply_stage(x, [name], index, magnitude, draws, SETTINGS[0])
        assert torch.equal(a, apply_stage(x, [name], index, magnitude, other, SETTINGS[0]))
        if spec.n_draws:
            changed = apply_stage(x, [name], index, magnitude, 0.999 - draws, SETTINGS[0])
            assert not torch.equal(a, changed)

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_takes_an_empty_batch(self, name, dtype):
        spec = op_table("image")[name]
        x = samples(spec, 1, 3, 8, 11, dtype)[:0]
        y = apply_stage(x, [name], *plan(spec, 0, 1.0), SETTINGS[0])
        assert y.shape == x.shape
        assert y.dtype == dtype

    def test_takes_a_batch_that_is_not_contiguous(self, name):
        spec = op_table("image")[name]
        x = samples(spec, 4, 3, 8, 11, torch.uint8)
        strided = x.movedim(1, -1).contiguous().movedim(-1, 1)
        for settings in SETTINGS:
            arguments = plan(spec, 4, 0.7)
            y = apply_stage(strided, [name], *arguments, settings)
            assert torch.equal(y, apply_stage(x, [name], *arguments, settings))

    def test_leaves_nan_as_nan(self, name):
        spec = op_table("image")[name]
        x = samples(spec, 4, 3, 20, 20, torch.float32)
        x[..., 5, 7] = float("nan")
        y = apply_stage(x, [name], *plan(spec, 4, 1e-6), SETTINGS[0])
        if spec.family != "geometry":
            assert y[..., 5, 7].isnan().all()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
    def test_other_floats_are_near_float32(self, name, dtype):
        spec = op_table("image")[name]
        x = samples(spec, 4, 3, 10, 10, torch.float32).to(dtype)
        y = apply_stage(x, [name], *plan(spec, 4, 0.6), SETTINGS[0])
        expected = apply_stage(x.to(torch.float32), [name], *plan(spec, 4, 0.6), SETTINGS[0])
        assert y.dtype == dtype
        assert (y.to(torch.float64) - expected).abs().max() < 0.005


@pytest.mark.parametrize("name", [n for n in NAMES if op_table("image")[n].has_magnitude])
class MagnitudeContract:
    """What holds for every op that takes a magnitude."""

    def test_a_magnitude_does_not_depend_on_its_neighbours(self, name):
        spec = op_table("image")[name]
        x = samples(spec, 5, 3, 12, 15, torch.uint8)
        index, _, draws = plan(spec, 5, 1.0)
        levels = torch.tensor([0.1, 0.4, 0.0, 0.9, 1.0], dtype=torch.float64)
        magnitude = spec.low + (spec.high - spec.low) * levels
        for settings in SETTINGS:
            batch = apply_stage(x, [name], index, magnitude, draws, settings)
            for i in range(5):
                one = slice(i, i + 1)
                alone = apply_stage(
                    x[one], [name], index[one], magnitude[one], draws[one], settings
                )
                assert torch.equal(alone, batch[one])


@pytest.mark.parametrize("name", [n for n in NAMES if op_table("image")[n].is_identity_at_low])
class IdentityContract:
    """What holds for every op whose lowest magnitude is the identity."""

    def test_identity_is_reached_without_a_jump(self, name):
        """The kernel itself, not only the short cut at magnitude zero, ends in the identity."""
        spec = op_table("image")[name]
        x = samples(spec, 4, 3, 12, 12, torch.float32)
        y = apply_stage(x, [name], *plan(spec, 4, 1e-7), ImageSettings("bilinear", 0.0))
        assert (x - y).abs().mean() < 1e-3


class FloatAgreesWithLevels:
    """Floats and `uint8` are one semantics: they differ by the rounding to levels only."""

    # Levels by which one operation may differ. Histograms and thresholds see the same levels;
    # `uint8` drops or rounds fractions, sharpness and contrast twice, amplified by the factor.
    TOLERANCE = 2.5

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_float_is_within_rounding_of_levels(self, name, channels):
        spec = op_table("image")[name]
        x = samples(spec, 6, channels, 24, 24, torch.uint8)
        for settings in SETTINGS:
            for level in (0.2, 0.5, 1.0):
                y = apply_stage(x, [name], *plan(spec, 6, level), settings)
                z = apply_stage(x.to(torch.float32) / 255, [name], *plan(spec, 6, level), settings)
                assert (z * 255 - y).abs().max() <= self.TOLERANCE
