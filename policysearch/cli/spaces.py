"""`policysearch spaces`: which search spaces there are; checks a file of one's own too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from policysearch.cli.commands import examples

if TYPE_CHECKING:
    from policysearch.space import OpRange, Parameter, SearchSpace


@click.command(
    epilog=examples(
        "policysearch spaces                 # the spaces that ship",
        "policysearch spaces image/opwise    # one of them",
        "policysearch spaces my_space.yaml   # check a file of your own",
        "policysearch spaces --json | jq -r '.[].name'",
    )
)
@click.argument("name", required=False)
@click.option("--json", "is_json", is_flag=True, help="Write JSON.")
def command(name: str | None, is_json: bool) -> None:
    """List search spaces, or explain the one called NAME.

    NAME is a shipped space or a YAML file of your own, which is checked on the way: every problem
    in it is named.
    """
    from policysearch.cli.output import emit_json
    from policysearch.resources import space_files
    from policysearch.space_yaml import load_space

    if name is not None:
        space = load_space(name)
        if is_json:
            emit_json(_as_dict(space) | _details(space))
        else:
            _show_one(space)
        return
    spaces = [load_space(shipped) for shipped in space_files()]
    if is_json:
        emit_json([_as_dict(space) for space in spaces])
    else:
        _show_all(spaces)


def _as_dict(space: SearchSpace) -> dict[str, Any]:
    return {
        "name": space.name,
        "method": space.method,
        "modality": space.modality,
        "ops_version": space.ops_version,
        "n_ops": len(space.ops),
        "n_parameters": len(space.parameters()),
        "summary": space.summary,
        "references": list(space.references),
    }


def _details(space: SearchSpace) -> dict[str, Any]:
    return {
        "interpolation": space.interpolation,
        "fill": space.fill,
        "ops": [
            {"op": entry.op, "low": entry.low, "high": entry.high, "unit": entry.unit}
            for entry in space.ops
        ],
        "parameters": [
            {"name": name, **_parameter_dict(parameter)}
            for name, parameter in space.parameters().items()
        ],
    }


def _parameter_dict(parameter: Parameter) -> dict[str, Any]:
    from policysearch.space import Choice

    if isinstance(parameter, Choice):
        return {"kind": "choice", "options": list(parameter.options)}
    kind = "integer" if parameter.is_integer else "number"
    return {"kind": kind, "low": parameter.low, "high": parameter.high}


def _show_all(spaces: list[SearchSpace]) -> None:
    from policysearch.cli.output import emit, emit_paragraph, say

    longest = max(len(space.name) for space in spaces)
    for space in spaces:
        n_parameters = len(space.parameters())
        sizes = f"{len(space.ops):2} ops  {n_parameters:2} parameters"
        emit(f"{space.name:<{longest}}  {space.method:<11}  {sizes}")
        emit_paragraph(space.summary, "    ")
    say("\nOps and ranges of one: policysearch spaces NAME")


def _show_one(space: SearchSpace) -> None:
    from policysearch.cli.output import emit, emit_paragraph, emit_table

    emit(space.name)
    if space.summary:
        emit_paragraph(space.summary, "  ")
    for reference in space.references:
        emit_paragraph(reference, "  - ", "    ")
    emit()
    for title, text in _facts(space):
        emit_paragraph(text, f"  {title:<15}", " " * 17)
    emit()
    emit_table(["op", "magnitude"], [[e.op, _range_text(e)] for e in space.ops], indent=2)
    groups = _parameter_rows(space)
    if groups:
        emit()
        emit_table(["parameter", "count", "values"], groups, right=(1,), indent=2)


def _facts(space: SearchSpace) -> list[tuple[str, str]]:
    low, high = space.n_ops
    per_sample = f"{low}" if low == high else f"{low} to {high}"
    parameters = len(space.parameters())
    facts = [
        ("method", space.method),
        ("data", f"{space.modality} (ops pinned as {space.ops_version})"),
        ("parameters", str(parameters) if parameters else "none: there is nothing to search"),
        ("ops in a row", per_sample),
    ]
    if space.modality == "image":
        facts.append(("interpolation", f"{space.interpolation}, fill {space.fill:g}"))
    if space.method == "triples":
        facts.insert(3, ("sub-policies", str(space.n_sub_policies)))
    return facts


def _range_text(entry: OpRange) -> str:
    if entry.low is None or entry.high is None:
        return "-"
    return f"{entry.low:g} to {entry.high:g} {entry.unit}"


def _parameter_rows(space: SearchSpace) -> list[list[str]]:
    """Parameters that differ in their first words only share a row, such as `*.weight`."""
    counts: dict[tuple[str, str], int] = {}
    for name, parameter in space.parameters().items():
        *first, last = name.split(".")
        shown = ".".join([*("*" for _ in first), last])
        if last.isdigit():  # a knot
            shown, last = f"{first[0]}.*", first[0]
        key = (shown, _values_text(last, parameter))
        counts[key] = counts.get(key, 0) + 1
    return [[name, str(count), values] for (name, values), count in counts.items()]


def _values_text(kind: str, parameter: Parameter) -> str:
    from policysearch.space import MIN_WEIGHT, Choice

    if isinstance(parameter, Choice):
        return f"one of {len(parameter.options)} ops"
    text = f"{parameter.low:g} to {parameter.high:g}"
    if parameter.is_integer:
        return f"{text}, whole"
    notes = {
        "weight": f" (below {MIN_WEIGHT:g} the op is left out)",
        "level": " (as part of the magnitude range)",
        "rarity": " (0: all classes alike, 1: as many augmented samples of each)",
        "strength": " (at a knot of the schedule)",
    }
    return text + notes.get(kind, "")
