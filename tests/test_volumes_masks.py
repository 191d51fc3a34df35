"""Volumes are augmented in their slices or through their depth; masks move as images do."""

import numpy as np
import pytest
import torch
from contracts.op_contract import as_float, images, plan

from policysearch.baselines import baseline_policies
from policysearch.config import SearchConfig
from policysearch.errors import InvalidValueError
from policysearch.loading import AugmentedDataset
from policysearch.ops import image_color, image_table
from policysearch.ops.image_elastic import MOVING
from policysearch.ops.image_kernels import ImageSettings, apply_stages
from policysearch.ops.kernel import OP_CODE
from policysearch.ops.registry import op_table
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.space_yaml import load_space
from policysearch.study import Study
from policysearch.transform import PolicyTransform, load_policy

NAMES = list(op_table("image"))
DEEP = [name for name in NAMES if op_table("image")[name].needs_depth]
OF_VALUES = image_table.OPS | image_color.OPS | {"gamma_retained"}
MEDICAL = baseline_policies(load_space("medical"))["uniformaugment"]


def volumes(n, channels=2, dtype=torch.float32):
    return images(n, channels * 3, 14, 11, dtype).view(n, channels, 3, 14, 11)


def apply(x, name, level=0.8, how="bilinear"):
    arguments = [v.numpy()[:, None] for v in plan(op_table("image")[name], len(x), level)]
    return apply_stages(x, [name], *arguments, ImageSettings(how, 0.0))


@pytest.mark.parametrize("name", NAMES)
def test_every_op_takes_volumes(name):
    for dtype in (torch.uint8, torch.uint16, torch.float32):
        x = volumes(4, dtype=dtype)
        before = x.clone()
        y = apply(x, name)
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        assert 0 <= as_float(y).min() <= as_float(y).max() <= 1
        assert torch.equal(x, before)
        alone = apply(x[:1], name)
        torch.testing.assert_close(as_float(alone), as_float(y[:1]), rtol=0, atol=2e-6)
    level_zero = apply(x, name, 0.0)
    assert torch.equal(level_zero, x) == op_table("image")[name].is_identity_at_low


@pytest.mark.parametrize(
    "name", sorted(set(NAMES) - set(DEEP) - OF_VALUES - {"gaussian_noise", "rician_noise"})
)
def test_slices_are_changed_alike_in_the_plane(name):
    x = volumes(4)
    out = apply(x, name)
    for k in range(3):
        slice_alone = apply(x[:, :, k].contiguous(), name)
        torch.testing.assert_close(out[:, :, k], slice_alone, rtol=0, atol=2e-6)


def test_gamma_keeps_the_statistics_of_the_volume_not_of_its_slices():
    x = volumes(2) * 0.4 + 0.3
    x[:, :, 1] *= 0.5
    out = apply(x, "gamma_retained")
    torch.testing.assert_close(out.mean(dim=(2, 3, 4)), x.mean(dim=(2, 3, 4)), rtol=0, atol=1e-5)
    assert (out.mean(dim=(3, 4)) - x.mean(dim=(3, 4))).abs().max() > 1e-3


