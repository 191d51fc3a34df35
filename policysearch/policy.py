"""Policies as values: what augmentation is, and nothing about how it is applied or found.

A `Policy` is a weighted set of `SubPolicy`; one is drawn per sample. A sub-policy is a sequence of
`Stage`; each is applied with its probability. A stage holds one `OpCall`, or several weighted
ones of which one is drawn (that is how RandAugment, TrivialAugment and op-wise policies stay a
few lines long instead of thousands of enumerated sub-policies). With a `Mix`, several sub-policies
are drawn per sample and their results are averaged (that is AugMix). With a `Schedule`, its
strength changes over the training; with a probability by class, some classes get less of it.

The values check their own shape. Whether an op exists and a magnitude suits it is known one floor
up, in `policysearch.ops.registry`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from policysearch.errors import InvalidValueError, shortened

Interpolation = Literal["nearest", "bilinear"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear")

MAX_SUB_POLICIES = 1000
MAX_STAGES = 16
MAX_CHOICES = 64
MAX_CALLS = 10_000
MAX_WIDTH = 8
MIN_ALPHA, MAX_ALPHA = 1e-9, 100.0
MIN_KNOTS, MAX_KNOTS = 2, 16
MAX_CLASSES = 10_000


def _check_number(name: str, value: float, low: float, high: float, rule: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidValueError(f"`{name}` must be a finite number, got {shortened(value)}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidValueError(f"`{name}` must be a finite number, got {value!r}.")
    if not low <= value <= high:
        raise InvalidValueError(f"`{name}` must be {rule}, got {shortened(value)}.")


def _check_count(name: str, n: int, high: int) -> None:
    if not 1 <= n <= high:
        raise InvalidValueError(f"`{name}` must hold 1 to {high} entries, got {n}.")


@dataclass(frozen=True, slots=True)
class OpCall:
    """One operation with the range its magnitude is drawn from.

    Attributes:
      op: Name of the operation, such as `rotate`.
      low: Lower end of the magnitude range in the op's natural unit (inclusive); `None` for ops
        without a magnitude.
      high: Upper end (inclusive). `low == high` is a fixed magnitude.
      weight: Relative chance within its stage, above 0.
      unit: Unit of the magnitude; `None` means the op's first unit.
    """

    op: str
    low: float | None = None
    high: float | None = None
    weight: float = 1.0
    unit: str | None = None

    def __post_init__(self) -> None:
        _check_number("weight", self.weight, 1e-9, 1e9, "above 0 and at most 1e9")
        if (self.low is None) != (self.high is None):
            raise InvalidValueError("`low` and `high` must be given together or not at all.")
        if self.low is not None and self.high is not None:
            _check_number("low", self.low, -1e9, 1e9, "in [-1e9, 1e9]")
            _check_number("high", self.high, -1e9, 1e9, "in [-1e9, 1e9]")
            if self.low > self.high:
                raise InvalidValueError(
                    f"`low <= high` must hold, got low={self.low!r}, high={self.high!r}."
                )
            object.__setattr__(self, "low", float(self.low) + 0.0)  # no negative zero
            object.__setattr__(self, "high", float(self.high) + 0.0)
        object.__setattr__(self, "weight", float(self.weight))


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a sub-policy: with `probability`, one of `choices` is drawn and applied."""

    choices: tuple[OpCall, ...]
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check_number("probability", self.probability, 0.0, 1.0, "in [0, 1]")
        object.__setattr__(self, "choices", tuple(self.choices))
        _check_count("one_of", len(self.choices), MAX_CHOICES)
        if len(self.choices) == 1:  # the weight of a lone choice says nothing
            object.__setattr__(
                self, "choices", (dataclasses.replace(self.choices[0], weight=1.0),)
            )
        object.__setattr__(self, "probability", float(self.probability) + 0.0)


