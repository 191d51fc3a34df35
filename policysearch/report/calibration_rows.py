"""What networks bear of each operation as a table, from the `calibration` of a `verdict.json`.

A file is outside data: what is missing or of the wrong kind stays blank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Parts of a range that are shown, by the level of a reading.
LEVELS = {0.25: "1/4", 0.5: "1/2", 0.75: "3/4", 1.0: "all"}
TITLES = ("op", "range", *LEVELS.values(), "takes most from")
RIGHT = (2, 3, 4, 5)
#: Classes that are named for an operation, the most harmed first.
_MAX_NAMED = 3


def calibration_rows(calibration: Mapping[str, Any]) -> list[list[str]]:
    """One row per operation: accuracy left at a quarter to all of its range; the worst first.

    The last column names the classes that lose more than the others, at the weakest level where
    that shows.
    """
    ops = calibration.get("ops")
    if not isinstance(ops, Mapping):
        return []
    rows = []
    for op, told in ops.items():
        readings = told.get("readings") if isinstance(told, Mapping) else None
        if not isinstance(readings, list) or not all(isinstance(r, Mapping) for r in readings):
            continue
        kept = {r.get("level"): r.get("kept") for r in readings if _is_number(r.get("kept"))}
        if not kept:
            continue
        cells = [_percent(kept.get(level)) for level in LEVELS]
        rows.append((min(kept.values()), [op, _range(told), *cells, _harmed(readings)]))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _range(told: Mapping[str, Any]) -> str:
    readings = told["readings"]
    last = readings[-1].get("magnitude") if readings else None
    if not _is_number(last):
        return ""
    unit = told.get("unit")
    return f"{last:g} {unit}" if isinstance(unit, str) else f"{last:g}"


def _harmed(readings: list[Mapping[str, Any]]) -> str:
    for reading in readings:
        harmed = reading.get("harmed")
        if isinstance(harmed, Mapping) and harmed:
            shares = {k: v for k, v in harmed.items() if _is_number(v)}
            names = sorted(shares, key=lambda name: shares[name])
            more = ", ..." if len(names) > _MAX_NAMED else ""
            shown = ", ".join(map(str, names[:_MAX_NAMED])) + more
            level = LEVELS.get(reading.get("level", 0), "")
            return shown if level == "all" or not level else f"{shown} (from {level} on)"
    return ""


def _percent(value: Any) -> str:
    return f"{100 * value:.0f}%" if _is_number(value) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
