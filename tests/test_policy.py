"""Policies as values: their rules, their normal form and their digest."""

import copy
import dataclasses
import math
import pickle
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_strategies import POLICIES

from policysearch.errors import InvalidValueError
from policysearch.policy import (
    MAX_CALLS,
    Mix,
    OpCall,
    Policy,
    Schedule,
    Stage,
    SubPolicy,
    merged,
)

ROTATE = OpCall("rotate", 0, 30, unit="deg")
INVERT = OpCall("invert")
IDENTITY = OpCall("identity")


def policy_of(*stages: Stage, weight: float = 1.0) -> Policy:
    return Policy((SubPolicy(stages, weight),))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: OpCall("rotate", 3, 1), r"`low <= high` must hold, got low=3, high=1\."),
        (lambda: OpCall("rotate", 3), "`low` and `high` must be given together"),
        (lambda: OpCall("rotate", math.nan, 1), "`low` must be a finite number, got nan"),
        (lambda: OpCall("rotate", 0, math.inf), "`high` must be a finite number, got inf"),
        (lambda: OpCall("rotate", 0, 10**400), "`high` must be in .*, got a whole number of"),
        (lambda: OpCall("rotate", "1", 2), "`low` must be a finite number, got '1'"),
        (lambda: OpCall("rotate", weight=0), "`weight` must be above 0 and at most 1e9, got 0"),
        (lambda: OpCall("rotate", weight=True), "`weight` must be a finite number, got True"),
        (lambda: Stage((INVERT,), 1.2), r"`probability` must be in \[0, 1\], got 1\.2"),
        (lambda: Stage((INVERT,), -0.1), r"`probability` must be in \[0, 1\], got -0\.1"),
        (lambda: Stage(()), "`one_of` must hold 1 to 64 entries, got 0"),
        (lambda: Stage((INVERT,) * 65), "`one_of` must hold 1 to 64 entries, got 65"),
        (lambda: SubPolicy(()), "`ops` must hold 1 to 16 entries, got 0"),
        (lambda: SubPolicy((Stage((INVERT,)),) * 17), "`ops` must hold 1 to 16 entries, got 17"),
        (lambda: SubPolicy((Stage((INVERT,)),), -1), "`weight` must be above 0"),
        (lambda: Policy(fill=2), r"`fill` must be in \[0, 1\], got 2"),
        (lambda: Mix(0), r"`width` must be in \[1, 8\], got 0"),
        (lambda: Mix(9), r"`width` must be in \[1, 8\], got 9"),
        (lambda: Mix(2.0), r"`width` must be a whole number, got 2\.0"),
        (lambda: Mix(True), "`width` must be a whole number, got True"),
        (lambda: Mix(alpha=0), "`alpha` must be above 0 and at most 100, got 0"),
        (lambda: Mix(alpha=101), "`alpha` must be above 0 and at most 100, got 101"),
        (lambda: Mix(alpha=math.nan), "`alpha` must be a finite number, got nan"),
        (lambda: Schedule(((0, 1),)), "`knots` must hold 2 to 16 entries, got 1"),
        (lambda: Schedule.even([1] * 17), "`knots` must hold 2 to 16 entries, got 17"),
        (lambda: Schedule.even([]), "`knots` must hold 2 to 16 entries, got 0"),
        (lambda: Schedule.even([1]), "`knots` must hold 2 to 16 entries, got 1"),
        (lambda: Schedule.even([0, 1.2]), r"`strength` must be in \[0, 1\], got 1\.2"),
        (lambda: Schedule.even([True, 1]), "`strength` must be a finite number, got True"),
        (lambda: Schedule(((0, 1), (math.nan, 1))), "`progress` must be a finite number, got nan"),
        (lambda: Schedule(((0, 1), (2, 1))), r"`progress` must be in \[0, 1\], got 2"),
        (lambda: Schedule(((0, 1), (0.9, 1))), r"`progress` must rise from 0 .*got \[0, 0\.9\]"),
        (lambda: Schedule(((0.1, 1), (1, 1))), "`progress` must rise from 0 at the first knot"),
        (lambda: Schedule(((0, 1), (0, 0), (1, 1))), "`progress` must rise from 0 at the first"),
        (lambda: Schedule(((0, 1, 1), (1, 1))), r"must be a pair .* got \(0, 1, 1\)"),
        (lambda: Policy(interpolation="cubic"), "one of nearest, bilinear, got 'cubic'"),
        (lambda: Policy((SubPolicy((Stage((INVERT,)),)),) * 1001), "at most 1000 entries"),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_with_the_rule(make, text):
    with pytest.raises(InvalidValueError, match=text):
        make()


