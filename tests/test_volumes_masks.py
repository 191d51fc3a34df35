"""Volumes are augmented in their slices alike; masks move as their images do."""

import numpy as np
import pytest
import torch
from contracts.op_contract import as_float, images, plan

from policysearch.baselines import baseline_policies
from policysearch.errors import InvalidValueError
from policysearch.ops import image_color, image_table
from policysearch.ops.image_elastic import MOVING
from policysearch.ops.image_kernels import ImageSettings, apply_stages
from policysearch.ops.kernel import OP_CODE
from policysearch.ops.registry import op_table
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.space_yaml import load_space
from policysearch.transform import PolicyTransform, load_policy

NAMES = list(op_table("image"))
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
    "name", sorted(set(NAMES) - OF_VALUES - {"gaussian_noise", "rician_noise"})
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


MOVED = [name for name in NAMES if OP_CODE[name] in set(MOVING.tolist())]


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
