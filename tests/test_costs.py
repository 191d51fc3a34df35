"""What policies cost, and which of them none beats in score and cost."""

import dataclasses
import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from policysearch.costs import PolicyCost, pareto_fronts, spread_over
from policysearch.data.source import load_source
from policysearch.named import resolve_policy
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.proxies.base import settings_for
from policysearch.proxies.costs import measure_op_costs
from policysearch.space_yaml import load_space

COST = PolicyCost({"rotate": 10e-6, "invert": 2e-6})
ROTATE, INVERT = OpCall("rotate", -10, 10), OpCall("invert")


def sub(*stages, weight=1.0):
    return SubPolicy(stages, weight)


def test_what_is_expected_of_the_draws_is_what_a_policy_costs():
    assert COST(Policy()) == 0
    assert COST(Policy((sub(Stage((ROTATE,), 0.5)),))) == pytest.approx(5e-6)
    assert COST(Policy((sub(Stage((ROTATE, INVERT))),))) == pytest.approx(6e-6)
    assert COST(Policy((sub(Stage((ROTATE,)), Stage((INVERT,))),))) == pytest.approx(12e-6)
    weighted = Policy((sub(Stage((ROTATE,)), weight=3.0), sub(Stage((INVERT,)), weight=1.0)))
    assert COST(weighted) == pytest.approx(8e-6)
    identity = Policy((sub(Stage((OpCall("identity"), ROTATE))),))
    assert COST(identity) == pytest.approx(5e-6)


def test_an_op_that_was_not_measured_costs_the_mean_of_all():
    assert COST(Policy((sub(Stage((OpCall("equalize"),))),))) == pytest.approx(6e-6)


def test_all_chains_that_are_mixed_are_paid_for():
    augmix = resolve_policy("augmix").policy
    alone = PolicyCost(dict.fromkeys({call.op for _, call in augmix.calls()}, 1e-6))
    assert alone(augmix) == pytest.approx(3 * 2e-6)  # 3 chains, of 2 on average


def test_measured_costs_order_policies_as_a_clock_does():
    """Noise draws a number for every pixel; a flip copies them."""
    few = load_source("digits").train.take(np.arange(64))
    train = dataclasses.replace(few, x=np.ascontiguousarray(few.x.repeat(8, 2).repeat(8, 3)))
    space = load_space("image/opwise")
    calls = [e.full() for e in space.ops if e.op in {"flip_horizontal", "gaussian_noise"}]
    found = measure_op_costs(train, settings_for(train), calls, space.policy(()))
    assert set(found) == {"flip_horizontal", "gaussian_noise"}
    assert 0 < found["flip_horizontal"] < found["gaussian_noise"] < 1e-2


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_of_a_front_none_is_beaten_and_all_others_are(points):
    named = dict(enumerate(points))
    fronts = pareto_fronts(named)
    assert sorted(key for front in fronts for key in front) == sorted(named)

    def beats(a, b):
        return a != b and a[0] <= b[0] and a[1] <= b[1]

    for rank, front in enumerate(fronts):
        rest = [named[key] for later in fronts[rank:] for key in later]
        assert not any(beats(other, named[key]) for key in front for other in rest)
        for key in front:
            assert rank == 0 or any(beats(named[o], named[key]) for o in fronts[rank - 1])


@given(st.integers(1, 12), st.integers(1, 12))
def test_a_spread_keeps_both_ends(n_points, n):
    points = {i: (i, -i) for i in range(n_points)}
    chosen = spread_over(list(points)[::-1], points, n)
    assert len(chosen) == len(set(chosen)) == min(n, n_points)
    assert chosen[0] == 0
    assert n == 1 or chosen[-1] == n_points - 1


def test_measuring_takes_less_than_a_training():
    train = load_source("digits").train.take(np.arange(64))
    space = load_space("image/opwise").restricted_to(1)
    calls = [entry.full() for entry in space.ops]
    measure_op_costs(train, settings_for(train), calls, space.policy(()))  # compiles
    started = time.perf_counter()
    measure_op_costs(train, settings_for(train), calls, space.policy(()))
    assert time.perf_counter() - started < 10