def test_a_policy_takes_volumes_with_their_masks():
    x = volumes(10)
    place = torch.arange(3 * 14 * 11).view(3, 14, 11).expand(10, 3, 14, 11).clone()
    transform = PolicyTransform(MEDICAL, seed=2)
    y, moved = transform(x, mask=place, index=range(10))
    assert torch.equal(y, transform(x, index=range(10)))
    assert moved.dtype == torch.int64
    assert set(moved.unique().tolist()) <= set(range(3 * 14 * 11))
    assert not torch.equal(moved, place)
    in_slice = (moved // 154 == torch.arange(3)[:, None, None]) | (moved == 0)
    assert in_slice.all(), "nothing leaves its slice"


def policy_of(*calls, how="nearest"):
    stages = tuple(Stage((call,)) for call in calls)
    return Policy((SubPolicy(stages),), interpolation=how)


MOVED = [name for name in NAMES if OP_CODE[name] in set(MOVING.tolist()) and name not in DEEP]


@pytest.mark.parametrize("name", MOVED)
def test_a_mask_moves_as_its_image_does(name):
    spec = op_table("image")[name]
    m = spec.magnitude(0.9) if spec.has_magnitude else None
    policy = policy_of(OpCall(name, m, m, unit=spec.unit), OpCall("elastic", 0.05, 0.05))
    x = images(6, 1, 40, 37, torch.uint8)
    y, mask = PolicyTransform(policy, seed=1)(x, mask=x.clone(), index=range(6))
    assert torch.equal(y, mask)
    assert not torch.equal(y, x)


def test_what_changes_values_leaves_masks_alone_and_draws_are_the_same_without_a_mask():
    policy = policy_of(
        OpCall("invert"), OpCall("rotate", 20, 20, unit="deg"), OpCall("cutout", 0.5, 0.5)
    )
    x, y = images(5, 3, 16, 16, torch.uint8), torch.arange(5)
    with_mask = PolicyTransform(policy, seed=4)
    without = PolicyTransform(policy, seed=4)
    ones = torch.ones(5, 16, 16, dtype=torch.bool)
    for _ in range(2):  # every call draws afresh
        out, label, mask = with_mask(x, y, mask=ones)
        assert torch.equal(out, without(x))
        assert label is y
        assert mask.dtype == torch.bool
        assert 0.5 < mask.double().mean() < 1, "corners come from outside"
    single, moved = with_mask(x[0], mask=np.full((16, 16), 7, np.uint8))
    assert torch.equal(single, without(x[0]))
    assert isinstance(moved, np.ndarray)
    assert moved.dtype == np.uint8
    assert set(np.unique(moved)) == {0, 7}
    unchanged, same = with_mask.eval()(x, mask=ones)
    assert unchanged is x
    assert same is ones


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (torch.zeros(5, 16, 15), r"ends in \(16, 16\), as the images do, got \(5, 16, 15\)"),
        (torch.zeros(4, 16, 16), "same number of masks for each of 5 images"),
        ([[1]], "must be an array or tensor .* got list"),
    ],
)
def test_masks_of_another_form_are_refused(mask, text):
    with pytest.raises(InvalidValueError, match=text):
        load_policy("uniformaugment")(images(5, 3, 16, 16, torch.uint8), mask=mask)


def test_masks_have_no_average_and_other_data_no_masks():
    x = images(2, 3, 16, 16, torch.uint8)
    with pytest.raises(InvalidValueError, match="masks have no average"):
        load_policy("augmix")(x, mask=torch.zeros(2, 16, 16))
    with pytest.raises(InvalidValueError, match="`mask` is for image policies"):
        load_policy("eda")(["a text of words"], mask=torch.zeros(1))


# -- through the depth

CUBE = np.random.default_rng(1).integers(0, 256, (2, 3, 8, 8, 8)).astype(np.uint8)


def chain(x, *calls, how="bilinear", draws=None):
    """Every sample under the same operations with the same magnitudes."""
    ops = [op for op, _ in calls]
    magnitude = np.tile([float(m) for _, m in calls], (len(x), 1))
    index = np.tile(np.arange(len(ops)), (len(x), 1))
    if draws is None:
        draws = np.random.default_rng(5).random((len(x), len(ops), 16))
    return apply_stages(x, ops, index, magnitude, draws, ImageSettings(how, 0.0))


@pytest.mark.parametrize("how", ["nearest", "bilinear"])
@pytest.mark.parametrize(
    ("op", "m", "expected"),
    [
        ("rotate_x", 90.0, lambda x: x.rot90(1, (2, 3))),
        ("rotate_x", -90.0, lambda x: x.rot90(-1, (2, 3))),
        ("rotate_y", 90.0, lambda x: x.rot90(1, (2, 4))),
        ("rotate_x", 180.0, lambda x: x.flip((2, 3))),
        ("flip_depth", 0.0, lambda x: x.flip(2)),
        (
            "translate_z",
            0.25,
            lambda x: torch.cat((torch.zeros_like(x[:, :, :2]), x[:, :, :6]), 2),
        ),
    ],
)
def test_moves_that_need_no_interpolation_are_exact(op, m, expected, how):
    x = torch.from_numpy(CUBE)
    assert torch.equal(chain(x, (op, m), how=how), expected(x))


