"""What a search leaves lying about is taken out, and the rest is applied as often as before."""

import pytest
from hypothesis import given
from policy_strategies import POLICIES

from policysearch.ops.registry import check_policy
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.simplify import simplified


def stage(*calls, probability=1.0):
    return Stage(tuple(calls), probability)


def policy(*subs):
    return Policy(tuple(subs))


ROTATE, INVERT = OpCall("rotate", 0, 30), OpCall("invert")


def test_rare_choices_go_and_the_others_are_drawn_as_often_as_before():
    rare = OpCall("equalize", weight=0.02)
    before = policy(SubPolicy((stage(ROTATE, INVERT, rare, probability=0.8),)))
    after = simplified(before)
    (only,) = after.sub_policies[0].stages
    assert {call.op for call in only.choices} == {"rotate", "invert"}
    assert only.probability == pytest.approx(0.8 * 2 / 2.02)


def test_weak_magnitudes_go_unless_they_act_at_their_weakest():
    weak = OpCall("shear_x", 0.0, 0.01)  # of 0.3
    after = simplified(policy(SubPolicy((stage(ROTATE, weak),))))
    assert [call.op for call in after.sub_policies[0].stages[0].choices] == ["rotate"]
    assert after.sub_policies[0].stages[0].probability == pytest.approx(0.5)


def test_rare_stages_and_sub_policies_go():
    rare = SubPolicy((stage(OpCall("equalize")),), weight=0.01)
    before = policy(SubPolicy((stage(ROTATE), stage(INVERT, probability=0.03))), rare)
    assert simplified(before) == policy(SubPolicy((stage(ROTATE),)))


def test_a_sub_policy_that_is_left_with_nothing_keeps_its_share():
    weak = SubPolicy((stage(OpCall("shear_x", 0.0, 0.001), OpCall("rotate", 0.0, 0.1)),))
    after = simplified(policy(SubPolicy((stage(ROTATE),)), weak))
    assert len(after.sub_policies) == 2
    assert {sub.stages[0].choices[0].op for sub in after.sub_policies} == {"rotate", "identity"}


def test_a_policy_without_such_parts_is_returned_as_it_is():
    before = policy(SubPolicy((stage(INVERT, ROTATE), stage(ROTATE, probability=0.5))))
    assert simplified(before) is before
    assert simplified(Policy()) == Policy()


@given(POLICIES)
def test_it_only_gets_smaller_and_adds_nothing(before):
    after = simplified(before)
    check_policy(after)
    assert after is before or after.n_choices < before.canonical().n_choices
    ops = {call.op for _, call in before.calls()} | {"identity"}
    assert {call.op for _, call in after.calls()} <= ops
