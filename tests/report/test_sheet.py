"""Contact sheets: every row there, pictures not blank, sizes sane, draws repeatable."""

import numpy as np
import pytest
import torch

from policysearch.errors import InvalidValueError
from policysearch.named import resolve_policy
from policysearch.policy import Mix, OpCall, Policy, Stage, SubPolicy
from policysearch.report.sheet import (
    MAX_ROWS,
    N_TRAINING_ROWS,
    as_pictures,
    contact_sheet,
    n_images,
    training_rows,
)


def some_images(shape=(3, 12, 12), n=10, dtype=np.uint8):
    values = np.random.default_rng(0).random((n, *shape))
    if dtype in (np.uint8, np.uint16):
        return (values * np.iinfo(dtype).max).astype(dtype)
    return values.astype(dtype)


def sheet(policy, images=None, **options):
    images = some_images() if images is None else images
    labels = [f"class {i}" for i in range(len(images))]
    return contact_sheet(policy, images, labels, title="a title", **options)


@pytest.mark.parametrize("name", ["trivialaugment-wide", "autoaugment-cifar10", "augmix", "none"])
def test_a_sheet_is_drawn_and_not_blank(name):
    page = sheet(resolve_policy(name).policy)
    pixels = np.asarray(page)
    assert page.mode == "RGB"
    assert page.width <= 1650
    assert (pixels != 255).mean() > 0.1  # pictures cover a good part of the paper
    margin = pixels[:, -10:]
    assert (margin == 255).all()  # nothing is cut off at the right edge


def test_a_sheet_is_a_function_of_policy_images_and_seed():
    policy = resolve_policy("default-image").policy
    first, again, other = (np.asarray(sheet(policy, seed=seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_op_row_shows_the_op_at_its_high_end():
    calls = (OpCall("brightness", 0, 1.0), OpCall("identity"))
    gray = np.full((4, 1, 8, 8), 120, np.uint8)
    pixels = np.asarray(sheet(Policy((SubPolicy((Stage(calls),)),)), gray)).reshape(-1, 3)
    seen = {tuple(p) for p in np.unique(pixels, axis=0).tolist()}
    # level 0: as it is; middle: 120 * 1.5 and * 0.5; high: 120 * 2 and * 0
    assert {(v, v, v) for v in (120, 180, 60, 240, 0)} <= seen


def test_ops_at_a_magnitude_that_changes_nothing_get_no_row():
    x = some_images((1, 8, 8), n=10)
    calls = OpCall("invert"), OpCall("solarize", 9, 9)
    idle = tuple(OpCall(op, 0, 0) for op in ("rotate", "shear_x", "shear_y", "brightness"))
    heights = [
        sheet(Policy((SubPolicy((Stage(choices),)),)), x).height
        for choices in (calls, calls + idle, (*calls, OpCall("equalize")))
    ]
    assert heights[0] == heights[1] < heights[2]


def test_training_rows_of_a_mixed_policy_are_mixed():
    x = torch.zeros((4, 1, 8, 8), dtype=torch.uint8)
    policy = Policy((SubPolicy((Stage((OpCall("invert"), OpCall("gray", 1, 1))),)),), mix=Mix())
    blocks = [block for row in training_rows(policy, x, 0, 1) for block in row.blocks]
    assert ((np.array(blocks) > 0) & (np.array(blocks) < 255)).any()


def test_a_step_that_never_applies_is_not_drawn():
    never = Policy((SubPolicy((Stage((OpCall("invert"),), 0.0),)),))
    green = np.zeros((4, 3, 8, 8), np.uint8)
    green[:, 1] = 200
    seen = {tuple(p) for p in np.asarray(sheet(never, green)).reshape(-1, 3).tolist()}
    assert (0, 200, 0) in seen
    assert (255, 55, 255) not in seen


def test_too_many_sub_policies_are_cut_and_counted():
    subs = tuple(SubPolicy((Stage((OpCall("rotate", i, i),)),)) for i in range(MAX_ROWS + 9))
    page = sheet(Policy(subs), some_images((1, 8, 8), n=2))
    few = sheet(Policy(subs[:MAX_ROWS]), some_images((1, 8, 8), n=2))
    assert page.height == few.height


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 9, 5), (3, 64, 40), (7, 200, 300), (1, 1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_shape_and_depth_is_drawn(shape, dtype):
    policy = resolve_policy("default-image").policy
    page = sheet(policy, some_images(shape, n=n_images(policy), dtype=dtype))
    assert page.width <= 1650
    assert page.height > 100


def test_deep_and_floating_images_keep_their_brightness():
    import torch

    deep = torch.full((1, 1, 2, 2), 65535, dtype=torch.int32).to(torch.uint16)
    assert as_pictures(deep)[0].tolist() == [[[255] * 3] * 2] * 2
    assert as_pictures(torch.full((1, 1, 1, 1), 0.5))[0].tolist() == [[[128] * 3]]


def test_hostile_and_long_labels_stay_on_the_page():
    images = some_images((1, 8, 8), n=2)
    labels = ["\x1b[2J\n" * 50, "x" * 5000]
    page = contact_sheet(Policy(), images, labels, title="t" * 3000)
    assert page.width < 1000
    assert (np.asarray(page)[:, -10:] == 255).all()


def test_no_images_are_refused():
    with pytest.raises(InvalidValueError, match="at least one image"):
        contact_sheet(Policy(), some_images(n=0), [], title="t")


def test_policy_of_fixed_strength_has_no_empty_columns():
    ranged = resolve_policy("trivialaugment-wide").policy
    assert n_images(resolve_policy("randaugment").policy) > n_images(ranged)


def test_training_rows_show_draws_with_their_chances():
    x = torch.from_numpy(some_images((1, 8, 8), n=4))
    choices = OpCall("invert"), OpCall("solarize_add", 110.0, 110.0)
    shown = {}
    for probability in (0.0, 1.0):
        policy = Policy((SubPolicy((Stage(choices, probability),)),))
        rows = training_rows(policy, x, 0, 1)
        assert len(rows) == N_TRAINING_ROWS
        shown[probability] = np.array([block for row in rows for block in row.blocks])
    original = np.array(as_pictures(x))
    assert (shown[0.0] == original).all()
    assert (shown[1.0] != original).any(axis=(2, 3, 4)).all()
