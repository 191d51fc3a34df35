"""Search-free arms and random policies of the same shape."""

import dataclasses

import numpy as np
import pytest
from test_space import assert_within, random_params

from policysearch.baselines import BASELINES, baseline_policies, random_like
from policysearch.named import resolve_policy
from policysearch.ops.registry import check_policy
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.space import ScheduleRange
from policysearch.space_yaml import load_space


def test_the_search_free_arms_are_valid_and_share_the_kernels_of_the_space():
    space = dataclasses.replace(load_space("opwise"), fill=0.25)
    policies = baseline_policies(space, side=32)
    assert tuple(policies) == BASELINES
    for policy in policies.values():
        check_policy(policy)
        assert (policy.interpolation, policy.fill) == ("bilinear", 0.25)
    assert policies["none"].sub_policies == ()
    assert policies["uniformaugment"] == space.uniform_policy()
    trivial = resolve_policy("trivialaugment-wide").policy
    assert policies["trivialaugment"].sub_policies == trivial.sub_policies


@pytest.mark.parametrize(("side", "pixels"), [(8, 8.0), (16, 16.0), (32, 32.0), (224, 32.0)])
def test_published_shifts_keep_their_share_of_small_images_and_their_pixels_on_large(side, pixels):
    trivial = baseline_policies(load_space("opwise"), side)["trivialaugment"]
    shifts = [call for _, call in trivial.calls() if call.unit == "px"]
    assert [call.op for call in shifts] == ["translate_x", "translate_y"]
    assert {(call.low, call.high) for call in shifts} == {(0.0, pixels)}
    rotate = next(call for _, call in trivial.calls() if call.op == "rotate")
    assert rotate.high == 135.0


def test_sound_has_an_arm_more_and_all_arms_are_for_sound():
    space = load_space("opwise", "audio")
    policies = baseline_policies(space)
    assert tuple(policies) == ("none", "default", "audiomentations", *BASELINES[2:])
    for policy in policies.values():
        check_policy(policy)
        assert policy.modality == "audio"
    masks = [call.op for _, call in policies["default"].calls()]
    assert masks == ["freq_mask", "freq_mask", "time_mask", "time_mask"]
    chain = [call.op for _, call in policies["audiomentations"].calls()]
    assert chain == ["noise_snr", "tempo", "pitch", "shift"]


def shape_of(policy):
    return [
        (sub.weight, [len(stage.choices) for stage in sub.stages]) for sub in policy.sub_policies
    ]


@pytest.mark.parametrize("name", ["opwise", "scheduled", "autoaugment", "randaugment"])
def test_a_random_policy_has_the_shape_of_the_found_one_and_is_another(name):
    space, rng = load_space(name), np.random.default_rng(0)
    for _ in range(50):
        found = space.decode(random_params(space, rng))
        other = random_like(found, space, rng)
        assert_within(other, space)
        assert shape_of(other) == shape_of(found)
        assert (other.digest() != found.digest()) == bool(found.sub_policies)
        for sub, new_sub in zip(found.sub_policies, other.sub_policies, strict=True):
            for i, stage in enumerate(sub.stages):
                for j in range(i):
                    if sub.stages[j] == stage:
                        assert new_sub.stages[j] == new_sub.stages[i]
        for _, call in other.calls():
            if name not in ("opwise", "scheduled") and call.low is not None:
                assert call.low == call.high, "fixed magnitudes stay fixed"


def test_equal_stages_stay_equal_across_sub_policies_and_weights_stay():
    space = load_space("opwise")
    stage, other = (Stage((OpCall(op, 0, 20, unit="deg"),)) for op in ("rotate", "shear_x"))
    found = Policy((SubPolicy((stage, other), 3.0), SubPolicy((stage,), 0.5)))
    first, second = random_like(found, space, np.random.default_rng(0)).sub_policies
    assert first.stages[0] == second.stages[0]
    assert first.stages[1] != second.stages[0]
    assert (first.weight, second.weight) == (3.0, 0.5)


def test_a_random_policy_has_as_many_knots_with_strengths_of_the_space():
    space = load_space("scheduled")
    space = dataclasses.replace(space, schedule=ScheduleRange(3, 0.2, 0.6))
    params = space.encode_opwise({"rotate": 1.0}, 2)
    strengths = set()
    for seed in range(50):
        other = random_like(space.decode(params), space, np.random.default_rng(seed))
        assert [at for at, _ in other.schedule.knots] == [0.0, 0.5, 1.0]
        strengths |= {strength for _, strength in other.schedule.knots}
    assert 0.2 <= min(strengths) < 0.21 < 0.59 < max(strengths) <= 0.6
    flat = dataclasses.replace(space.decode(params), schedule=None)
    assert random_like(flat, space, np.random.default_rng(0)).schedule is None


def test_random_policies_belong_to_their_generator():
    space = load_space("opwise")
    found = space.decode(random_params(space, np.random.default_rng(1)))
    a, b, c = (random_like(found, space, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert a == b != c


def test_a_random_policy_draws_its_ops_without_repeats_and_probabilities_from_the_space():
    space = dataclasses.replace(load_space("opwise"), probability=(0.4, 0.6))
    stage = Stage(tuple(OpCall("rotate", 0, i + 1.0, unit="deg") for i in range(5)))
    rng = np.random.default_rng(0)
    for _ in range(50):
        (sub,) = random_like(Policy((SubPolicy((stage,)),)), space, rng).sub_policies
        assert len({call.op for call in sub.stages[0].choices}) == 5
        assert 0.4 <= sub.stages[0].probability <= 0.6