@pytest.mark.parametrize("how", ["nearest", "bilinear"])
def test_a_volume_half_as_deep_lies_between_black_slices(how):
    x = torch.from_numpy(CUBE).repeat_interleave(2, dim=2)[:, :, :8]
    y = chain(x, ("scale_z", -1.0), how=how)
    assert torch.equal(y[:, :, 2:6], x[:, :, ::2])
    assert not y[:, :, [0, 1, 6, 7]].any()


def test_moves_of_a_chain_are_made_in_their_order():
    x = torch.from_numpy(CUBE)
    y = chain(x, ("rotate_x", 90.0), ("rotate_y", 90.0), ("flip_depth", 0.0), ("rotate", 90.0))
    expected = x.rot90(1, (2, 3)).rot90(1, (2, 4)).flip(2).rot90(1, (3, 4))
    assert torch.equal(y, expected)
    turned_back = chain(x, ("rotate_y", 90.0), ("rotate_x", 90.0))
    assert torch.equal(turned_back, x.rot90(1, (2, 4)).rot90(1, (2, 3)))


def test_a_turn_through_the_depth_agrees_with_scipy():
    from scipy import ndimage

    x = torch.rand(1, 1, 13, 16, 11, generator=torch.Generator().manual_seed(2))
    y = chain(x, ("rotate_x", 20.0))[0, 0].numpy()
    t = np.deg2rad(20.0)
    matrix = np.array([[np.cos(t), np.sin(t), 0], [-np.sin(t), np.cos(t), 0], [0, 0, 1]])
    middle = (np.array([13, 16, 11]) - 1) / 2
    expected = ndimage.affine_transform(
        x[0, 0].numpy(), matrix, middle - matrix @ middle, order=1, cval=np.nan
    )
    is_inside = np.isfinite(expected)
    assert is_inside.mean() > 0.6
    np.testing.assert_allclose(y[is_inside], expected[is_inside], atol=2e-5)


def test_what_stands_beside_a_move_through_the_depth_is_resampled_once():
    """Turns by 45 degrees there and back, about two axes, leave the inside as it was."""
    x = torch.from_numpy(CUBE)
    there = [("rotate", 45.0), ("rotate_x", 45.0)]
    back = [("rotate_x", -45.0), ("rotate", -45.0)]
    assert torch.equal(chain(x, *there, *back), x), "one map, and it is the identity"
    apart = chain(chain(chain(x, *there), back[0]), back[1])
    inside = (slice(None), slice(None), *(slice(3, 5),) * 3)
    assert not torch.equal(apart[inside], x[inside]), "four resamplings blur"
    between = chain(x, *there, ("invert", 0.0), *back)
    assert not torch.equal(between, 255 - x), "a change of values parts them"


@pytest.mark.parametrize("corner", [0.0, 0.37, 1 - 1e-9])
def test_a_bend_of_a_volume_never_folds_within_its_range(corner):
    side = 24
    places = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 3, indexing="ij")
    x = torch.stack(places)[None] / side
    out = chain(x, ("elastic_3d", 0.06), draws=np.full((1, 1, 16), corner))[0] * side
    slopes = np.stack([np.gradient(out[i].numpy(), axis=(0, 1, 2)) for i in range(3)])
    determinant = np.linalg.det(slopes.transpose(2, 3, 4, 0, 1))
    assert determinant[2:-2, 2:-2, 2:-2].min() > 0
    assert (out - torch.stack(places)).abs().max() > 0.2
    border = out[:, 0, 1:-1, 1:-1] - torch.stack(places)[:, 0, 1:-1, 1:-1]
    assert border.abs().max() < 0.1


@pytest.mark.parametrize("name", DEEP)
def test_a_mask_moves_through_the_depth_with_its_volume(name):
    spec = op_table("image")[name]
    m = spec.magnitude(1.0) if spec.has_magnitude else None
    policy = policy_of(OpCall(name, m, m, unit=spec.unit), OpCall("rotate", 10, 10, unit="deg"))
    x = images(3, 30, 30, 29, torch.uint8).view(3, 1, 30, 30, 29)
    y, mask = PolicyTransform(policy, seed=1)(x, mask=x.clone(), index=range(3))
    assert torch.equal(y, mask)
    labels = x.to(torch.int64) * 1000
    assert torch.equal(
        PolicyTransform(policy, seed=1)(x, mask=labels, index=range(3))[1],
        y.to(torch.int64) * 1000,
    )
    in_plane = policy_of(OpCall("rotate", 10, 10, unit="deg"))
    assert not torch.equal(y, PolicyTransform(in_plane, seed=1)(x, index=range(3)))


