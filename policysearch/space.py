"""Search spaces: which policies may be found, as a mapping from parameters to policies.

A space is data (a YAML file) with one of four methods:

* `opwise`: a weight and a magnitude range per operation, the number of ops per sample and one
  probability. Low-dimensional in effect: an op whose weight is small is not there.
* `triples`: AutoAugment's sub-policies of (operation, probability, magnitude) triples.
* `randaugment`: the number of ops and one strength for all of them.
* `fixed`: nothing to search; ops drawn uniformly with magnitudes drawn uniformly
  (TrivialAugment, UniformAugment).

With any of them the strength may change over the training: a parameter per knot of a schedule.
And rare classes may be augmented more often than frequent ones: one parameter.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from policysearch.errors import InvalidValueError
from policysearch.ops.registry import OpSpec, get_spec
from policysearch.policy import Interpolation, OpCall, Policy, Schedule, Stage, SubPolicy

Method = Literal["opwise", "triples", "randaugment", "fixed"]
METHODS: tuple[Method, ...] = ("opwise", "triples", "randaugment", "fixed")
Params = Mapping[str, float | int | str]

#: An op whose weight is below this is left out of an op-wise policy.
MIN_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Number:
    """A continuous or whole parameter in [low, high], both ends included."""

    low: float
    high: float
    is_integer: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that is one of `options`."""

    options: tuple[str, ...]


Parameter = Number | Choice


@dataclass(frozen=True, slots=True)
class OpRange:
    """An operation with the magnitude range that may be searched, in `unit`.

    Attributes:
      low: Magnitude at level 0. Above `high` where strength rises as the number falls, such as a
        ratio of signal to noise.
      high: Magnitude at level 1.
    """

    op: str
    low: float | None = None
    high: float | None = None
    unit: str | None = None

    def call(self, level: float, *, is_range: bool, weight: float = 1.0) -> OpCall:
        """The op at a level in [0, 1]: drawn from low to magnitude(level), or fixed there."""
        if self.low is None or self.high is None:
            return OpCall(self.op, weight=weight)
        least, most = sorted((self.low, self.high))
        top = round(self.low + (self.high - self.low) * level, 6)
        top = min(max(top, least), most)  # rounding must not leave the range
        bottom = self.low if is_range else top
        return OpCall(self.op, min(bottom, top), max(bottom, top), weight, self.unit)

    def cut(self, share: float) -> OpRange:
        """The lower part of the range, up to a level."""
        if self.low is None or self.high is None:
            return self
        return dataclasses.replace(self, high=round(self.low + (self.high - self.low) * share, 6))

    def full(self, weight: float = 1.0) -> OpCall:
        """The op with its whole range."""
        if self.low is None or self.high is None:
            return OpCall(self.op, weight=weight)
        least, most = sorted((self.low, self.high))
        return OpCall(self.op, least, most, weight, self.unit)


@dataclass(frozen=True, slots=True)
class ScheduleRange:
    """The schedules that may be searched: evenly spaced knots with a strength in [low, high]."""

    n_knots: int = 3
    low: float = 0.0
    high: float = 1.0

    def parameters(self) -> dict[str, Parameter]:
        """The strength at each knot."""
        return {f"strength.{i}": Number(self.low, self.high) for i in range(self.n_knots)}

    def ramp(self, start: float = 1.0, end: float = 1.0) -> dict[str, float]:
        """Strengths on the line from `start` to `end`, as near to it as the range allows."""
        last = self.n_knots - 1
        line = (round(start + (end - start) * i / last, 3) for i in range(self.n_knots))
        within = (min(max(strength, self.low), self.high) for strength in line)
        return dict(zip(self.parameters(), within, strict=True))

    def decode(self, params: Params) -> Schedule | None:
        """The schedule of these strengths; `None` when it is full strength throughout."""
        strengths = [round(_number(params[name]), 3) for name in self.parameters()]
        return None if min(strengths) == 1 else Schedule.even(strengths)


@dataclass(frozen=True, slots=True)
class RareClasses:
    """How much less frequent classes may be augmented: an exponent `rarity` in [low, high].

    The rarest class gets the policy as it is. A class with `n` samples gets it `(m / n)^rarity`
    times as often, `m` the samples of the rarest: all alike at 0, and as many augmented samples of
    every class at 1.

    Attributes:
      counts: Training samples of each class; empty before the data are known.
    """

    low: float = 0.0
    high: float = 1.0
    counts: tuple[int, ...] = ()

    def parameters(self) -> dict[str, Parameter]:
        """The exponent."""
        return {"rarity": Number(self.low, self.high)}

    def decode(self, params: Params) -> tuple[float, ...] | None:
        """Factor of each class; `None` when all are alike."""
        return self.factors(_number(params["rarity"]))

    def factors(self, rarity: float) -> tuple[float, ...] | None:
        """Factor of each class at an exponent; `None` when all are alike."""
        least = min((n for n in self.counts if n), default=0)
        found = tuple(round((least / n) ** rarity, 4) if n else 1.0 for n in self.counts)
        return found if set(found) - {1.0} else None