@dataclass(frozen=True, slots=True)
class SubPolicy:
    """Stages applied in sequence; `weight` is the relative chance of being drawn."""

    stages: tuple[Stage, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_number("weight", self.weight, 1e-9, 1e9, "above 0 and at most 1e9")
        object.__setattr__(self, "stages", tuple(self.stages))
        _check_count("ops", len(self.stages), MAX_STAGES)
        object.__setattr__(self, "weight", float(self.weight))


@dataclass(frozen=True, slots=True)
class Mix:
    """Averages several draws of a policy: `m x + (1 - m) (w_1 chain_1(x) + w_2 chain_2(x) + ...)`.

    A chain is a sub-policy drawn for it alone and applied to the sample `x` itself.

    Attributes:
      width: Chains per sample, 1 to 8.
      alpha: Parameter of the distributions, above 0 and at most 100: the weights `w` are drawn
        from Dirichlet(alpha, ..., alpha), the share `m` of the sample from Beta(alpha, alpha).
        At 1 both are uniform; smaller values leave one part nearly alone, larger ones even out.

    References:
      Hendrycks et al., AugMix, 2020 (arXiv:1912.02781), section 3 and algorithm 1.
    """

    width: int = 3
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.width, bool) or not isinstance(self.width, int):
            raise InvalidValueError(
                f"`width` must be a whole number, got {shortened(self.width)}."
            )
        _check_number("width", self.width, 1, MAX_WIDTH, f"in [1, {MAX_WIDTH}]")
        rule = f"above 0 and at most {MAX_ALPHA:g}"
        _check_number("alpha", self.alpha, MIN_ALPHA, MAX_ALPHA, rule)
        object.__setattr__(self, "alpha", float(self.alpha))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Strength of a policy over the progress of a training, linear between knots.

    Progress is the share of the training that is done, so that one schedule fits a training of any
    length. At strength 1 the policy is applied as it stands, at 0 nothing is. At `s` a magnitude
    `m` becomes `low + s (m - low)`, where `low` is the magnitude at level 0. An op that does not
    become the identity there, or has no magnitude, is applied `s` times as often instead.

    Attributes:
      knots: 2 to 16 pairs (progress, strength), all numbers in [0, 1]. The progress rises from 0
        at the first knot to 1 at the last.

    References:
      Ho et al., Population Based Augmentation, 2019 (arXiv:1905.05393): a schedule of magnitude
      and probability for each op; here one factor for all of them, which takes few parameters.
    """

    knots: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        knots = tuple(tuple(knot) for knot in self.knots)
        if not MIN_KNOTS <= len(knots) <= MAX_KNOTS:
            raise InvalidValueError(
                f"`knots` must hold {MIN_KNOTS} to {MAX_KNOTS} entries, got {len(knots)}."
            )
        for knot in knots:
            if len(knot) != 2:
                raise InvalidValueError(
                    f"A knot must be a pair (progress, strength), got {shortened(knot)}."
                )
            for name, value in zip(("progress", "strength"), knot, strict=True):
                _check_number(name, value, 0.0, 1.0, "in [0, 1]")
        places = [progress for progress, _ in knots]
        is_rising = all(a < b for a, b in itertools.pairwise(places))
        if not is_rising or places[0] != 0 or places[-1] != 1:
            raise InvalidValueError(
                "`progress` must rise from 0 at the first knot to 1 at the last, got "
                f"{shortened(places)}."
            )
        plain = tuple((float(p) + 0.0, float(s) + 0.0) for p, s in knots)
        object.__setattr__(self, "knots", plain)

    @classmethod
    def even(cls, strengths: Sequence[float]) -> Schedule:
        """The schedule with these strengths at knots of equal distance.

        Examples:
          >>> Schedule.even([0.3, 1.0]).knots
          ((0.0, 0.3), (1.0, 1.0))
        """
        last = max(1, len(strengths) - 1)
        return cls(tuple((i / last, strength) for i, strength in enumerate(strengths)))

    def canonical(self) -> Schedule:
        """The same strengths with the fewest knots: those on the line of others are left out."""
        kept: list[tuple[float, float]] = []
        for knot in self.knots:
            while len(kept) > 1 and _is_on_line(kept[-1], kept[-2], knot):
                kept.pop()
            kept.append(knot)
        return Schedule(tuple(kept))

    def until(self, progress: float) -> Schedule:
        """The same up to a progress above 0, and from there on the strength reached there."""
        kept = [knot for knot in self.knots if knot[0] < progress]
        after = next(knot for knot in self.knots if knot[0] >= progress)
        (start, before), (end, then) = kept[-1], after
        reached = then - (then - before) * ((end - progress) / (end - start))  # exact at a knot
        held = [(progress, reached), (1.0, reached)]
        return Schedule((*kept, *(held if progress < 1 else held[:1])))

    @property
    def constant(self) -> float | None:
        """The strength, where it is the same throughout."""
        strengths = {strength for _, strength in self.knots}
        return strengths.pop() if len(strengths) == 1 else None


def _is_on_line(
    knot: tuple[float, float], before: tuple[float, float], after: tuple[float, float]
) -> bool:
    share = (knot[0] - before[0]) / (after[0] - before[0])
    return abs(before[1] + share * (after[1] - before[1]) - knot[1]) < 1e-12


@dataclass(frozen=True, slots=True)
class Policy:
    """A complete augmentation policy.

    Attributes:
      sub_policies: One is drawn per sample, by weight. Empty means no augmentation.
      modality: Kind of data, such as `image`.
      ops_version: Pinned meaning of the ops, such as `image-1`.
      interpolation: How geometric image ops resample.
      fill: Value of pixels that come from outside the image, as a fraction of the range, [0, 1].
      mix: One sub-policy is drawn for each of several chains instead, and the results are
        averaged; `None`: the one that is drawn is the result.
      schedule: Strength over the training; `None`: full strength throughout.
      class_probability: Factor in [0, 1] of the probability of every stage, for samples of each
        class in the order of the dataset's; `None`: all classes alike. The same for the share of
        synthetic samples, whose operation is a stage like others.
    """

    sub_policies: tuple[SubPolicy, ...] = ()
    modality: str = "image"
    ops_version: str = "image-1"
    interpolation: Interpolation = "nearest"
    fill: float = 0.0
    mix: Mix | None = None
    schedule: Schedule | None = None
    class_probability: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.class_probability is not None:
            _check_count("class_probability", len(self.class_probability), MAX_CLASSES)
            for value in self.class_probability:
                _check_number("class_probability", value, 0.0, 1.0, "in [0, 1]")
            plain = tuple(float(value) + 0.0 for value in self.class_probability)
            object.__setattr__(self, "class_probability", plain)
        _check_number("fill", self.fill, 0.0, 1.0, "in [0, 1]")
        object.__setattr__(self, "fill", float(self.fill) + 0.0)
        object.__setattr__(self, "sub_policies", tuple(self.sub_policies))
        if self.interpolation not in INTERPOLATIONS:
            raise InvalidValueError(
                f"`interpolation` must be one of {', '.join(INTERPOLATIONS)}, "
                f"got {self.interpolation!r}."
            )
        if len(self.sub_policies) > MAX_SUB_POLICIES:
            raise InvalidValueError(
                f"`sub_policies` must hold at most {MAX_SUB_POLICIES} entries, "
                f"got {len(self.sub_policies)}."
            )
        if self.n_choices > MAX_CALLS:
            raise InvalidValueError(
                f"A policy must hold at most {MAX_CALLS} op calls, got {self.n_choices}."
            )

    def calls(self) -> Iterator[tuple[str, OpCall]]:
        """Yields every op call with its place, such as `sub_policies[0].ops[1]`."""
        for i, sub in enumerate(self.sub_policies):
            for j, stage in enumerate(sub.stages):
                for k, call in enumerate(stage.choices):
                    place = f"sub_policies[{i}].ops[{j}]"
                    yield (f"{place}.one_of[{k}]" if len(stage.choices) > 1 else place), call

    def without_ops(self) -> Policy:
        """No augmentation, for the same kind of data."""
        return Policy((), self.modality, self.ops_version)

    @property
    def n_choices(self) -> int:
        """Number of op calls in the policy: its size for a reader, used to break ties."""
        return sum(len(stage.choices) for sub in self.sub_policies for stage in sub.stages)

    @property
    def n_different_ops(self) -> int:
        """Number of operations that act, however often each is called."""
        return len({call.op for _, call in self.calls()} - {"identity"})

    def canonical(self) -> Policy:
        """Returns the policy in its normal form: same augmentation, least writing.

        Stages that change nothing are dropped, equal choices and equal sub-policies are merged,
        order among equals is fixed and weights are scaled so that the largest is one. Chains that
        change nothing are not mixed, full strength throughout is no schedule, and factors of 1 for
        all classes make no difference.
        """
        subs = tuple(_merged([_canonical_sub_policy(sub) for sub in self.sub_policies]))
        schedule = None if self.schedule is None else self.schedule.canonical()
        constant = None if schedule is None else schedule.constant
        factors = set(self.class_probability or (1.0,))
        if constant == 0 or factors == {0.0} or all(sub.stages == _IDENTITY for sub in subs):
            none = {"sub_policies": (), "mix": None, "schedule": None, "class_probability": None}
            return dataclasses.replace(self, **none)  # type: ignore[arg-type]
        by_class = None if factors == {1.0} else self.class_probability
        if constant == 1:
            schedule = None
        return dataclasses.replace(
            self, sub_policies=subs, schedule=schedule, class_probability=by_class
        )

    def merges_with(self, other: Policy) -> bool:
        """Whether they have all but their sub-policies in common (see `merged`)."""
        return dataclasses.replace(self, sub_policies=other.sub_policies) == other

    def at_full_strength(self) -> Policy:
        """The policy without its schedule."""
        return dataclasses.replace(self, schedule=None)

    def for_all_classes(self) -> Policy:
        """The policy without factors by class."""
        return dataclasses.replace(self, class_probability=None)

    def digest(self) -> str:
        """Hash of the canonical form: equal digests augment alike. 16 hexadecimal digits."""
        fields = _fields(self.canonical())
        for younger in ("mix", "schedule", "class_probability"):  # than digests, which must stay
            if fields[younger] is None:
                del fields[younger]
        return hashlib.sha256(_as_json(fields).encode()).hexdigest()[:16]


def merged(policies: Sequence[Policy]) -> Policy:
    """One policy that treats an equal share of the samples as each of these does.

    Raises:
      InvalidValueError: When there are none, or they differ in more than their sub-policies.
    """
    if not policies or not all(policy.merges_with(policies[0]) for policy in policies):
        raise InvalidValueError("Only policies that differ in their sub-policies alone merge.")
    subs = []
    for policy in policies:
        parts = policy.sub_policies or (SubPolicy(_IDENTITY),)
        total = math.fsum(part.weight for part in parts)
        subs += [dataclasses.replace(part, weight=part.weight / total) for part in parts]
    return dataclasses.replace(policies[0], sub_policies=tuple(subs)).canonical()


def _as_json(value: Any) -> str:
    return json.dumps(value, default=_fields, sort_keys=True)


def _fields(value: Any) -> dict[str, Any]:
    """A dataclass as JSON sees it; `dataclasses.asdict`, which copies all of it, takes longer."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