def test_flat_images_and_a_single_slice_have_no_depth_to_move_through():
    x = images(4, 3, 12, 12, torch.uint8)
    for name in DEEP:
        assert torch.equal(apply(x, name), x)
        assert torch.equal(apply(x[:, :, None], name), x[:, :, None])
    together = chain(x, ("rotate", 20.0), ("rotate_x", 20.0), ("invert", 0.0))
    assert torch.equal(together, chain(x, ("rotate", 20.0), ("invert", 0.0)))


def test_a_space_of_volumes_holds_what_the_data_have():
    space = load_space("medical_volumes")
    flat, deep = space.restricted_to(1), space.restricted_to(1, is_deep=True)
    assert deep == space
    assert {entry.op for entry in deep.ops} - {entry.op for entry in flat.ops} == {
        *("rotate_x", "rotate_y", "scale_z", "translate_z", "elastic_3d")
    }


def test_a_dataset_of_volumes_is_augmented_as_its_samples_are_shaped():
    policy = policy_of(OpCall("rotate_x", 20, 30, unit="deg"), OpCall("flip_depth"))
    for channels in (1, 2):
        data = [(volumes(1, channels)[0], k) for k in range(3)]
        wrapped = AugmentedDataset(data, PolicyTransform(policy, seed=3))
        whole = PolicyTransform(policy, seed=3)(
            torch.stack([x for x, _ in data]), index=range(3), epoch=0
        )
        for k in range(3):
            x, label = wrapped[k]
            assert label == k
            torch.testing.assert_close(x, whole[k], rtol=0, atol=1e-6)
            assert not torch.equal(x, data[k][0])


def test_flat_images_under_a_policy_of_volumes_are_warned_of():
    policy = policy_of(OpCall("flip_depth"), OpCall("invert"))
    x = images(2, 1, 8, 8, torch.uint8)
    with pytest.warns(UserWarning, match="flip_depth: these move volumes through their depth"):
        assert torch.equal(PolicyTransform(policy, seed=1)(x), 255 - x)
    with pytest.raises(InvalidValueError, match=r"torch.from_numpy\(x\)\[None, None\]"):
        PolicyTransform(policy, seed=1)(np.zeros((32, 32, 32), np.uint8))


def test_a_bend_of_the_grid_itself_is_the_bend_of_its_coordinates():
    x = torch.rand(
        2, 1, 9, 14, 11, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )
    draws = np.random.default_rng(6).random((2, 2, 16))
    nudge = ("rotate_x", 1e-9)  # too little to see, enough to leave the short way
    alone = chain(x, ("elastic_3d", 0.2), draws=draws[:, :1])
    after = chain(x, ("elastic_3d", 0.2), nudge, draws=draws)
    torch.testing.assert_close(alone, after, rtol=0, atol=1e-6)
    assert (alone - x).abs().max() > 0.05


def test_what_needs_a_depth_is_named_where_there_is_none():
    space = load_space("medical_volumes").without(
        [e.op for e in load_space("medical_volumes").ops if e.op != "rotate_x"]
    )
    with pytest.raises(InvalidValueError, match=r"and no depth \(rotate_x\)"):
        space.restricted_to(1)


def test_a_search_of_flat_images_says_what_needs_a_depth_and_is_left_out():
    told = []
    config = SearchConfig(data="digits", train_size=60, space="medical_volumes")
    study = Study(config, told.append)
    assert not {entry.op for entry in study.space.ops} & set(DEEP)
    notes = [event["text"] for event in told if event["event"] == "left_out"]
    assert len(notes) == 1
    assert notes[0].startswith("rotate_x, rotate_y, scale_z, translate_z, elastic_3d are left out")
    assert set(study.problem.left_out) == set(DEEP) - {"flip_depth"}
