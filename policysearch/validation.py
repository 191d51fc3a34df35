"""Turns pydantic's findings into the house's error texts.

One text per problem: the field, the rule, the value, the place, and the nearest known key.
"""

from __future__ import annotations

import difflib
import itertools
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from policysearch.errors import shortened

_MAX_SHOWN = 20
_MAX_PLACE = 120
_SHARES = {"probability", "fill", "progress", "strength"}


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One text per problem of a failed validation, at most 20 and word of the rest."""
    items = error.errors(include_url=False, include_context=True)
    return first_problems(_problem(dict(item), model) for item in items)


def first_problems(problems: Iterable[str]) -> list[str]:
    """The first 20 different problems, with a last line when there are more.

    A hostile file can hold a million; the texts of those not shown are never made.
    """
    found: dict[str, None] = {}
    for problem in problems:
        found.setdefault(problem)
        if len(found) > _MAX_SHOWN:
            return [*itertools.islice(found, _MAX_SHOWN), "... and more."]
    return list(found)


def _problem(item: dict[str, Any], model: type[BaseModel]) -> str:
    kind = item["type"]
    if kind == "value_error" and not item["loc"]:  # about several fields: it names them
        return str(item["msg"]).removeprefix("Value error, ")
    *parents, last = _path(item["loc"], keep_last=kind in {"missing", "extra_forbidden"})
    where = f" (in {_join(parents)})" if parents else ""
    if kind == "missing":
        return f"`{last}` is missing{where}."
    if kind == "extra_forbidden":
        known = sorted(set(_field_names(model)))
        near = difflib.get_close_matches(str(last)[:80], known, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        return f"Unknown key `{str(last)[:80]}`{where}.{hint}"
    name = f"`{last}`" if isinstance(last, str) else f"entry [{last}]"
    if kind in {"too_long", "too_short"} and "actual_length" in item["ctx"]:
        return f"{name} must hold {_count_rule(item['ctx'])}{where}."
    verb, rule = _rule(item, last)
    return f"{name} {verb}{rule}, got {shortened(item.get('input'))}{where}."


def _rule(item: dict[str, Any], last: int | str) -> tuple[str, str]:
    """Verb and rule that a value breaks."""
    kind = item["type"]
    if last == "magnitude":  # a union: one text for both of its branches
        return "must be ", "a finite number, or an object with `low` and `high`"
    if kind in {"less_than_equal", "greater_than_equal"} and last in _SHARES:
        return "must be ", "in [0, 1]"
    if kind.startswith("recursion"):
        return "must be ", "nested less deeply"
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return "must be ", "an object"
    if kind == "invalid_key":
        return "must be ", "a string, as every key"
    rule = item["msg"].removeprefix("Value error, ")
    for start in ("Input should be ", "must be "):
        if rule.startswith(start):
            return "must be ", rule.removeprefix(start)
    return "is wrong: ", rule


def _count_rule(context: dict[str, Any]) -> str:
    rules = [
        f"{word} {context[key]}"
        for key, word in (("min_length", "at least"), ("max_length", "at most"))
        if context.get(key) is not None
    ]
    return f"{rules[0]} entries, got {context['actual_length']}"


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
    text = text.removeprefix(".")
    return text if len(text) <= _MAX_PLACE else text[: _MAX_PLACE - 3] + "..."


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
