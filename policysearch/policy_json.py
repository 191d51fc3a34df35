"""The only reader and writer of policy files (format `policysearch.policy`, versions 1 to 4).

The models below are the format: they validate a file, report everything that is wrong with it at
once, and generate the JSON Schemas that ship in `policysearch/schemas`. A file is data: nothing in
it is executed, imported or used as a path, but for the bare name of a generator's file beside it.

Version 2 is version 1 and `mix`, version 3 is version 2 and `schedule`, version 4 is version 3,
`class_probability` and `generator`. A policy is written in the oldest version that can hold it, so
that older readers load what they understand.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationError,
)

from policysearch.errors import FormatError, PolicySearchError, shortened
from policysearch.files import json_text, parse_json, read_text, write_atomic
from policysearch.ops.registry import (
    KINDS,
    OPS_VERSIONS,
    all_ops,
    call_problems,
    get_spec,
    mix_problem,
)
from policysearch.policy import (
    MAX_ALPHA,
    MAX_CALLS,
    MAX_CHOICES,
    MAX_CLASSES,
    MAX_KNOTS,
    MAX_STAGES,
    MAX_SUB_POLICIES,
    MAX_WIDTH,
    MIN_ALPHA,
    MIN_KNOTS,
    Mix,
    OpCall,
    Policy,
    Schedule,
    Stage,
    SubPolicy,
)
from policysearch.validation import first_problems, problems_of

POLICY_FORMAT = "policysearch.policy"
MIX_VERSION, SCHEDULE_VERSION, CLASS_VERSION = 2, 3, 4  # the first with each further key

Probability = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=1e-9, le=1e9)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class _Range(_Model):
    low: float
    high: float


class _Call(_Model):
    op: Name
    magnitude: float | _Range | None = Field(
        None, description="A number, or a range it is drawn from uniformly, in `unit`."
    )
    unit: Name | None = None


class _WeightedCall(_Call):
    weight: Weight = 1.0


class _OpStage(_Call):
    probability: Probability = 1.0


class _ChoiceStage(_Model):
    one_of: list[_WeightedCall] = Field(min_length=1, max_length=MAX_CHOICES)
    probability: Probability = 1.0


def _stage_kind(value: Any) -> str:
    if isinstance(value, _ChoiceStage) or (isinstance(value, dict) and "one_of" in value):
        return "one_of"
    return "op"


_Stage = Annotated[
    Annotated[_OpStage, Tag("op")] | Annotated[_ChoiceStage, Tag("one_of")],
    Discriminator(_stage_kind),
]


class _SubPolicy(_Model):
    weight: Weight = 1.0
    ops: list[_Stage] = Field(min_length=1, max_length=MAX_STAGES)


class PolicyFile(_Model):
    """A policy file, version 1."""

    model_config = ConfigDict(title="policysearch policy, version 1")

    format: Literal["policysearch.policy"]
    version: Literal[1]
    name: Annotated[str, Field(max_length=200)] | None = None
    modality: Name = "image"
    ops_version: Name = "image-1"
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    fill: Probability = 0.0
    sub_policies: list[_SubPolicy] = Field(max_length=MAX_SUB_POLICIES)
    schedule: None = None
    provenance: dict[str, JsonValue] = Field(default_factory=dict)
    verdict: dict[str, JsonValue] | None = None


class _Mix(_Model):
    width: int = Field(3, ge=1, le=MAX_WIDTH, description="Chains drawn per sample.")
    alpha: float = Field(
        1.0,
        ge=MIN_ALPHA,
        le=MAX_ALPHA,
        description="Of the Dirichlet and Beta distributions that the weights are drawn from.",
    )


class PolicyFile2(PolicyFile):
    """A policy file, version 2."""

    model_config = ConfigDict(title="policysearch policy, version 2")

    version: Literal[2]  # type: ignore[assignment]
    mix: _Mix | None = Field(
        None, description="Draws several chains per sample and averages them with the sample."
    )


class _Knot(_Model):
    progress: Probability = Field(description="Share of the training that is done.")
    strength: Probability = Field(
        description="Factor of the magnitudes, counted from level 0; of the probability where an "
        "op has no magnitude."
    )


class _Schedule(_Model):
    knots: list[_Knot] = Field(
        min_length=MIN_KNOTS,
        max_length=MAX_KNOTS,
        description="From progress 0 to progress 1; linear between knots.",
    )


class PolicyFile3(PolicyFile2):
    """A policy file, version 3."""

    model_config = ConfigDict(title="policysearch policy, version 3")

    version: Literal[3]  # type: ignore[assignment]
    schedule: _Schedule | None = Field(  # type: ignore[assignment]
        None, description="Strength over the training; without it full strength throughout."
    )


_FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.safetensors$"


def _as_file_name(value: str) -> str:
    if not re.fullmatch(_FILE_NAME, value):
        raise ValueError(
            "must be the name of a file in the same folder that ends in .safetensors, of letters, "
            "digits, '.', '_' and '-'"
        )
    return value


class _Generator(_Model):
    name: Annotated[str, Field(min_length=1, max_length=400)] = Field(
        description="gaussian, vae or gan; or what else it was, which is never imported or opened."
    )
    file: Annotated[str, AfterValidator(_as_file_name)] | None = Field(
        None,
        json_schema_extra={"pattern": _FILE_NAME},
        description="Name of the file with the fitted generator, in the folder of this one.",
    )


class PolicyFile4(PolicyFile3):
    """A policy file, version 4."""

    model_config = ConfigDict(title="policysearch policy, version 4")

    version: Literal[4]  # type: ignore[assignment]
    class_probability: list[Probability] | None = Field(
        None,
        min_length=1,
        max_length=MAX_CLASSES,
        description="Factor of the probability of every stage, for samples of each class.",
    )
    generator: _Generator | None = Field(
        None, description="What operations that need a generator were searched with."
    )


#: The model of every version that can be read.
POLICY_FILES: dict[int, type[PolicyFile]] = {
    1: PolicyFile,
    MIX_VERSION: PolicyFile2,
    SCHEDULE_VERSION: PolicyFile3,
    CLASS_VERSION: PolicyFile4,
}


@dataclass(frozen=True, slots=True)
class GeneratorSource:
    """What operations that need a generator were searched with.

    Attributes:
      name: As in `load_policy(..., generator=name)`; nothing of a file is run because of it.
      file: Name of the file that holds it fitted, beside the policy file.
    """

    name: str
    file: str | None = None


@dataclass(frozen=True)
class PolicyDocument:
    """A policy with what the file says about it.

    Attributes:
      folder: Of the file, where its generator lies; `None`: there is no file.
    """

    policy: Policy
    name: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    generator: GeneratorSource | None = None
    folder: Path | None = field(default=None, compare=False, repr=False)


def policy_from_dict(data: Any, what: str = "policy") -> PolicyDocument:
    """Builds a policy document from parsed JSON.

    Raises:
      FormatError: Naming every problem with its place.
    """
    version = _checked_version(data, what)
    _check_size(data, what)
    problems: list[str] = []
    needed = version  # so that what else is wrong is said too
    for key, first, is_there in (
        ("mix", MIX_VERSION, "mix" in data),
        ("schedule", SCHEDULE_VERSION, data.get("schedule") is not None),
        ("class_probability", CLASS_VERSION, data.get("class_probability") is not None),
        ("generator", CLASS_VERSION, data.get("generator") is not None),
    ):
        if version < first and is_there:
            problems.append(f"`{key}` needs `version` {first}, got {version}.")
            needed = first
    model = POLICY_FILES[needed]
    try:
        file = model.model_validate(data | {"version": needed})
    except ValidationError as error:
        problems += problems_of(error, model)
    meanings = itertools.chain(_op_problems(data), _schedule_problems(data))
    problems = first_problems([*problems, *first_problems(meanings)])
    if problems:
        raise FormatError(what, problems)
    try:
        policy = Policy(
            sub_policies=tuple(_sub_policy(sub, file.modality) for sub in file.sub_policies),
            modality=file.modality,
            ops_version=file.ops_version,
            interpolation=file.interpolation,
            fill=file.fill,
            mix=_mix(file),
            schedule=_schedule(file.schedule),
            class_probability=_class_probability(file),
        )
    except PolicySearchError as error:
        raise FormatError(what, [str(error)]) from None
    generator = None
    if isinstance(file, PolicyFile4) and file.generator is not None:
        generator = GeneratorSource(file.generator.name, file.generator.file)
    return PolicyDocument(policy, file.name, file.provenance, file.verdict, generator)


def policy_to_dict(document: PolicyDocument) -> dict[str, Any]:
    """Turns a policy document into plain data in the file format, in a fixed order of keys."""
    policy = document.policy
    version = 1 if policy.mix is None else MIX_VERSION
    if policy.schedule is not None:
        version = SCHEDULE_VERSION
    if policy.class_probability is not None or document.generator is not None:
        version = CLASS_VERSION
    result: dict[str, Any] = {"format": POLICY_FORMAT, "version": version}
    if document.name is not None:
        result["name"] = document.name
    result |= {
        "modality": policy.modality,
        "ops_version": policy.ops_version,
        "interpolation": policy.interpolation,
        "fill": policy.fill,
        "sub_policies": [
            {
                "weight": sub.weight,
                "ops": [_stage_dict(stage, policy.modality) for stage in sub.stages],
            }
            for sub in policy.sub_policies
        ],
    }
    if policy.mix is not None:
        result["mix"] = dataclasses.asdict(policy.mix)
    if policy.class_probability is not None:
        result["class_probability"] = list(policy.class_probability)
    if document.generator is not None:
        result["generator"] = dataclasses.asdict(document.generator)
    return result | {
        "schedule": None if policy.schedule is None else _schedule_dict(policy.schedule),
        "provenance": dict(document.provenance),
        "verdict": None if document.verdict is None else dict(document.verdict),
    }


def read_policy_file(path: Path) -> PolicyDocument:
    """Reads a policy file; raises `PolicySearchError` that names the file and every problem."""
    what = f"policy file '{path}'"
    document = policy_from_dict(parse_json(read_text(path, "policy file"), what), what)
    return dataclasses.replace(document, folder=path.parent)


def write_policy_file(path: Path, document: PolicyDocument) -> None:
    """Writes a policy file atomically."""
    write_atomic(path, json_text(policy_to_dict(document)))


def policy_schema(version: int) -> dict[str, Any]:
    """The JSON Schema of a version of policy files (draft 2020-12), as shipped in `schemas`."""
    text = json.dumps(POLICY_FILES[version].model_json_schema())
    public = json.loads(re.sub(r'(?<=["/])_(?=[A-Z])', "", text))  # names without underscore
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **public}


def _checked_version(data: Any, what: str) -> int:
    """The version that a file says it has; one that is not known is refused."""
    if not isinstance(data, dict):
        raise FormatError(what, [f"it must be a JSON object, got {type(data).__name__}."])
    if data.get("format") != POLICY_FORMAT:
        raise FormatError(
            what,
            [f"`format` must be '{POLICY_FORMAT}', got {shortened(data.get('format'))}."],
        )
    version, newest = data.get("version"), max(POLICY_FILES)
    if isinstance(version, int) and not isinstance(version, bool) and version > newest:
        raise FormatError(
            what,
            [
                f"`version` must be at most {newest}, got {shortened(version)}: it was "
                "written by a newer policysearch. Upgrade it: pip install -U policysearch."
            ],
        )
    known = list(POLICY_FILES)
    if isinstance(version, bool) or version not in known:  # True equals 1
        rule = f"{', '.join(map(str, known[:-1]))} or {known[-1]}"
        raise FormatError(what, [f"`version` must be {rule}, got {shortened(version)}."])
    return known[known.index(version)]


def _check_size(data: dict[str, Any], what: str) -> None:
    """Refuses a huge policy before a model is made of each of its parts."""
    subs = data.get("sub_policies")
    if not isinstance(subs, list):
        return
    if len(subs) > MAX_SUB_POLICIES:
        raise FormatError(
            what,
            [f"`sub_policies` must hold at most {MAX_SUB_POLICIES} entries, got {len(subs)}."],
        )
    stages = [stage for sub in subs for stage in _list_in(sub, "ops")]
    n_calls = sum(len(_list_in(stage, "one_of")) or 1 for stage in stages)
    if n_calls > MAX_CALLS:
        raise FormatError(
            what, [f"a policy must hold at most {MAX_CALLS} op calls, got {n_calls}."]
        )


def _list_in(value: Any, key: str) -> list[Any]:
    entry = value.get(key) if isinstance(value, dict) else None
    return entry if isinstance(entry, list) else []


def _op_problems(data: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the ops of a file, in those parts that have the right shape."""
    modality = data.get("modality", "image")
    if not isinstance(modality, str):
        return
    if modality not in OPS_VERSIONS:
        known = ", ".join(OPS_VERSIONS)
        yield f"`modality` must be one of {known}, got {shortened(modality)}."
        return
    version = data.get("ops_version", "image-1")
    if isinstance(version, str) and version not in OPS_VERSIONS[modality]:
        known = ", ".join(OPS_VERSIONS[modality])
        yield f"`ops_version` must be one of {known}, got {shortened(version)}."
    if data.get("mix") is not None and not KINDS[modality].is_mixable:
        yield mix_problem(modality)
    for where, raw in _raw_calls(data):
        try:
            call = _Call.model_validate({k: raw[k] for k in _Call.model_fields if k in raw})
        except ValidationError:
            continue  # reported as a wrong shape
        try:
            value = _op_call(call, modality)
        except PolicySearchError as error:
            yield f"{error} ({where}, op '{call.op}')"
            continue
        for problem in call_problems(modality, value):
            yield f"{problem} ({where})"


