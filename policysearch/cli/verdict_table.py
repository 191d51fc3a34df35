"""The tables of a verdict: the metric of every arm, and what was measured beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def emit_verdict(verdict: Mapping[str, Any], mark: str) -> None:
    """Writes the arms, best first, and the second axes where there are any.

    Args:
      verdict: Content of `verdict.json`, or whatever a policy file holds in its place.
      mark: What the star stands for.
    """
    from policysearch.cli.output import emit, emit_paragraph, emit_table, escaped_line
    from policysearch.report.verdict_rows import (
        RIGHT,
        TITLES,
        axes_rows,
        class_rows,
        corruptions_of,
        front_rows,
        rung_words,
        verdict_rows,
    )

    if not (rows := verdict_rows(verdict)):
        return
    emit_table(TITLES, rows, right=RIGHT)
    emit(f"* {mark}")
    if len(rows) > 2:
        emit_paragraph(
            "verdict: with Holm's correction over all arms; difference: interval of each alone"
        )
    titles, rows = axes_rows(verdict)
    if rows:
        emit()
        emit_table(titles, rows, right=range(1, len(titles)))
    if names := corruptions_of(verdict):
        emit_paragraph(
            f"corrupted: mean accuracy under {', '.join(names)}; no arm trains on these"
        )
    if words := rung_words(verdict):
        emit_paragraph(escaped_line(words))
    titles, rows = class_rows(verdict)
    if rows:
        emit()
        emit_table(titles, [[escaped_line(cell) for cell in row] for row in rows], right=(1, 2))
    if rows := front_rows(verdict):
        emit()
        emit_paragraph("None of these policies is both better (validation) and cheaper:")
        shown = [[escaped_line(cell) for cell in row] for row in rows]
        emit_table(["  policy", "score", "us a sample", "file"], shown, right=(1, 2), indent=2)
