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
    arms = [arm for arm in _items(verdict.get("arms")) if isinstance(arm.get("name"), str)]
    against = {str(c.get("other")): c for c in _items(verdict.get("comparisons"))}
    chosen = verdict.get("chosen")
    metric = METRICS.get(str(verdict.get("metric")), METRICS["accuracy"])
    is_share, sign = metric.is_share, metric.sign
    if "direction" in verdict:  # the figures are those of a user's own training
        is_share, sign = False, -1 if verdict["direction"] == "minimize" else 1
    arms.sort(key=lambda arm: -sign * (_number(arm.get("mean")) or 0.0))
    return [
        _row(arm, arm["name"] == chosen, against.get(arm["name"], {}), is_share) for arm in arms
    ]


def _row(
    arm: Mapping[str, Any], is_chosen: bool, comparison: Mapping[str, Any], is_share: bool
) -> list[str]:
    low, high = (_value(arm.get(key), is_share) for key in ("ci_low", "ci_high"))
    difference = _difference(comparison, is_share)
    return [
        ("* " if is_chosen else "  ") + arm["name"],
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
