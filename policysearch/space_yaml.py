"""The only reader of search-space files (format `policysearch.space`, version 1).

YAML is read with a loader that builds plain data only: tags, aliases and repeated keys are
refused, so that a file can neither run code nor unfold into gigabytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from policysearch.errors import (
    FormatError,
    InvalidValueError,
    UnknownNameError,
    shortened,
    unknown_name,
)
from policysearch.files import read_text
from policysearch.ops.registry import OPS_VERSIONS, all_ops, call_problems
from policysearch.policy import MAX_KNOTS, MIN_KNOTS
from policysearch.resources import policy_files, space_files
from policysearch.space import OpRange, RareClasses, ScheduleRange, SearchSpace
from policysearch.validation import first_problems, problems_of

SPACE_FORMAT = "policysearch.space"
SPACE_VERSION = 1
#: What is searched where nobody says, for every modality.
DEFAULT_SPACE = "opwise"
#: How the name of a user's own file ends.
SUFFIXES = (".yaml", ".yml")
MAX_SPACE_BYTES = 256 * 1024

Share = Annotated[float, Field(ge=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class _OpEntry(_Model):
    op: Annotated[str, Field(min_length=1, max_length=64)]
    low: float | None = None
    high: float | None = None
    unit: str | None = None


class _ScheduleRange(_Model):
    n_knots: Annotated[int, Field(ge=MIN_KNOTS, le=MAX_KNOTS)] = 3
    low: Share = 0.0
    high: Share = 1.0


class _RareClasses(_Model):
    low: Share = 0.0
    high: Share = 1.0


class SpaceFile(_Model):
    """A search-space file, version 1."""

    format: Literal["policysearch.space"]
    version: Literal[1]
    summary: Annotated[str, Field(max_length=2000)] = ""
    references: list[str] = Field(default_factory=list, max_length=50)
    modality: str = "image"
    ops_version: str = "image-1"
    method: Literal["opwise", "triples", "randaugment", "fixed"]
    interpolation: Literal["nearest", "bilinear"] = "bilinear"
    fill: Share = 0.0
    n_ops: list[Annotated[int, Field(ge=1, le=8)]] = Field([1, 3], min_length=2, max_length=2)
    n_sub_policies: Annotated[int, Field(ge=1, le=50)] = 5
    probability: list[Share] = Field([0.0, 1.0], min_length=2, max_length=2)
    schedule: _ScheduleRange | None = None
    rare_classes: _RareClasses | None = None
    default_policy: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    ops: list[_OpEntry] = Field(min_length=1, max_length=64)


class _PlainLoader(yaml.SafeLoader):
    """Plain data only: no tags, no aliases, no repeated keys; scalars as in JSON.

    The scalar types are those of YAML 1.2's core schema without octals: `no` is a word, `1e-3` a
    number, `010` is ten, and there are no dates and no sexagesimal numbers.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.events.AliasEvent):
            raise _composer_error("aliases are not allowed", event)
        if event.tag is not None:
            raise _composer_error(f"tags are not allowed, got {event.tag[:80]!r}", event)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value[:80]!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_int(self, node: Any) -> int:
        return int(self.construct_scalar(node))


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_int)
_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]{1,18}", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
for _kind, (_pattern, _first) in _SCALARS.items():
    _PlainLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}",
        re.compile(f"^(?:{_pattern})$"),
        ["" if letter == "\0" else letter for letter in _first],
    )


def _composer_error(text: str, event: Any) -> yaml.composer.ComposerError:
    return yaml.composer.ComposerError(None, None, text, event.start_mark)