_IDENTITY = (Stage((OpCall("identity"),)),)

_Weighted = TypeVar("_Weighted", OpCall, SubPolicy)


def _canonical_sub_policy(sub: SubPolicy) -> SubPolicy:
    stages = (Stage(tuple(_merged(stage.choices)), stage.probability) for stage in sub.stages)
    acting = tuple(
        stage
        for stage in stages
        if stage.probability > 0 and any(call.op != "identity" for call in stage.choices)
    )
    return SubPolicy(acting or _IDENTITY, sub.weight)


def _merged(parts: Sequence[_Weighted]) -> list[_Weighted]:
    """Equal parts as one with their common weight, in a fixed order, the largest weight one."""
    weights: dict[str, list[float]] = {}
    bare: dict[str, _Weighted] = {}
    for part in parts:
        plain = dataclasses.replace(part, weight=1.0)
        key = _as_json(plain)
        weights.setdefault(key, []).append(part.weight)
        bare[key] = plain
    # fsum: the order of equal parts must not show in the last digit.
    sums = {key: math.fsum(values) for key, values in sorted(weights.items())}
    largest = max(sums.values(), default=1.0)
    return [
        dataclasses.replace(bare[key], weight=max(round(weight / largest, 12), 1e-9))
        for key, weight in sums.items()
    ]