def _schedule_problems(data: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the knots of a file that have the right shape."""
    try:
        _schedule(_Schedule.model_validate(data.get("schedule")))
    except ValidationError:
        return  # reported as a wrong shape, or not there
    except PolicySearchError as error:
        yield f"{error} (in schedule.knots)"


def _raw_calls(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Op calls of parsed JSON, with their places; parts of a wrong shape are passed over."""
    for i, sub in enumerate(_list_in(data, "sub_policies")):
        for j, stage in enumerate(_list_in(sub, "ops")):
            place = f"sub_policies[{i}].ops[{j}]"
            calls = {f"{place}.one_of[{k}]": c for k, c in enumerate(_list_in(stage, "one_of"))}
            for where, call in (calls or {place: stage}).items():
                if isinstance(call, dict):
                    yield where, call


def _op_call(call: _Call, modality: str) -> OpCall:
    """The call with its unit written out, so that files with and without it are equal."""
    low, high = (
        (call.magnitude.low, call.magnitude.high)
        if isinstance(call.magnitude, _Range)
        else (call.magnitude, call.magnitude)
    )
    weight = call.weight if isinstance(call, _WeightedCall) else 1.0
    unit = call.unit
    if unit is None and call.magnitude is not None and call.op in all_ops(modality):
        unit = all_ops(modality)[call.op].unit
    return OpCall(call.op, low, high, weight, unit)


def _mix(file: PolicyFile) -> Mix | None:
    if not isinstance(file, PolicyFile2) or file.mix is None:
        return None
    return Mix(file.mix.width, file.mix.alpha)


def _class_probability(file: PolicyFile) -> tuple[float, ...] | None:
    if not isinstance(file, PolicyFile4) or file.class_probability is None:
        return None
    return tuple(file.class_probability)


def _schedule(schedule: _Schedule | None) -> Schedule | None:
    if schedule is None:
        return None
    return Schedule(tuple((knot.progress, knot.strength) for knot in schedule.knots))


def _schedule_dict(schedule: Schedule) -> dict[str, Any]:
    return {"knots": [{"progress": p, "strength": s} for p, s in schedule.knots]}


def _sub_policy(sub: _SubPolicy, modality: str) -> SubPolicy:
    stages = tuple(
        Stage(tuple(_op_call(c, modality) for c in stage.one_of), stage.probability)
        if isinstance(stage, _ChoiceStage)
        else Stage((_op_call(stage, modality),), stage.probability)
        for stage in sub.ops
    )
    return SubPolicy(stages, sub.weight)


def _call_dict(call: OpCall, modality: str) -> dict[str, Any]:
    result: dict[str, Any] = {"op": call.op}
    if call.low is not None:
        is_fixed = call.low == call.high
        result["magnitude"] = call.low if is_fixed else {"low": call.low, "high": call.high}
        result["unit"] = call.unit or get_spec(modality, call.op).unit
    return result


def _stage_dict(stage: Stage, modality: str) -> dict[str, Any]:
    if len(stage.choices) == 1:
        return _call_dict(stage.choices[0], modality) | {"probability": stage.probability}
    choices = [_call_dict(call, modality) | {"weight": call.weight} for call in stage.choices]
    return {"one_of": choices, "probability": stage.probability}
