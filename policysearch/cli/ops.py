"""`policysearch ops`: which operations there are, in what units and ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from policysearch.cli.commands import examples

if TYPE_CHECKING:
    from policysearch.ops.registry import OpSpec


@click.command(
    epilog=examples(
        "policysearch ops                # all operations",
        "policysearch ops rotate         # everything about one",
        "policysearch ops --json | jq -r '.[].name'",
    )
)
@click.argument("name", required=False)
@click.option("--modality", default="image", show_default=True, help="Kind of data.")
@click.option("--json", "is_json", is_flag=True, help="Write JSON.")
def command(name: str | None, modality: str, is_json: bool) -> None:
    """List operations with units and ranges, or explain the one called NAME.

    A magnitude is in the operation's natural unit. Level 0 is the identity or the weakest form,
    level 1 the strongest that the literature uses.
    """
    from policysearch.ops.registry import all_ops, get_spec

    specs = list(all_ops(modality).values()) if name is None else [get_spec(modality, name)]
    if is_json:
        from policysearch.cli.output import emit_json

        described = [_as_dict(spec, modality) for spec in specs]
        emit_json(described if name is None else described[0])
    elif name is None:
        _show_all(specs)
    else:
        _show_one(specs[0], modality)


def range_text(spec: OpSpec) -> str:
    """Magnitudes at level 0 and 1, such as `± 0 to 30 deg`; `-` without a magnitude."""
    if not spec.has_magnitude:
        return "-"
    return f"{'± ' if spec.is_signed else ''}{spec.low:g} to {spec.high:g} {spec.unit}"


def _as_dict(spec: OpSpec, modality: str) -> dict[str, Any]:
    from policysearch.ops.registry import OPS_VERSIONS

    has = spec.has_magnitude
    return {
        "name": spec.name,
        "modality": modality,
        "ops_version": OPS_VERSIONS[modality][-1],
        "family": spec.family,
        "summary": spec.summary,
        "unit": spec.unit,
        "units": list(spec.units),
        "low": spec.low if has else None,
        "high": spec.high if has else None,
        "minimum": spec.minimum if has else None,
        "maximum": spec.maximum if has else None,
        "signed": spec.is_signed,
        "identity_at_low": spec.is_identity_at_low,
        "min_channels": spec.min_channels,
        "needs_depth": spec.needs_depth,
        "source": spec.source,
    }


def _show_all(specs: list[OpSpec]) -> None:
    from policysearch.cli.output import emit_table, say

    rows = [[spec.name, range_text(spec), spec.source] for spec in specs]
    emit_table(["op", "level 0 to level 1", "source"], rows)
    say("\n±: the sign is drawn, both alike. What one does: policysearch ops NAME")


def _show_one(spec: OpSpec, modality: str) -> None:
    from policysearch.cli.output import emit, emit_paragraph
    from policysearch.ops.registry import OPS_VERSIONS

    emit(spec.name)
    emit_paragraph(spec.summary, "  ")
    emit()
    for title, text in _facts(spec, f"{modality}, {spec.family}", OPS_VERSIONS[modality][-1]):
        emit_paragraph(text, f"  {title:<11}", " " * 13)


def _facts(spec: OpSpec, kind: str, version: str) -> list[tuple[str, str]]:
    facts = [("kind", f"{kind} (meaning pinned as {version})")]
    if spec.has_magnitude:
        facts.append(("magnitude", f"m in {' or '.join(spec.units)}"))
        facts.append(("level 0", _level_text(spec, 0.0)))
        facts.append(("level 1", _level_text(spec, 1.0)))
        limit = f"{spec.minimum:g} to" if spec.is_falling else "up to"
        facts.append(("limit", f"{limit} {spec.maximum:g} {spec.unit} in a policy of your own"))
        sign = "drawn, both alike" if spec.is_signed else "positive"
        facts.append(("sign", sign))
    else:
        facts.append(("magnitude", "none"))
    if spec.min_channels > 1:
        facts.append(("channels", f"at least {spec.min_channels}; with fewer it does nothing"))
    if spec.needs_depth:
        facts.append(("samples", "volumes; flat images stay as they are"))
    return [*facts, ("source", spec.source)]


def _level_text(spec: OpSpec, level: float) -> str:
    text = f"{spec.magnitude(level):g} {spec.unit}"
    if level == 0:
        text += ": the identity" if spec.is_identity_at_low else ": the weakest form"
    return text
