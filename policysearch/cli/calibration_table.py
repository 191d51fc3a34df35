"""The table of what a run found out about single operations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_calibration(run: Path) -> dict[str, Any]:
    """What the verdict of a run says of single operations; empty where there is none yet.

    Networks that learned nothing have nothing to say.

    Raises:
      FormatError: When its verdict is damaged.
    """
    from policysearch.files import parse_json, read_text

    path = run / "verdict.json"
    if not path.is_file():
        return {}
    verdict = parse_json(read_text(path, "verdict"), f"verdict '{path}'")
    if not isinstance(verdict, dict):
        return {}
    found, room = verdict.get("calibration"), verdict.get("headroom")
    if isinstance(room, dict) and room.get("learns") is False:
        return {}
    return found if isinstance(found, dict) else {}


def emit_calibration(calibration: Mapping[str, Any]) -> None:
    """Writes a line per operation; nothing where nothing is known."""
    from policysearch.cli.output import emit, emit_paragraph, emit_table
    from policysearch.report.calibration_rows import RIGHT, TITLES, calibration_rows

    if not (rows := calibration_rows(calibration)):
        return
    emit()
    emit_paragraph(
        "What networks trained without augmentation bear: accuracy left at a quarter, a half, "
        "three quarters and all of the range"
    )
    emit_table(TITLES, rows, right=RIGHT, indent=2)
