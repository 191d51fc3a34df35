"""Search spaces: parameters in, policies out."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_strategies import SPECS

from policysearch.errors import InvalidValueError
from policysearch.named import resolve_policy
from policysearch.ops.registry import check_policy
from policysearch.policy import OpCall, Policy, Schedule
from policysearch.resources import space_files
from policysearch.space import METHODS, MIN_WEIGHT, Choice, OpRange, ScheduleRange, SearchSpace
from policysearch.space_yaml import load_space


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    specs = draw(st.lists(st.sampled_from(SPECS), min_size=1, max_size=6, unique=True))
    ranges = []
    for spec in specs:
        low, high = sorted(draw(st.tuples(*[st.floats(spec.low, spec.maximum)] * 2)))
        has = spec.has_magnitude
        ranges.append(OpRange(spec.name, low, high, spec.unit) if has else OpRange(spec.name))
    n_ops = sorted(draw(st.tuples(st.integers(1, 8), st.integers(1, 8))))
    probability = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    ends = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    schedule = draw(st.none() | st.integers(2, 16).map(lambda n: ScheduleRange(n, *ends)))
    return SearchSpace(
        "mine",
        draw(st.sampled_from(METHODS)),
        tuple(ranges),
        n_ops=tuple(n_ops),
        probability=tuple(probability),
        n_sub_policies=draw(st.integers(1, 4)),
        schedule=schedule,
    )


def drawn_params(draw, space):
    params = {}
    for name, parameter in space.parameters().items():
        if isinstance(parameter, Choice):
            params[name] = draw(st.sampled_from(parameter.options))
        elif parameter.is_integer:
            params[name] = draw(st.integers(int(parameter.low), int(parameter.high)))
        else:
            params[name] = draw(st.floats(parameter.low, parameter.high))
    return params


def random_params(space, rng):
    params = {}
    for name, parameter in space.parameters().items():
        if isinstance(parameter, Choice):
            params[name] = str(rng.choice(parameter.options))
        elif parameter.is_integer:
            params[name] = int(rng.integers(parameter.low, parameter.high + 1))
        else:
            params[name] = float(rng.uniform(parameter.low, parameter.high))
    return params


def assert_within(policy, space):
    check_policy(policy)
    ranges = {entry.op: entry for entry in space.ops}
    for _, call in policy.calls():
        entry = ranges[call.op]
        assert call.unit == entry.unit
        if entry.low is not None:
            least, most = sorted((entry.low, entry.high))
            assert least <= call.low <= call.high <= most


@settings(deadline=None, max_examples=200)
@given(spaces(), st.data())
def test_any_parameters_of_any_space_give_a_policy_within_its_ranges(space, data):
    assert_within(space.decode(drawn_params(data.draw, space)), space)
    assert_within(space.uniform_policy(), space)


@pytest.mark.parametrize("name", space_files())
def test_every_shipped_space_decodes(name):
    space = load_space(name)
    rng = np.random.default_rng(0)
    digests = set()
    for _ in range(20):
        policy = space.decode(random_params(space, rng))
        assert_within(policy, space)
        digests.add(policy.digest())
        assert (policy.interpolation, policy.fill) == (space.interpolation, space.fill)
    assert len(digests) == (20 if space.parameters() else 1)


@pytest.mark.parametrize(
    ("space", "policy"),
    [("trivialaugment_wide", "trivialaugment-wide"), ("uniformaugment", "uniformaugment")],
)
def test_a_fixed_space_has_the_form_of_its_shipped_policy(space, policy):
    assert load_space(space).parameters() == {}
    (ours,) = load_space(space).decode({}).sub_policies
    (shipped,) = resolve_policy(policy).policy.sub_policies
    assert len(ours.stages) == len(shipped.stages)
    for stage, other in zip(ours.stages, shipped.stages, strict=True):
        assert stage.probability == other.probability
        assert {c.op for c in stage.choices} == {c.op for c in other.choices}


def test_randaugment_at_level_nine_of_thirty_is_the_published_one():
    (sub,) = load_space("randaugment").decode({"n_ops": 2, "level": 0.3}).sub_policies
    first, second = sub.stages
    assert first == second
    magnitudes = {call.op: call.low for call in first.choices}
    assert all(call.low == call.high for call in first.choices)
    assert magnitudes["rotate"] == 9.0
    assert magnitudes["solarize"] == 76.8
    published = resolve_policy("randaugment").policy.sub_policies[0].stages[0].choices
    assert magnitudes.keys() == {call.op for call in published}


def test_an_opwise_policy_holds_what_was_encoded():
    space = load_space("opwise")
    levels = {"rotate": 0.5, "shear_x": 1.0, "flip_horizontal": 0.7}
    policy = space.decode(space.encode_opwise(levels, n_ops=2, probability=0.8))
    (sub,) = policy.sub_policies
    first, second = sub.stages
    assert first == second
    assert first.probability == 0.8
    assert set(first.choices) == {
        OpCall("rotate", 0.0, 15.0, 1.0, "deg"),
        OpCall("shear_x", 0.0, 0.3, 1.0, "ratio"),
        OpCall("flip_horizontal"),
    }


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from([entry.op for entry in load_space("opwise").ops]), st.floats(0.05, 1.0)
    ),
    st.integers(1, 3),
    st.floats(0.3, 1.0),
)
def test_encoding_and_decoding_an_opwise_policy_agree(levels, n_ops, probability):
    space = load_space("opwise")
    params = space.encode_opwise(levels, n_ops, probability)
    assert list(params) == list(space.parameters())
    policy = space.decode(params)
    assert {call.op: call.high for _, call in policy.calls()} == {
        entry.op: entry.call(levels[entry.op], is_range=True).high
        for entry in space.ops
        if entry.op in levels
    }
    assert len(policy.sub_policies) == (1 if levels else 0)
    for sub in policy.sub_policies:
        assert len(sub.stages) == n_ops
        assert sub.stages[0].probability == round(probability, 3)


SCHEDULED = load_space("scheduled")
#: Of shipped spaces, which runs in somebody's hands know them by.
DIGESTS = [
    ("opwise", "e558441b99fc3539"),
    ("autoaugment", "7efbd5f5c2c2722d"),
    ("randaugment", "bb332364fd0ef8cd"),
    ("trivialaugment_wide", "a20847d04ebe861f"),
    ("uniformaugment", "33db74c4082dae69"),
]


def test_the_scheduled_space_is_the_default_one_with_a_strength_at_three_knots():
    default = load_space("opwise")
    assert (SCHEDULED.ops, SCHEDULED.n_ops) == (default.ops, default.n_ops)
    assert SCHEDULED.probability == default.probability
    strengths = {f"strength.{i}" for i in range(3)}
    assert SCHEDULED.parameters().keys() - default.parameters().keys() == strengths
    assert SCHEDULED.digest() != default.digest()


def test_strengths_become_a_schedule_and_full_ones_none():
    full = SCHEDULED.encode_opwise({"rotate": 1.0}, 2)
    assert SCHEDULED.decode(full).schedule is None
    assert SCHEDULED.decode(full) == load_space("opwise").decode(full)
    params = full | {"strength.0": 0.12345, "strength.1": 1.0, "strength.2": 0.0}
    expected = Schedule(((0, 0.123), (0.5, 1.0), (1, 0.0)))
    assert SCHEDULED.decode(params) == dataclasses.replace(
        SCHEDULED.decode(full), schedule=expected
    )


def test_full_strength_is_what_a_space_allows_at_most():
    space = dataclasses.replace(SCHEDULED, schedule=ScheduleRange(2, 0.2, 0.8))
    params = space.encode_opwise({"rotate": 1.0}, 2)
    assert (params["strength.0"], params["strength.1"]) == (0.8, 0.8)
    assert space.schedule.ramp(0, 1) == {"strength.0": 0.2, "strength.1": 0.8}


def test_any_kind_of_space_may_have_a_schedule():
    fixed = dataclasses.replace(load_space("uniformaugment"), schedule=ScheduleRange(2))
    assert list(fixed.parameters()) == ["strength.0", "strength.1"]
    policy = fixed.decode({"strength.0": 0.0, "strength.1": 1.0})
    assert policy.schedule == Schedule.even([0, 1])
    assert policy.at_full_strength() == load_space("uniformaugment").decode({})


@pytest.mark.parametrize(("name", "digest"), DIGESTS)
def test_a_space_has_the_digest_it_had(name, digest):
    assert load_space(name).digest() == digest


def test_an_op_below_the_least_weight_is_left_out():
    space = SearchSpace("mine", "opwise", (OpRange("invert"), OpRange("equalize")))
    params = {"n_ops": 1, "probability": 1.0, "invert.weight": 1.0, "equalize.weight": MIN_WEIGHT}
    assert space.decode(params).n_choices == 2
    assert space.decode(params | {"equalize.weight": MIN_WEIGHT - 0.001}).n_choices == 1
    assert space.decode(
        params | {"equalize.weight": 0, "invert.weight": 0}
    ) == dataclasses.replace(Policy(), interpolation="bilinear")


def test_triples_give_each_stage_its_own_op_probability_and_magnitude():
    space = SearchSpace(
        "mine",
        "triples",
        (OpRange("rotate", 10.0, 30.0, "deg"), OpRange("invert")),
        n_ops=(2, 2),
        n_sub_policies=1,
    )
    params = {
        "0.0.op": "rotate", "0.0.probability": 0.25, "0.0.level": 0.5,
        "0.1.op": "invert", "0.1.probability": 1.0, "0.1.level": 0.5,
    }  # fmt: skip
    (sub,) = space.decode(params).sub_policies
    assert [(stage.choices[0].op, stage.probability) for stage in sub.stages] == [
        ("rotate", 0.25),
        ("invert", 1.0),
    ]
    assert (sub.stages[0].choices[0].low, sub.stages[0].choices[0].high) == (20.0, 20.0)


def test_uniformaugment_over_a_space_has_all_its_ops_with_their_whole_ranges():
    space = load_space("opwise")
    (sub,) = space.uniform_policy().sub_policies
    assert len(sub.stages) == 2
    assert sub.stages[0].probability == 0.5
    assert [(c.op, c.low, c.high, c.weight) for c in sub.stages[0].choices] == [
        (r.op, r.low, r.high, 1.0) for r in space.ops
    ]


def test_a_falling_range_starts_at_its_weak_end():
    entry = OpRange("noise_snr", 40.0, 5.0, "dB")
    assert entry.call(0.0, is_range=False) == OpCall("noise_snr", 40.0, 40.0, unit="dB")
    assert entry.call(1.0, is_range=False) == OpCall("noise_snr", 5.0, 5.0, unit="dB")
    assert entry.call(0.2, is_range=True) == OpCall("noise_snr", 33.0, 40.0, unit="dB")
    assert entry.full() == OpCall("noise_snr", 5.0, 40.0, unit="dB")


def test_missing_parameters_are_named():
    with pytest.raises(InvalidValueError, match="Parameters level of space 'image/randaugment'"):
        load_space("randaugment").decode({"n_ops": 1})


def test_gray_images_lose_the_ops_that_need_colour():
    space = load_space("opwise")
    gray = {entry.op for entry in space.restricted_to(1).ops}
    lost = {entry.op for entry in space.ops} - gray
    assert {"color", "hue", "gray", "channel_shuffle"} <= lost
    assert "rotate" in gray
    assert space.restricted_to(3) == space


def test_a_space_without_any_op_for_gray_images_is_refused():
    space = SearchSpace("mine", "opwise", (OpRange("hue", 0.0, 0.1, "turn"),))
    with pytest.raises(
        InvalidValueError, match=r"No op of space 'mine' changes samples with 1 ch"
    ):
        space.restricted_to(1)


def test_the_digest_of_a_space_sees_meaning_and_not_prose():
    space = load_space("opwise")
    assert dataclasses.replace(space, summary="x", references=()).digest() == space.digest()
    for change in (
        {"fill": 0.5},
        {"n_ops": (1, 2)},
        {"ops": space.ops[:-1]},
        {"method": "fixed"},
        {"schedule": ScheduleRange()},
    ):
        assert dataclasses.replace(space, **change).digest() != space.digest()