def test_a_policy_of_too_many_op_calls_is_refused():
    sub = SubPolicy((Stage((INVERT,) * 50),) * 10)
    Policy((sub,) * (MAX_CALLS // 500))
    with pytest.raises(InvalidValueError, match="at most 10000 op calls, got 10500"):
        Policy((sub,) * (MAX_CALLS // 500 + 1))


def test_lists_become_tuples_so_that_values_can_be_hashed():
    policy = Policy([SubPolicy([Stage([INVERT])])])
    assert hash(policy) == hash(policy_of(Stage((INVERT,))))
    assert policy == policy_of(Stage((INVERT,)))


def test_the_weight_of_a_lone_choice_says_nothing():
    assert Stage((dataclasses.replace(ROTATE, weight=0.5),)) == Stage((ROTATE,))


def test_calls_are_named_by_their_place():
    policy = Policy((SubPolicy((Stage((INVERT,)), Stage((ROTATE, INVERT)))),))
    assert [place for place, _ in policy.calls()] == [
        "sub_policies[0].ops[0]",
        "sub_policies[0].ops[1].one_of[0]",
        "sub_policies[0].ops[1].one_of[1]",
    ]
    assert policy.n_choices == 3


def test_a_policy_survives_pickling_and_copying():
    policy = policy_of(Stage((ROTATE, INVERT), 0.5))
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert copy.deepcopy(policy) == policy


@settings(deadline=None, max_examples=100)
@given(POLICIES)
def test_the_normal_form_is_its_own_normal_form(policy):
    normal = policy.canonical()
    assert normal.canonical() == normal
    assert normal.digest() == policy.digest()


@settings(deadline=None, max_examples=100)
@given(POLICIES, st.integers(0, 2**32))
def test_the_digest_does_not_see_order_duplicates_scale_and_what_never_applies(policy, seed):
    rng = random.Random(seed)

    def halves(parts):
        """Every part twice with half of its weight, in random order."""
        twice = [dataclasses.replace(p, weight=p.weight / 2) for p in parts for _ in range(2)]
        rng.shuffle(twice)
        return tuple(twice)

    def varied(sub):
        stages = [Stage(halves(stage.choices), stage.probability) for stage in sub.stages]
        stages.insert(rng.randrange(len(stages) + 1), Stage((ROTATE,), 0.0))
        stages.insert(rng.randrange(len(stages) + 1), Stage((IDENTITY,), 0.5))
        return SubPolicy(tuple(stages), sub.weight * 4)

    other = dataclasses.replace(
        policy, sub_policies=halves([varied(sub) for sub in policy.sub_policies])
    )
    assert other.digest() == policy.digest()


@pytest.mark.parametrize(
    "other",
    [
        policy_of(Stage((ROTATE,), 0.5)),
        policy_of(Stage((OpCall("rotate", 0, 31, unit="deg"),))),
        policy_of(Stage((OpCall("rotate", 0, 30, unit="px"),))),
        policy_of(Stage((ROTATE,)), Stage((ROTATE,))),
        policy_of(Stage((ROTATE, INVERT))),
        policy_of(Stage((ROTATE, dataclasses.replace(INVERT, weight=2)))),
        Policy((SubPolicy((Stage((ROTATE,)),)), SubPolicy((Stage((INVERT,)),)))),
        dataclasses.replace(policy_of(Stage((ROTATE,))), fill=0.5),
        dataclasses.replace(policy_of(Stage((ROTATE,))), interpolation="bilinear"),
        dataclasses.replace(policy_of(Stage((ROTATE,))), mix=Mix(1)),
        dataclasses.replace(policy_of(Stage((ROTATE,))), schedule=Schedule.even([1, 0.9])),
        dataclasses.replace(policy_of(Stage((ROTATE,))), schedule=Schedule.even([0.5, 0.5])),
        Policy(),
    ],
)
def test_the_digest_sees_what_changes_the_augmentation(other):
    assert other.digest() != policy_of(Stage((ROTATE,))).digest()


def test_the_digest_sees_every_part_of_a_mix():
    policy = policy_of(Stage((ROTATE,)))
    mixes = [None, Mix(3, 1.0), Mix(2, 1.0), Mix(3, 0.5)]
    assert len({dataclasses.replace(policy, mix=mix).digest() for mix in mixes}) == len(mixes)
    assert Mix(3, 1) == Mix(3, 1.0)
    assert repr(Mix(3, 1)) == repr(Mix(3, 1.0))


def test_the_digest_sees_strengths_and_no_knots_between_them():
    policy = policy_of(Stage((ROTATE,)))
    for short, long in (
        (None, Schedule.even([1, 1, 1])),
        (Schedule.even([0.2, 1]), Schedule(((0, 0.2), (0.25, 0.4), (0.5, 0.6), (1, 1)))),
        (Schedule.even([0, 1, 0]), Schedule.even([0, 0.5, 1, 0.5, 0])),
    ):
        a, b = (dataclasses.replace(policy, schedule=schedule) for schedule in (short, long))
        assert a.digest() == b.digest()
        assert b.canonical().schedule == short
    assert policy.at_full_strength() == policy == b.at_full_strength()


def test_the_normal_form_is_short():
    messy = Policy(
        (
            SubPolicy((Stage((INVERT,), 0.0), Stage((IDENTITY,), 0.3)), 2.0),
            SubPolicy((Stage((INVERT, INVERT, ROTATE), 0.5),), 4.0),
            SubPolicy((Stage((IDENTITY,)),), 2.0),
        )
    )
    assert messy.canonical() == Policy(
        (
            SubPolicy((Stage((dataclasses.replace(ROTATE, weight=0.5), INVERT), 0.5),), 1.0),
            SubPolicy((Stage((IDENTITY,)),), 1.0),
        )
    )


@pytest.mark.parametrize(
    "policy",
    [
        policy_of(Stage((IDENTITY,))),
        policy_of(Stage((ROTATE,), 0.0)),
        dataclasses.replace(policy_of(Stage((IDENTITY,))), mix=Mix()),
        Policy(mix=Mix()),
        Policy(schedule=Schedule.even([0.5, 1])),
        dataclasses.replace(policy_of(Stage((INVERT,))), schedule=Schedule.even([0, 0])),
    ],
)
def test_a_policy_that_changes_nothing_has_the_digest_of_no_augmentation(policy):
    assert policy.canonical() == Policy()
    assert policy.digest() == Policy().digest()


def test_the_order_of_equal_parts_does_not_show_in_the_last_digit():
    # 4097 * 2^12 of 2^25 lies between two numbers of 12 digits; each of the two small weights
    # is lost when it is added to the large one alone.
    parts = [SubPolicy((Stage((INVERT,)),), weight) for weight in (4097.0 * 2**12, 2**-29, 2**-29)]
    other = SubPolicy((Stage((ROTATE,)),), 2.0**25)
    forward, backward = Policy((other, *parts)), Policy((*parts[::-1], other))
    assert forward.canonical() == backward.canonical()


def test_equal_policies_have_equal_digests_whatever_the_sign_of_zero():
    minus = policy_of(Stage((OpCall("rotate", -0.0, 1.0),)))
    plus = policy_of(Stage((OpCall("rotate", 0.0, 1.0),)))
    assert minus == plus
    assert minus.digest() == plus.digest()


@settings(deadline=None, max_examples=50)
@given(st.lists(POLICIES, min_size=1, max_size=4))
def test_a_merged_policy_gives_equal_shares_to_its_parts(parts):
    alike = {"modality": "image", "ops_version": "image-1", "interpolation": "nearest"}
    alike |= {"fill": 0.0, "mix": None, "schedule": None, "class_probability": None}
    parts = [dataclasses.replace(part, **alike) for part in parts]
    together = merged(parts)
    assert together.digest() == merged(parts[::-1]).digest()
    assert merged([together]) == together == merged([together, together])

    def shares(policy):
        policy = policy.canonical()
        subs = policy.sub_policies or (SubPolicy((Stage((OpCall("identity"),)),)),)
        total = sum(sub.weight for sub in subs)
        return {sub.stages: sub.weight / total for sub in subs}

    expected = Counter()
    for part in parts:
        expected.update({k: share / len(parts) for k, share in shares(part).items()})
    found = shares(together)
    assert {k: pytest.approx(v, abs=1e-6) for k, v in found.items()} == dict(expected)


def test_policies_that_differ_in_more_than_their_sub_policies_do_not_merge():
    one = Policy((SubPolicy((Stage((OpCall("invert"),)),)),))
    for policies in ([], [one, dataclasses.replace(one, fill=0.5)]):
        with pytest.raises(InvalidValueError, match="differ in their sub-policies alone"):
            merged(policies)


def test_operations_are_counted_once_and_the_identity_is_none():
    calls = (OpCall("invert"), OpCall("identity"), OpCall("equalize"))
    assert Policy((SubPolicy((Stage(calls), Stage(calls[:1]))),)).n_different_ops == 2
    assert Policy().n_different_ops == 0
