"""A smaller policy that augments nearly alike: what a search leaves lying about is taken out.

Parts that are drawn rarely or barely change a sample cost a reader attention and nothing else.
Whether leaving them out costs accuracy is not assumed: the smaller policy is trained beside the
larger one.
"""

from __future__ import annotations

import dataclasses

from policysearch.ops.registry import get_spec
from policysearch.policy import OpCall, Policy, Stage, SubPolicy

#: A choice, sub-policy or stage that is drawn more rarely than this is left out.
RARE = 0.05
#: An op whose strongest magnitude lies below this level is left out.
WEAK_LEVEL = 0.05


def simplified(policy: Policy) -> Policy:
    """The policy without rare and weak parts, equal parts merged; itself where nothing is.

    A sub-policy in which nothing is left stays as one that changes nothing: its samples keep
    their share.
    """
    total = sum(sub.weight for sub in policy.sub_policies)
    subs = tuple(
        _simplified_sub(sub, policy.modality)
        for sub in policy.sub_policies
        if sub.weight >= RARE / len(policy.sub_policies) * total
    )
    smaller = dataclasses.replace(policy, sub_policies=subs).canonical()
    return smaller if smaller.n_choices < policy.canonical().n_choices else policy


def _simplified_sub(sub: SubPolicy, modality: str) -> SubPolicy:
    stages = []
    for stage in sub.stages:
        if stage.probability < RARE:
            continue
        total = sum(call.weight for call in stage.choices)
        kept = tuple(
            call
            for call in stage.choices
            if call.weight >= RARE / len(stage.choices) * total and not _is_weak(call, modality)
        )
        if kept:  # the others are applied as often as before
            share = sum(call.weight for call in kept) / total
            stages.append(Stage(kept, stage.probability * min(1.0, share)))
    identity = Stage((OpCall("identity"),))
    return SubPolicy(tuple(stages) or (identity,), sub.weight)


def _is_weak(call: OpCall, modality: str) -> bool:
    spec = get_spec(modality, call.op)
    if call.high is None or not spec.is_identity_at_low or call.unit not in (None, spec.unit):
        return False
    return call.high < spec.magnitude(WEAK_LEVEL)
