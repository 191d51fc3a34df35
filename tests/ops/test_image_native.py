"""Machine code for bytes on the CPU: the same pixels as torch, wherever and however it runs."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from contracts.op_contract import images
from kept_code import keep_code

import policysearch
from policysearch.draws import Drawer
from policysearch.errors import InvalidValueError
from policysearch.named import resolve_policy
from policysearch.ops import image_medical, image_native, image_torch
from policysearch.ops.image_geometry import MAX_SIDE_INT32
from policysearch.ops.image_kernels import (
    ImageSettings,
    StagesAhead,
    apply_stages,
    as_rows,
    compiler_for,
)
from policysearch.ops.image_program import OPS, SAMPLES_AT_ONCE, VALUES_PER_THREAD
from policysearch.ops.registry import op_table
from policysearch.ops.threads import in_threads

SETTINGS = ImageSettings("nearest", 0.5)
NAMED = ["autoaugment-cifar10", "randaugment", "trivialaugment-wide", "uniformaugment"]


def stages_of(name, n):
    drawn = Drawer(resolve_policy(name).policy, seed=1).draw(range(n))
    shifts = np.clip(drawn.magnitude / 32, -1, 1)  # published shifts count pixels
    magnitude = np.where(drawn.is_pixels, shifts, drawn.magnitude)
    return drawn.ops, drawn.op_index, magnitude, drawn.extra


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 20), (4, 17, 33)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_whole_policies_are_those_of_torch(name, shape, layout):
    x = images(200, *shape, torch.uint8).contiguous(memory_format=layout)
    stages = stages_of(name, 200)
    y = apply_stages(x, *stages, SETTINGS)
    assert torch.equal(y, apply_stages(x, *stages, SETTINGS, kernels=image_torch.apply))
    assert y.stride() == x.stride(), "the layout was changed"


def test_every_op_but_noise_has_machine_code():
    deep = {spec.name for spec in op_table("image").values() if spec.needs_depth}
    in_torch = {"identity", "gaussian_noise", "elastic", *image_medical.OPS, *deep}
    assert set(op_table("image")) - in_torch == OPS


def test_noise_is_added_to_its_samples_only():
    x = images(4, 3, 12, 12, torch.uint8)
    stages = (
        ["gaussian_noise", "invert"],
        [[0, -1], [1, 1], [1, 0], [-1, 1]],
        np.full((4, 2), 0.2),
        np.random.default_rng(0).random((4, 2, 16)),
    )
    y = apply_stages(x, *stages, SETTINGS)
    assert torch.equal(y, apply_stages(x, *stages, SETTINGS, kernels=image_torch.apply))
    assert torch.equal(y[1], x[1])
    assert not torch.equal(y[0], x[0])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_large_batches_are_compiled_in_parts(layout):
    n = SAMPLES_AT_ONCE + 7
    x = images(n, 3, 8, 8, torch.uint8).contiguous(memory_format=layout)
    stages = stages_of("randaugment", n)
    y = apply_stages(x, *stages, SETTINGS)
    assert torch.equal(y, apply_stages(x, *stages, SETTINGS, kernels=image_torch.apply))
    assert y.stride() == x.stride()


def test_all_kinds_of_batches_share_one_compilation():
    """A second set of machine types would cost seconds of compiling in the middle of a run."""
    for x in (
        images(3, 1, 8, 8, torch.uint8),
        images(3, 3, 20, 9, torch.uint8).contiguous(memory_format=torch.channels_last),
        images(6, 3, 8, 8, torch.uint8)[::2],
    ):
        for name in OPS:
            spec = op_table("image")[name]
            magnitude = np.full((3, 1), spec.magnitude(0.5) if spec.has_magnitude else 0.0)
            for interpolation in ("nearest", "bilinear"):
                settings = ImageSettings(interpolation, 0.5)
                apply_stages(x, [name], [[0]] * 3, magnitude, np.full((3, 1, 16), 0.3), settings)
    assert len(image_native.machine_code().signatures) == 1


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_share_a_batch_without_a_trace(n_threads):
    n = 4 * VALUES_PER_THREAD // (3 * 64 * 64) + 1
    assert n <= SAMPLES_AT_ONCE
    x = images(n, 3, 64, 64, torch.uint8)
    stages = stages_of("randaugment", n)
    alone = apply_stages(x, *stages, SETTINGS)
    torch.set_num_threads(n_threads)
    try:
        assert torch.equal(apply_stages(x, *stages, SETTINGS), alone)
    finally:
        torch.set_num_threads(1)


def test_parts_cover_the_range_side_by_side():
    together = threading.Barrier(3, timeout=20)
    seen = []

    def work(first, last):
        together.wait()  # breaks where one part waits for another to end
        seen.append((first, last))

    in_threads(work, 10, 3, 3)
    assert sorted(seen) == [(0, 3), (3, 6), (6, 10)]


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(("n", "n_parts"), [(10, 8), (3, 8), (0, 4), (1, 1)])
def test_every_item_is_worked_on_once(n, n_parts, n_threads):
    seen = []
    in_threads(lambda first, last: seen.extend(range(first, last)), n, n_threads, n_parts)
    assert sorted(seen) == list(range(n))


def test_an_error_in_a_thread_reaches_the_caller():
    together = threading.Barrier(2, timeout=20)

    def work(first, last):
        together.wait()
        if first:
            raise ValueError("broken part")

    with pytest.raises(ValueError, match="broken part"):
        in_threads(work, 10, 2, 2)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # it is the point
def test_a_forked_child_has_threads_of_its_own():
    together = threading.Barrier(2, timeout=20)

    def work(first, last):
        together.wait()  # breaks in one thread alone

    in_threads(work, 8, 2, 2)
    child = os.fork()
    if child == 0:
        in_threads(work, 8, 2, 2)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_sides_beyond_32_bits_are_left_to_torch():
    assert compiler_for(torch.zeros(1, 1, MAX_SIDE_INT32, 2, dtype=torch.uint8)) is not None
    x = torch.zeros(1, 1, 2, MAX_SIDE_INT32 + 1, dtype=torch.uint8)
    x[..., 0] = 9
    assert compiler_for(x) is None
    y = apply_stages(x, ["flip_horizontal"], [[0]], [[0.0]], np.zeros((1, 1, 16)), SETTINGS)
    assert (y[..., -1] == 9).all()


AUGMENTED = """
import sys
import numpy as np, torch, policysearch
x = torch.arange(8 * 3 * 16 * 16, dtype=torch.int32).remainder(251).to(torch.uint8)
y = policysearch.load_policy("uniformaugment", seed=1)(x.view(8, 3, 16, 16), index=range(8))
sys.stdout.buffer.write(y.numpy().tobytes())
"""


def augmented():
    """What the program prints, made here."""
    x = torch.arange(8 * 3 * 16 * 16, dtype=torch.int32).remainder(251).to(torch.uint8)
    transform = policysearch.load_policy("uniformaugment", seed=1)
    return transform(x.view(8, 3, 16, 16), index=range(8)).numpy().tobytes()


def printed(program, folder=None, **environment):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, cwd=folder,
        env=os.environ | environment,
    )  # fmt: skip
    return done.stdout


def test_without_numba_torch_makes_the_same_pixels():
    absent = 'import sys; sys.modules["numba"] = None'  # what an absent package looks like
    assert printed(absent + AUGMENTED) == augmented()


def test_code_that_was_kept_and_is_damaged_is_compiled_anew(tmp_path):
    """Files that are cut short, every other one to nothing."""
    package = tmp_path / "policysearch"
    shutil.copytree(Path(policysearch.__file__).parent, package)
    kept = keep_code(package)
    assert kept
    for i, path in enumerate(sorted(kept)):
        path.write_bytes(path.read_bytes()[: 40 * (i % 2)])
    of_copy = f"assert policysearch.__file__.startswith({str(package)!r})"
    environment = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": ""}
    assert printed(AUGMENTED + of_copy, tmp_path, **environment) == augmented()


def test_a_program_is_for_its_shape_alone():
    stages = as_rows(["invert"], np.zeros((1, 1), int), np.zeros((1, 1)), np.zeros((1, 1, 16)))
    ahead = StagesAhead(stages, images(1, 3, 40, 40, torch.uint8), SETTINGS)
    with pytest.raises(InvalidValueError, match=r"shape \(n, 3, 40, 40\)"):
        ahead.apply(images(1, 3, 4, 4, torch.uint8), 0)


@pytest.mark.parametrize("kernels", [None, image_torch.apply])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", sorted(OPS | {"gaussian_noise"}))
def test_recorded_numbers_out_of_range_are_refused(name, interpolation, kernels):
    x = images(2, 3, 16, 16, torch.uint8)
    settings = ImageSettings(interpolation, 0.5)
    spec = op_table("image")[name]
    index, ones, draws = np.zeros((2, 1), int), np.ones((2, 1)), np.full((2, 1, 16), 0.5)
    for wrong in (np.nan, np.inf, -np.inf, 1e9):
        if spec.has_magnitude:
            with pytest.raises(InvalidValueError, match="magnitude"):
                apply_stages(x, [name], index, wrong * ones, draws, settings, kernels)
    for wrong in (np.nan, np.inf, -0.1, 1.0):
        with pytest.raises(InvalidValueError, match="draws"):
            apply_stages(x, [name], index, 0.1 * ones, draws * 0 + wrong, settings, kernels)


LAYOUTS = (
    lambda x: x,
    lambda x: x.contiguous(memory_format=torch.channels_last),
    lambda x: x.flip(3),
    lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
)


@pytest.mark.parametrize("seed", range(8))
def test_random_batches_are_those_of_torch(seed):
    """Any shape, layout, number of stages, op and magnitude up to the largest that is allowed."""
    rng = np.random.default_rng(seed)
    table = op_table("image")
    names = sorted(OPS)
    for _ in range(100):
        n, channels, n_stages = (int(v) for v in rng.integers(1, [9, 18, 4]))
        x = images(n, channels, *(int(v) for v in rng.integers(1, 70, 2)), torch.uint8)
        x = LAYOUTS[rng.integers(len(LAYOUTS))](x)
        index = rng.integers(-1, len(names), (n, n_stages))
        top = np.array([table[name].maximum for name in names])
        sign = np.where(
            np.array([table[name].is_signed for name in names])[index],
            rng.choice([-1.0, 1.0], (n, n_stages)),
            1.0,
        )
        magnitude = rng.random((n, n_stages)) * top[index] * sign
        draws = rng.random((n, n_stages, 16))
        # Levels that differ by one would be spread by a second stage.
        interpolation = "bilinear" if n_stages == 1 else "nearest"
        settings = ImageSettings(interpolation, float(rng.choice([0, 0.5, 1])))
        arguments = (x, names, index, magnitude, draws, settings)
        y = apply_stages(*arguments)
        gap = y.int() - apply_stages(*arguments, kernels=image_torch.apply).int()
        assert gap.abs().max() <= (n_stages == 1), arguments[2:]
