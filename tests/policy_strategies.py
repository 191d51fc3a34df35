"""Hypothesis strategies for policies, and for junk that looks like a policy file."""

from hypothesis import strategies as st

from policysearch.ops.registry import OpSpec, op_table
from policysearch.policy import (
    INTERPOLATIONS,
    MAX_KNOTS,
    MAX_WIDTH,
    Mix,
    OpCall,
    Policy,
    Schedule,
    Stage,
    SubPolicy,
)

SPECS = list(op_table("image").values())
POSITIVE = st.floats(1e-3, 1e3)


@st.composite
def calls(draw: st.DrawFn) -> OpCall:
    """A call that suits its op, with its unit written out."""
    spec: OpSpec = draw(st.sampled_from(SPECS))
    weight = draw(POSITIVE)
    if not spec.has_magnitude:
        return OpCall(spec.name, weight=weight)
    low, high = sorted(draw(st.tuples(*[st.floats(spec.low, spec.maximum)] * 2)))
    return OpCall(spec.name, low, high, weight, draw(st.sampled_from(spec.units)))


STAGES = st.builds(
    Stage, st.lists(calls(), min_size=1, max_size=4).map(tuple), st.floats(0.0, 1.0)
)
SUB_POLICIES = st.builds(
    SubPolicy, st.lists(STAGES, min_size=1, max_size=3).map(tuple), weight=POSITIVE
)
MIXES = st.builds(Mix, st.integers(1, MAX_WIDTH), st.floats(0.01, 100.0))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Knots at any places; the ends and neighbours of equal strength among the strengths."""
    inner = draw(st.sets(st.integers(1, 999), max_size=MAX_KNOTS - 2))
    places = [0.0, *(place / 1000 for place in sorted(inner)), 1.0]
    strengths = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0.0, 1.0)
    return Schedule(tuple((place, draw(strengths)) for place in places))


def classes_for(policy: Policy, n: int) -> list[int] | None:
    """Classes of `n` samples for a policy that draws by them."""
    factors = policy.class_probability
    return None if factors is None else [i % len(factors) for i in range(n)]


POLICIES = st.builds(
    Policy,
    st.lists(SUB_POLICIES, max_size=4).map(tuple),
    interpolation=st.sampled_from(INTERPOLATIONS),
    fill=st.floats(0.0, 1.0),
    mix=st.none() | MIXES,
    schedule=st.none() | schedules(),
    class_probability=st.none() | st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5).map(tuple),
)

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**400, 10**401)
    | st.floats()
    | st.text(st.characters(), max_size=8)  # lone surrogates among them
    | st.sampled_from(["rotate", "rotat", "image", "image-1", "px", "policysearch.policy"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
