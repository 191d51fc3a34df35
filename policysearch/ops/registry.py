"""What is known of every operation, without computing anything: names, units, ranges, sources.

A spec is data; the kernel that computes it lives in a module of its own, so that a policy can be
read, checked and explained without loading torch.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from policysearch.errors import FormatError, UnknownNameError, unknown_name
from policysearch.ops.audio import AUDIO_OPS
from policysearch.ops.company import COMPANY_OPS
from policysearch.ops.image import IMAGE_OPS
from policysearch.ops.series import SERIES_OPS
from policysearch.ops.spec import OpSpec
from policysearch.ops.tabular import TABULAR_OPS
from policysearch.ops.text import TEXT_OPS
from policysearch.policy import OpCall, Policy

__all__ = [
    "KINDS",
    "OPS_VERSIONS",
    "OpSet",
    "OpSpec",
    "all_ops",
    "call_problems",
    "check_policy",
    "company_ops",
    "get_spec",
    "op_table",
]


@dataclass(frozen=True, slots=True)
class OpSet:
    """All operations of a modality.

    Attributes:
      ops: The table of those that change a sample by itself.
      versions: Pinned meanings of the operations that this package knows, the newest last.
      is_mixable: Two samples of one form have an average, so a policy may have a `mix`.
    """

    ops: tuple[OpSpec, ...]
    versions: tuple[str, ...]
    is_mixable: bool


#: What is known of each modality, by name.
KINDS: Mapping[str, OpSet] = MappingProxyType(
    {
        "image": OpSet(IMAGE_OPS, ("image-1",), is_mixable=True),
        "audio": OpSet(AUDIO_OPS, ("audio-1",), is_mixable=True),
        "series": OpSet(SERIES_OPS, ("series-1",), is_mixable=True),
        "text": OpSet(TEXT_OPS, ("text-1",), is_mixable=False),
        "tabular": OpSet(TABULAR_OPS, ("tabular-1",), is_mixable=False),
    }
)
OPS_VERSIONS = MappingProxyType({name: kind.versions for name, kind in KINDS.items()})


@functools.cache
def op_table(modality: str) -> MappingProxyType[str, OpSpec]:
    """Operations that change a sample by itself, by name, in the order of their table."""
    if modality not in KINDS:
        raise UnknownNameError(unknown_name("modality", modality, KINDS))
    ops = KINDS[modality].ops
    table = {spec.name: spec for spec in ops}
    if len(table) != len(ops):
        raise AssertionError("an operation is declared twice")
    return MappingProxyType(table)


@functools.cache
def all_ops(modality: str) -> MappingProxyType[str, OpSpec]:
    """All operations by name: those of `op_table`, then those that need more than the sample."""
    return MappingProxyType(
        {**op_table(modality), **{spec.name: spec for spec in COMPANY_OPS[modality]}}
    )


def company_ops(policy: Policy) -> tuple[OpSpec, ...]:
    """The operations of a policy that need whole batches, a model or a generator, each once."""
    names = dict.fromkeys(call.op for _, call in policy.calls())
    table = {spec.name: spec for spec in COMPANY_OPS.get(policy.modality, ())}
    return tuple(table[name] for name in names if name in table)


def get_spec(modality: str, name: str, where: str = "") -> OpSpec:
    """Looks an operation up; an unknown name raises `UnknownNameError` with the nearest one."""
    table = all_ops(modality)
    if name not in table:
        raise UnknownNameError(unknown_name(f"{modality} op", name, table, where))
    return table[name]


def call_problems(modality: str, call: OpCall) -> list[str]:
    """Every reason why an op call does not suit its operation; empty when it does."""
    table = all_ops(modality)
    if call.op not in table:
        return [unknown_name(f"{modality} op", call.op, table)]
    spec = table[call.op]
    if not spec.has_magnitude:
        if call.low is not None or call.unit is not None:
            return [f"op '{call.op}' takes no magnitude, got {call.low!r} (unit {call.unit!r})."]
        return []
    if call.low is None or call.high is None:
        return [f"op '{call.op}' needs a `magnitude` in {spec.unit}."]
    if call.unit is not None and call.unit not in spec.units:
        known = " or ".join(f"'{u}'" for u in spec.units)
        return [f"`unit` of op '{call.op}' must be {known}, got {call.unit!r}."]
    # A second unit (pixels) has no bound of its own: it is cut to the image when it is applied.
    top = spec.maximum if call.unit in (None, spec.unit) else 1e6
    floor = spec.minimum
    if call.low < floor or call.high > top:
        got = f"{call.low:g}" if call.low == call.high else f"{call.low:g} to {call.high:g}"
        return [
            f"`magnitude` of op '{call.op}' must be in [{floor:g}, {top:g}] "
            f"{call.unit or spec.unit}, got {got}."
        ]
    return []


def check_policy(policy: Policy) -> None:
    """Raises `FormatError` naming every op, unit and magnitude that does not suit its op."""
    problems = [
        f"{problem} (at {place})"
        for place, call in policy.calls()
        for problem in call_problems(policy.modality, call)
    ]
    if policy.ops_version not in OPS_VERSIONS.get(policy.modality, ()):
        known = ", ".join(OPS_VERSIONS.get(policy.modality, ()))
        problems.insert(0, f"`ops_version` must be one of {known}, got {policy.ops_version!r}.")
    if policy.mix is not None and not KINDS[policy.modality].is_mixable:
        problems.append(mix_problem(policy.modality))
    if policy.mix is not None:
        problems += [
            f"op '{spec.name}' works on whole batches, and a `mix` cannot average them. Leave one "
            "of both out."
            for spec in company_ops(policy)
        ]
    if problems:
        raise FormatError("policy", problems)


def mix_problem(modality: str) -> str:
    """Says that a policy for this kind of data cannot have a `mix`."""
    return f"`mix` averages samples, which {modality} data do not allow. Leave it out."
