"""The only reader and writer of policy files (format `policysearch.policy`, version 1).

The models below are the format: they validate a file, report everything that is wrong with it at
once, and generate the JSON Schema that ships as `policysearch/schemas/policy-1.schema.json`.
A file is data: nothing in it is executed, imported or used as a path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, ValidationError

from policysearch.errors import FormatError, PolicySearchError
from policysearch.files import parse_json, read_text, write_atomic
from policysearch.ops.registry import OPS_VERSIONS, call_problems, get_spec
from policysearch.policy import (
    MAX_CHOICES,
    MAX_STAGES,
    MAX_SUB_POLICIES,
    OpCall,
    Policy,
    Stage,
    SubPolicy,
)
from policysearch.validation import problems_of

POLICY_FORMAT = "policysearch.policy"
POLICY_VERSION = 1

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


@dataclass(frozen=True)
class PolicyDocument:
    """A policy with what the file says about it."""

    policy: Policy
    name: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None


def policy_from_dict(data: Any, what: str = "policy") -> PolicyDocument:
    """Builds a policy document from parsed JSON.

    Raises:
      FormatError: Naming every problem with its place.
    """
    _check_head(data, what)
    try:
        file = PolicyFile.model_validate(data)
    except ValidationError as error:
        raise FormatError(what, problems_of(error, PolicyFile)) from None
    problems = list(_op_problems(file))
    if problems:
        raise FormatError(what, problems)
    try:
        policy = Policy(
            sub_policies=tuple(_sub_policy(sub) for sub in file.sub_policies),
            modality=file.modality,
            ops_version=file.ops_version,
            interpolation=file.interpolation,
            fill=file.fill,
        )
    except PolicySearchError as error:
        raise FormatError(what, [str(error)]) from None
    return PolicyDocument(policy, file.name, file.provenance, file.verdict)


def policy_to_dict(document: PolicyDocument) -> dict[str, Any]:
    """Turns a policy document into plain data in the file format, in a fixed order of keys."""
    policy = document.policy
    result: dict[str, Any] = {"format": POLICY_FORMAT, "version": POLICY_VERSION}
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
        "schedule": None,
        "provenance": dict(document.provenance),
        "verdict": None if document.verdict is None else dict(document.verdict),
    }
    return result


def read_policy_file(path: Path) -> PolicyDocument:
    """Reads a policy file; raises `PolicySearchError` that names the file and every problem."""
    what = f"policy file '{path}'"
    return policy_from_dict(parse_json(read_text(path, "policy file"), what), what)


def write_policy_file(path: Path, document: PolicyDocument) -> None:
    """Writes a policy file atomically."""
    text = json.dumps(policy_to_dict(document), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text + "\n")


def _check_head(data: Any, what: str) -> None:
    if not isinstance(data, dict):
        raise FormatError(what, [f"it must be a JSON object, got {type(data).__name__}."])
    if data.get("format") != POLICY_FORMAT:
        raise FormatError(
            what, [f"`format` must be '{POLICY_FORMAT}', got {data.get('format')!r}."]
        )
    version = data.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > POLICY_VERSION:
        raise FormatError(
            what,
            [
                f"`version` must be at most {POLICY_VERSION}, got {version}: it was written by a "
                "newer policysearch. Upgrade with: pip install -U policysearch"
            ],
        )


def _op_problems(file: PolicyFile) -> Iterator[str]:
    if file.modality not in OPS_VERSIONS:
        known = ", ".join(OPS_VERSIONS)
        yield f"`modality` must be one of {known}, got {file.modality!r}."
        return
    if file.ops_version not in OPS_VERSIONS[file.modality]:
        known = ", ".join(OPS_VERSIONS[file.modality])
        yield f"`ops_version` must be one of {known}, got {file.ops_version!r}."
    for i, sub in enumerate(file.sub_policies):
        for j, stage in enumerate(sub.ops):
            place = f"sub_policies[{i}].ops[{j}]"
            calls = stage.one_of if isinstance(stage, _ChoiceStage) else [stage]
            for k, call in enumerate(calls):
                where = f"{place}.one_of[{k}]" if isinstance(stage, _ChoiceStage) else place
                try:
                    value = _op_call(call)
                except PolicySearchError as error:
                    yield f"{error} ({where}, op '{call.op}')"
                    continue
                for problem in call_problems(file.modality, value):
                    yield f"{problem} ({where})"


def _op_call(call: _Call) -> OpCall:
    low, high = (
        (call.magnitude.low, call.magnitude.high)
        if isinstance(call.magnitude, _Range)
        else (call.magnitude, call.magnitude)
    )
    weight = call.weight if isinstance(call, _WeightedCall) else 1.0
    return OpCall(call.op, low, high, weight, call.unit)


def _sub_policy(sub: _SubPolicy) -> SubPolicy:
    stages = tuple(
        Stage(tuple(_op_call(c) for c in stage.one_of), stage.probability)
        if isinstance(stage, _ChoiceStage)
        else Stage((_op_call(stage),), stage.probability)
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
