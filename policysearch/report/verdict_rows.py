"""The verdict of a policy file as a table. A file is outside data: what is missing stays blank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policysearch.metrics import METRICS

TITLES = ("  arm", "mean", "95% interval", "verdict for *", "difference")
RIGHT = (1,)


def verdict_rows(verdict: Mapping[str, Any]) -> list[list[str]]:
    """One row per arm, the best mean first; the exported arm is marked with `*`.

    The fourth column says how the exported arm compares with the arm of the row.
    """
    against = {str(c.get("other")): c for c in _items(verdict.get("comparisons"))}
    is_share = _direction(verdict)[0]
    return [
        _row(arm, arm["name"] == verdict.get("chosen"), against.get(arm["name"], {}), is_share)
        for arm in _arms(verdict)
    ]


#: Second axes: name in the verdict, title, how it is told: a share in percent, or with decimals.
_AXES: tuple[tuple[str, str, int | None], ...] = (
    ("calibration_error", "calibration error", 3),
    ("worst_class_accuracy", "worst class", None),
    ("corruption_accuracy", "corrupted", None),
    ("augmentation_microseconds", "augmenting, us", 1),
)


def axes_rows(verdict: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of what was measured beside the metric; no rows when nothing was."""
    arms = [arm for arm in _arms(verdict) if isinstance(arm.get("axes"), dict)]
    shown = [axis for axis in _AXES if any(axis[0] in arm["axes"] for arm in arms)]
    if not shown:
        return [], []
    rows = [
        [
            _marked(arm["name"], arm["name"] == verdict.get("chosen")),
            *(_axis(arm["axes"].get(key), digits) for key, _, digits in shown),
        ]
        for arm in arms
    ]
    return ["  arm", *(title for _, title, _ in shown)], rows


#: Classes up to which a table of them is short.
_FEW_CLASSES = 10


def front_rows(verdict: Mapping[str, Any]) -> list[list[str]]:
    """Policies of the front, the cheapest first: name, score, cost, file; none without a front."""
    return [
        [
            str(point.get("name")),
            _axis(point.get("score"), 4),
            _axis(point.get("microseconds"), 1),
            str(point.get("file")),
        ]
        for point in _items(verdict.get("front"))
    ]


def class_rows(verdict: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of what becomes of each class; no rows where there are many, or none."""
    told = verdict.get("classes")
    rows = _items(told.get("rows")) if isinstance(told, dict) else []
    if not 0 < len(rows) <= _FEW_CLASSES or not isinstance(told, dict):
        return [], []
    arm = str(told.get("arm"))
    return ["  class", "none", arm, "difference"], [
        [
            f"  {row.get('class')}",
            *(_axis(row.get(key), None) for key in ("none", arm)),
            _difference(row, is_share=True),
        ]
        for row in rows
    ]


def corruptions_of(verdict: Mapping[str, Any]) -> list[str]:
    """Names of the corruptions whose mean accuracy is shown."""
    keys = [
        str(key)
        for arm in _arms(verdict)
        if isinstance(arm.get("axes"), dict)
        for key in arm["axes"]
    ]
    prefix = "corrupted:"
    return list(dict.fromkeys(k.removeprefix(prefix) for k in keys if k.startswith(prefix)))


_PAIRS = {
    "search_confirm": "search and confirmation",
    "confirm_verdict": "confirmation and verdict",
}


def rung_words(verdict: Mapping[str, Any]) -> str:
    """What each rung cost, and how well one told the order of the next; empty where not known."""
    rungs = verdict.get("rungs")
    if not isinstance(rungs, dict):
        return ""
    spent = rungs.get("seconds")
    seconds = {name: _number(s) for name, s in spent.items()} if isinstance(spent, dict) else {}
    told = [f"{name} {s:,.0f} s" for name, s in seconds.items() if s is not None]
    words = f"computing: {', '.join(told)}" if told else ""
    ranks = []
    for key, title in _PAIRS.items():
        found = rungs.get(key)
        if isinstance(found, dict):
            value, n = _number(found.get("rank_correlation")), found.get("n")
            agree = "not known" if value is None else f"{value:+.2f}"
            ranks.append(f"{title}: {agree} ({n} policies)")
    if ranks:
        words += f"{'; ' if words else ''}rank correlation of {', '.join(ranks)}"
    return words


def _arms(verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Arms that have a name, the best mean first."""
    sign = _direction(verdict)[1]
    arms = [arm for arm in _items(verdict.get("arms")) if isinstance(arm.get("name"), str)]
    return sorted(arms, key=lambda arm: -sign * (_number(arm.get("mean")) or 0.0))


def _direction(verdict: Mapping[str, Any]) -> tuple[bool, int]:
    """Whether the means are shares, and 1 where a higher one is better, else -1."""
    if "direction" in verdict:  # the figures are those of a user's own training
        return False, -1 if verdict["direction"] == "minimize" else 1
    metric = METRICS.get(str(verdict.get("metric")), METRICS["accuracy"])
    return metric.is_share, metric.sign


def _marked(name: str, is_chosen: bool) -> str:
    return ("* " if is_chosen else "  ") + name


def _axis(value: Any, digits: int | None) -> str:
    number = _number(value)
    if number is None:
        return ""
    return f"{100 * number:.1f}%" if digits is None else f"{number:.{digits}f}"


def _row(
    arm: Mapping[str, Any], is_chosen: bool, comparison: Mapping[str, Any], is_share: bool
) -> list[str]:
    ends = [_number(arm.get(key)) for key in ("ci_low", "ci_high")]
    if is_share:  # no accuracy lies beyond these, whatever a t interval of few seeds says
        ends = [None if end is None else min(max(end, 0.0), 1.0) for end in ends]
    low, high = (_value(end, is_share) for end in ends)
    difference = _difference(comparison, is_share)
    return [
        _marked(arm["name"], is_chosen),
        _value(arm.get("mean"), is_share),
        f"{low.removesuffix('%')} to {high}" if low and high else "",
        "(this one)" if is_chosen else str(comparison.get("decision") or ""),
        difference,
    ]


def _difference(comparison: Mapping[str, Any], is_share: bool) -> str:
    numbers = [_number(comparison.get(key)) for key in ("difference", "ci_low", "ci_high")]
    if any(number is None for number in numbers):
        return ""
    scale, digits = (100.0, 1) if is_share else (1.0, 3)
    mean, low, high = (f"{scale * (n or 0.0):+.{digits}f}" for n in numbers)
    return f"{mean} [{low}, {high}]"


def _value(value: Any, is_share: bool) -> str:
    number = _number(value)
    if number is None:
        return ""
    return f"{100 * number:.1f}%" if is_share else f"{number:.4g}"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
