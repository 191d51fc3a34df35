"""The search-free policies that a found one must beat, made comparable to it.

All arms use the kernels of the search space (its interpolation and fill), so that a difference
between arms is a difference between policies. Published pixel magnitudes were set on 32-pixel
images; on smaller ones they are scaled to the same fraction of the side.

TrivialAugment and RandAugment are published for images. For other kinds of data, and for spaces
with a default policy of their own, they are the same rules over the operations and ranges of the
search space.

No search-free policy draws from a generator, which is no part of those that are published.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from policysearch.named import resolve_policy
from policysearch.policy import OpCall, Policy, Schedule, Stage, SubPolicy
from policysearch.space import SearchSpace

BASELINES = ("none", "default", "trivialaugment", "randaugment", "uniformaugment")
_FILES = {
    "none": "none",
    "default": "default-image",
    "trivialaugment": "trivialaugment-wide",
    "randaugment": "randaugment",
}
#: Named policies that are arms of their own for a kind of data, beside its default.
_MORE = {"audio": ("audiomentations",), "text": ("aeda",), "tabular": ("smote",)}
_PUBLISHED_SIDE = 32
#: Strength and number of ops of RandAugment where it is not published: 9 of 30, as for ImageNet.
_RANDAUGMENT_LEVEL, _RANDAUGMENT_OPS = 0.3, 2


def baseline_policies(space: SearchSpace, side: int = _PUBLISHED_SIDE) -> dict[str, Policy]:
    """The search-free arms by name, simplest first.

    Args:
      space: Gives UniformAugment its ops and ranges, and all arms their kernels.
      side: Shorter side of images in pixels.
    """
    space = _without_generator(space)
    if space.modality != "image" or space.default_policy is not None:
        return _policies_of(space)
    policies = {}
    for name, file in _FILES.items():
        policy = _scaled(resolve_policy(file).policy, min(1.0, side / _PUBLISHED_SIDE))
        policies[name] = dataclasses.replace(
            policy, interpolation=space.interpolation, fill=space.fill
        )
    policies["uniformaugment"] = space.uniform_policy()
    return policies


def _without_generator(space: SearchSpace) -> SearchSpace:
    ops = space.ops_with_generator
    return space.without(ops) if 0 < len(ops) < len(space.ops) else space


def _policies_of(space: SearchSpace) -> dict[str, Policy]:
    """The arms where none but the default and a few more is published."""
    none = space.policy(())

    def named(name: str) -> Policy:
        return dataclasses.replace(none, sub_policies=resolve_policy(name).policy.sub_policies)

    trivial = Stage((OpCall("identity"), *(entry.full() for entry in space.ops)))
    rand = Stage(
        tuple(entry.call(_RANDAUGMENT_LEVEL, is_range=False) for entry in space.ops),
    )
    return {
        "none": none,
        "default": named(space.default_policy or f"default-{space.modality}"),
        **{name: named(name) for name in _MORE.get(space.modality, ())},
        "trivialaugment": space.policy((SubPolicy((trivial,)),)),
        "randaugment": space.policy((SubPolicy((rand,) * _RANDAUGMENT_OPS),)),
        "uniformaugment": space.uniform_policy(),
    }


def random_like(policy: Policy, space: SearchSpace, rng: np.random.Generator) -> Policy:
    """A random policy of the same shape: what a search without information would have found.

    Numbers of sub-policies, stages and choices stay; ops, magnitude ranges, weights and
    probabilities are drawn from the space, and so are the strength at each knot of a schedule and
    what rare classes get.
    Equal stages stay equal. A generator is drawn from where the policy draws from one.
    """
    if not {call.op for _, call in policy.calls()}.intersection(space.ops_with_generator):
        space = _without_generator(space)
    drawn: dict[Stage, Stage] = {}
    subs = []
    for sub in policy.sub_policies:
        for stage in sub.stages:
            if stage not in drawn:
                drawn[stage] = _random_stage(stage, space, rng)
        subs.append(SubPolicy(tuple(drawn[stage] for stage in sub.stages), sub.weight))
    schedule = policy.schedule
    if schedule is not None and space.schedule is not None:
        ends = (space.schedule.low, space.schedule.high)
        knots = [(at, round(float(rng.uniform(*ends)), 3)) for at, _ in schedule.knots]
        schedule = Schedule(tuple(knots))
    by_class, rare = policy.class_probability, space.rare_classes
    if by_class is not None and rare is not None:
        by_class = rare.factors(round(float(rng.uniform(rare.low, rare.high)), 3))
    return dataclasses.replace(
        policy, sub_policies=tuple(subs), schedule=schedule, class_probability=by_class
    )


def _random_stage(stage: Stage, space: SearchSpace, rng: np.random.Generator) -> Stage:
    n = min(len(stage.choices), len(space.ops))
    chosen = rng.choice(len(space.ops), size=n, replace=False)
    is_range = any(c.low is not None and c.low != c.high for c in stage.choices)
    calls = [
        space.ops[i].call(
            float(rng.uniform(0.05, 1.0)), is_range=is_range, weight=float(rng.uniform(0.3, 1.0))
        )
        for i in chosen
    ]
    low, high = space.probability
    return Stage(tuple(calls), round(float(rng.uniform(low, high)), 3))


def _scaled(policy: Policy, factor: float) -> Policy:
    def scaled_call(call: OpCall) -> OpCall:
        if call.unit != "px" or call.low is None or call.high is None:
            return call
        return dataclasses.replace(call, low=call.low * factor, high=call.high * factor)

    return dataclasses.replace(
        policy,
        sub_policies=tuple(
            SubPolicy(
                tuple(
                    Stage(tuple(scaled_call(c) for c in stage.choices), stage.probability)
                    for stage in sub.stages
                ),
                sub.weight,
            )
            for sub in policy.sub_policies
        ),
    )