def parse_yaml(text: str, what: str) -> Any:
    """Parses YAML to plain data; raises `FormatError` with line and column."""
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1} column {mark.column + 1}" if mark else ""
        raise FormatError(what, [f"not plain YAML: {error.problem}{place}."]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise FormatError(what, [f"not plain YAML: {str(error).splitlines()[0]}."]) from None
    except RecursionError:
        raise FormatError(what, ["it is nested too deeply."]) from None


def space_from_dict(data: Any, name: str, what: str) -> SearchSpace:
    """Builds a search space from parsed YAML; raises `FormatError` naming every problem."""
    if not isinstance(data, dict):
        raise FormatError(what, [f"it must be a mapping, got {type(data).__name__}."])
    version = data.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > SPACE_VERSION:
        raise FormatError(
            what,
            [
                f"`version` must be at most {SPACE_VERSION}, got {shortened(version)}: it was "
                "written for a newer policysearch. Upgrade it: pip install -U policysearch."
            ],
        )
    if isinstance(version, bool):  # True equals 1
        raise FormatError(what, [f"`version` must be {SPACE_VERSION}, got {version}."])
    problems: list[str] = []
    try:
        file = SpaceFile.model_validate(data)
    except ValidationError as error:
        problems = problems_of(error, SpaceFile)
    problems = first_problems([*problems, *first_problems(_problems(data))])
    named = data.get("default_policy")
    if isinstance(named, str) and named not in policy_files():
        problems.append(unknown_name("policy", named, policy_files(), "at `default_policy`"))
    if problems:
        raise FormatError(what, problems)
    return SearchSpace(
        name=name,
        method=file.method,
        ops=tuple(_op_range(entry, file.modality) for entry in file.ops),
        modality=file.modality,
        ops_version=file.ops_version,
        interpolation=file.interpolation,
        fill=file.fill,
        n_ops=(file.n_ops[0], file.n_ops[1]),
        n_sub_policies=file.n_sub_policies,
        probability=(file.probability[0], file.probability[1]),
        schedule=None
        if file.schedule is None
        else ScheduleRange(file.schedule.n_knots, file.schedule.low, file.schedule.high),
        rare_classes=None
        if file.rare_classes is None
        else RareClasses(file.rare_classes.low, file.rare_classes.high),
        default_policy=file.default_policy,
        summary=file.summary.strip(),
        references=tuple(file.references),
    )


def load_space(name: str, modality: str = "image") -> SearchSpace:
    """Loads a shipped space by name (`image/opwise`, or `opwise` for short) or a YAML file.

    Args:
      name: Name or path.
      modality: Kind of data that a short name is meant for.

    Raises:
      UnknownNameError: With the nearest known name.
      FormatError: Naming every problem of the file.
    """
    if not isinstance(name, str):
        raise InvalidValueError(f"A space must be a name or a path, got {type(name).__name__}.")
    shipped = space_files()
    short = f"{modality}/{name}"
    if name in shipped or short in shipped:
        full = name if name in shipped else short
        what = f"space '{full}'"
        return space_from_dict(parse_yaml(read_text(shipped[full], "space"), what), full, what)
    path = Path(name)
    if path.suffix in SUFFIXES or os.path.exists(path):
        what = f"space file '{name}'"
        text = read_text(path, "space file", MAX_SPACE_BYTES)
        return space_from_dict(parse_yaml(text, what), path.stem, what)
    raise _unknown(name if "/" in name else short, shipped)


def check_space_name(name: str) -> None:
    """Refuses what is the name of no shipped space, of any modality, and no path.

    Raises:
      UnknownNameError: With the nearest known name.
    """
    shipped = space_files()
    known = {*shipped, *(full.split("/", 1)[1] for full in shipped)}
    if name not in known and Path(name).suffix not in SUFFIXES and not os.path.exists(name):
        raise _unknown(name, shipped if "/" in name else known - set(shipped))


def _unknown(name: str, known: Iterable[str]) -> UnknownNameError:
    told = unknown_name("space", name, known)
    return UnknownNameError(f"{told} A file of your own must end in .yaml.")


def _op_range(entry: _OpEntry, modality: str) -> OpRange:
    spec = all_ops(modality)[entry.op]
    if not spec.has_magnitude:
        return OpRange(entry.op)
    low = spec.low if entry.low is None else entry.low
    high = spec.high if entry.high is None else entry.high
    return OpRange(entry.op, low, high, entry.unit or spec.unit)


def _problems(data: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the meaning of a file, in those parts that have the right shape."""
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
    for field in ("n_ops", "probability"):
        match data.get(field):
            case [int() | float() as low, int() | float() as high] if low > high:
                got = shortened([low, high])
                yield f"`{field}` must be [low, high] with low <= high, got {got}."
    for field in ("schedule", "rare_classes"):
        match data.get(field):
            case {"low": int() | float() as low, "high": int() | float() as high} if low > high:
                got = f"low={shortened(low)}, high={shortened(high)}"
                yield f"`low <= high` must hold, got {got}. (in {field})"
    entries = data.get("ops")
    seen: set[str] = set()
    for i, raw in enumerate(entries if isinstance(entries, list) else []):
        try:
            entry = _OpEntry.model_validate(raw)
        except ValidationError:
            continue  # reported as a wrong shape
        for problem in _entry_problems(entry, modality):
            yield f"{problem} (ops[{i}])"
        if entry.op in seen:
            yield f"op '{entry.op}' is given twice (ops[{i}])."
        seen.add(entry.op)


def _entry_problems(entry: _OpEntry, modality: str) -> list[str]:
    if entry.op not in all_ops(modality):
        return [unknown_name(f"{modality} op", entry.op, all_ops(modality))]
    if not all_ops(modality)[entry.op].has_magnitude:
        given = [n for n in ("low", "high", "unit") if getattr(entry, n) is not None]
        return [f"op '{entry.op}' takes no magnitude, got `{given[0]}`."] if given else []
    bounds = _op_range(entry, modality)
    if bounds.low is not None and bounds.high is not None:
        is_falling = all_ops(modality)[entry.op].is_falling
        if bounds.high != bounds.low and (bounds.high < bounds.low) != is_falling:
            rule = "`low >= high`" if is_falling else "`low <= high`"
            why = f" ('{entry.op}' is weakest at `low`)" if is_falling else ""
            got = f"low={bounds.low:g}, high={bounds.high:g}"
            return [f"{rule} must hold, got {got}{why}."]
    return call_problems(modality, bounds.full())