@dataclass(frozen=True)
class SearchSpace:
    """A named set of policies.

    Attributes:
      n_ops: Ops applied in sequence, smallest and largest number.
      n_sub_policies: Sub-policies of `triples`.
      probability: Range of the probability of a stage.
      schedule: What may be searched of the strength over the training; `None`: full throughout.
      rare_classes: What may be searched of how often classes are augmented; `None`: all alike.
      default_policy: Name of the policy that is usual for such data; the other search-free
        policies then have the operations of the space. `None`: that of the kind of data.
    """

    name: str
    method: Method
    ops: tuple[OpRange, ...]
    modality: str = "image"
    ops_version: str = "image-1"
    interpolation: Interpolation = "bilinear"
    fill: float = 0.0
    n_ops: tuple[int, int] = (1, 3)
    n_sub_policies: int = 5
    probability: tuple[float, float] = (0.0, 1.0)
    schedule: ScheduleRange | None = None
    rare_classes: RareClasses | None = None
    default_policy: str | None = None
    summary: str = ""
    references: tuple[str, ...] = ()

    def spec(self, op: str) -> OpSpec:
        """Declaration of one of the space's operations."""
        return get_spec(self.modality, op)

    def digest(self) -> str:
        """Hash of all that decides what a parameter means. 16 hexadecimal digits."""
        fields = dataclasses.asdict(self)
        for prose in ("summary", "references"):
            del fields[prose]
        younger = ("schedule", "rare_classes", "default_policy")  # than digests, which must stay
        for name in younger:
            if fields[name] is None:
                del fields[name]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def restricted_to(self, n_channels: int, *, is_deep: bool = False) -> SearchSpace:
        """Drops ops that cannot change a sample with so few channels, or without a depth.

        Raises:
          InvalidValueError: When no op is left.
        """
        kept = tuple(
            entry
            for entry in self.ops
            if self.spec(entry.op).min_channels <= n_channels
            and (is_deep or not self.spec(entry.op).needs_depth)
        )
        if not kept:
            deep = [entry.op for entry in self.ops if self.spec(entry.op).needs_depth]
            flat = "" if is_deep or not deep else f" and no depth ({', '.join(deep)})"
            raise InvalidValueError(
                f"No op of space '{self.name}' changes samples with {n_channels} channel(s)"
                f"{flat}. Add others to the space."
            )
        return dataclasses.replace(self, ops=kept)

    def for_classes(self, counts: Collection[int]) -> SearchSpace:
        """The space with what it must know of the classes: training samples of each.

        Raises:
          InvalidValueError: Where rare classes may be augmented more, and none is rare.
        """
        if self.rare_classes is None:
            return self
        if len(set(counts) - {0}) < 2:
            raise InvalidValueError(
                "`rare_classes` needs classes of different frequency; here all are alike "
                f"({max(counts, default=0)} samples each). Leave it out."
            )
        bound = dataclasses.replace(self.rare_classes, counts=tuple(int(n) for n in counts))
        return dataclasses.replace(self, rare_classes=bound)

    def without(self, ops: Collection[str]) -> SearchSpace:
        """The space without some of its operations; at least one must be left."""
        kept = tuple(entry for entry in self.ops if entry.op not in ops)
        if not kept:
            raise InvalidValueError(f"No op of space '{self.name}' is left. Add others to it.")
        return dataclasses.replace(self, ops=kept)

    @property
    def ops_with_generator(self) -> tuple[str, ...]:
        """Operations that draw from a generator."""
        return tuple(entry.op for entry in self.ops if self.spec(entry.op).needs_fit)

    def gentler(self, strength: float) -> SearchSpace:
        """The space with every magnitude range cut to this share of it, from its weak end."""
        if strength == 1:
            return self
        return dataclasses.replace(self, ops=tuple(entry.cut(strength) for entry in self.ops))

    def parameters(self) -> dict[str, Parameter]:
        """The parameters of the space, in a fixed order; empty when there is nothing to search."""
        of_schedule = {} if self.schedule is None else self.schedule.parameters()
        of_classes = {} if self.rare_classes is None else self.rare_classes.parameters()
        return self._parameters_of_method() | of_schedule | of_classes

    def _parameters_of_method(self) -> dict[str, Parameter]:
        if self.method == "opwise":
            return self._opwise_parameters()
        if self.method == "triples":
            return self._triples_parameters()
        if self.method == "randaugment":
            return {
                "n_ops": Number(*self.n_ops, is_integer=True),
                "level": Number(0.0, 1.0),
            }
        return {}

    def decode(self, params: Params) -> Policy:
        """Builds the policy that a set of parameters stands for."""
        problems = [name for name in self.parameters() if name not in params]
        if problems:
            raise InvalidValueError(
                f"Parameters {', '.join(problems[:5])} of space '{self.name}' are missing."
            )
        if self.method == "opwise":
            subs = self._decode_opwise(params)
        elif self.method == "triples":
            subs = self._decode_triples(params)
        elif self.method == "randaugment":
            stage = Stage(
                tuple(r.call(_number(params["level"]), is_range=False) for r in self.ops)
            )
            subs = (SubPolicy((stage,) * int(params["n_ops"])),)
        else:
            stage = Stage(tuple(r.full() for r in self.ops), self.probability[1])
            subs = (SubPolicy((stage,) * self.n_ops[1]),)
        schedule = None if self.schedule is None else self.schedule.decode(params)
        by_class = None if self.rare_classes is None else self.rare_classes.decode(params)
        return dataclasses.replace(
            self.policy(subs), schedule=schedule, class_probability=by_class
        )

    def encode_opwise(
        self, levels: Mapping[str, float], n_ops: int, probability: float = 1.0
    ) -> dict[str, float | int | str]:
        """Parameters of the op-wise policy that holds exactly the given ops at their levels.

        The strength is full throughout, or as high as the space allows.
        """
        params: dict[str, float | int | str] = {"n_ops": n_ops, "probability": probability}
        for entry in self.ops:
            params[f"{entry.op}.weight"] = 1.0 if entry.op in levels else 0.0
            if entry.low is not None:
                params[f"{entry.op}.level"] = levels.get(entry.op, 0.5)
        if self.schedule is not None:
            params |= self.schedule.ramp()
        if self.rare_classes is not None:
            params["rarity"] = self.rare_classes.low
        return {name: params[name] for name in self.parameters()}

    def uniform_policy(self, n_ops: int = 2, probability: float = 0.5) -> Policy:
        """UniformAugment over this space's ops and ranges.

        Each of `n_ops` stages applies a uniformly drawn op with a uniformly drawn magnitude. The
        paper draws the probability from U(0, 1) per application, which is probability 0.5.

        References:
          LingChen et al., UniformAugment, 2020 (arXiv:2003.14348), section 3.
        """
        stage = Stage(tuple(entry.full() for entry in self.ops), probability)
        return self.policy((SubPolicy((stage,) * n_ops),))

    def policy(self, subs: tuple[SubPolicy, ...]) -> Policy:
        """A policy that is applied as those of the space are."""
        return Policy(subs, self.modality, self.ops_version, self.interpolation, self.fill)

    def _opwise_parameters(self) -> dict[str, Parameter]:
        result: dict[str, Parameter] = {
            "n_ops": Number(*self.n_ops, is_integer=True),
            "probability": Number(*self.probability),
        }
        for entry in self.ops:
            result[f"{entry.op}.weight"] = Number(0.0, 1.0)
            if entry.low is not None:
                result[f"{entry.op}.level"] = Number(0.05, 1.0)
        return result

    def _decode_opwise(self, params: Params) -> tuple[SubPolicy, ...]:
        calls = [
            entry.call(
                _number(params.get(f"{entry.op}.level", 1.0)),
                is_range=True,
                weight=round(weight, 3),
            )
            for entry in self.ops
            if (weight := _number(params[f"{entry.op}.weight"])) >= MIN_WEIGHT
        ]
        if not calls:
            return ()
        stage = Stage(tuple(calls), round(_number(params["probability"]), 3))
        return (SubPolicy((stage,) * int(params["n_ops"])),)

    def _triples_parameters(self) -> dict[str, Parameter]:
        names = tuple(entry.op for entry in self.ops)
        result: dict[str, Parameter] = {}
        for i in range(self.n_sub_policies):
            for j in range(self.n_ops[1]):
                result[f"{i}.{j}.op"] = Choice(names)
                result[f"{i}.{j}.probability"] = Number(*self.probability)
                result[f"{i}.{j}.level"] = Number(0.0, 1.0)
        return result

    def _decode_triples(self, params: Params) -> tuple[SubPolicy, ...]:
        by_name = {entry.op: entry for entry in self.ops}
        subs = []
        for i in range(self.n_sub_policies):
            stages = []
            for j in range(self.n_ops[1]):
                entry = by_name[str(params[f"{i}.{j}.op"])]
                level = _number(params[f"{i}.{j}.level"])
                probability = round(_number(params[f"{i}.{j}.probability"]), 3)
                stages.append(Stage((entry.call(level, is_range=False),), probability))
            subs.append(SubPolicy(tuple(stages)))
        return tuple(subs)


def _number(value: float | int | str) -> float:
    return float(value)
