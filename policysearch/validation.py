"""Turns pydantic's findings into the house's error texts.

One text per problem: the field, the rule, the value, the place, and the nearest known key.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

_MAX_SHOWN = 20


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One text per problem of a failed validation, at most 20 and a count of the rest."""
    found = list(
        dict.fromkeys(_problem(dict(item), model) for item in error.errors(include_url=False))
    )
    if len(found) > _MAX_SHOWN:
        found[_MAX_SHOWN:] = [f"... and {len(found) - _MAX_SHOWN} more."]
    return found


def _problem(item: dict[str, Any], model: type[BaseModel]) -> str:
    kind = item["type"]
    *parents, last = _path(item["loc"], keep_last=kind in {"missing", "extra_forbidden"})
    where = f" (in {_join(parents)})" if parents else ""
    if kind == "missing":
        return f"`{last}` is missing{where}."
    if kind == "extra_forbidden":
        known = sorted(set(_field_names(model)))
        near = difflib.get_close_matches(str(last), known, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        return f"Unknown key `{str(last)[:80]}`{where}.{hint}"
    rule = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if last == "magnitude":  # a union: one text for both of its branches
        rule = "a finite number, or an object with `low` and `high`"
    shown = repr(item.get("input"))
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    name = f"`{last}`" if isinstance(last, str) else f"entry [{last}]"
    verb = "" if rule[:1].isupper() else "must be "
    return f"{name} {verb}{rule}, got {shown}{where}."


def _path(loc: tuple[int | str, ...], *, keep_last: bool) -> list[int | str]:
    """Location without the names of union branches that pydantic puts in."""
    path: list[int | str] = []
    for i, part in enumerate(loc):
        follows_index = i > 0 and isinstance(loc[i - 1], int)
        is_branch = part in {"float", "_Range"} or (part in {"op", "one_of"} and follows_index)
        if is_branch and not (keep_last and i == len(loc) - 1):
            continue
        path.append(part)
    return path or ["file"]


def _join(parts: list[int | str]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _field_names(model: type[BaseModel], seen: set[type] | None = None) -> Iterator[str]:
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    for name, info in model.model_fields.items():
        yield name
        for inner in _models_in(info.annotation):
            yield from _field_names(inner, seen)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
