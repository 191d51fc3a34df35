"""`policysearch show RUN --follow`: a run as it goes on, in another terminal or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policysearch.cli.output import emit, say
from policysearch.cli.progress import PlainProgress, progress_for
from policysearch.cli.search import tell_result
from policysearch.ledger import owner_of
from policysearch.report.follow import follow
from policysearch.run import Progress


def follow_run(run: Path, *, is_json: bool) -> None:
    """Tells the progress of a run until it ends, then its result.

    Raises:
      RunError: When nobody works on the run any more and it has no verdict.
    """
    owner = owner_of(run / "ledger.jsonl")
    if owner is not None:
        say(f"The run '{run}' is owned by {owner}. Ctrl-C ends the looking on, not the run.")
    if is_json or (sys.stdout.isatty() and sys.stderr.isatty()):
        with progress_for(is_json=is_json, is_quiet=False) as progress:
            verdict = _tell(run, progress, is_json=is_json)
    else:
        verdict = _tell(run, PlainProgress(emit), is_json=False)
    if not is_json:
        tell_result(verdict, run, is_quiet=False)


def _tell(run: Path, progress: Progress, *, is_json: bool) -> dict[str, Any]:
    """Tells all events; returns the verdict that the last one holds."""
    verdict: dict[str, Any] = {}
    for i, events in enumerate(follow(run)):
        for event in events if i or is_json else _latest(events):
            progress(event)
            verdict = event.get("verdict", verdict)
    return verdict


def _latest(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What stands, of what happened before: the rungs and the last step of each."""
    following = [*(event["event"] for event in events[1:]), "rung"]
    return [
        event
        for event, after in zip(events, following, strict=True)
        if event["event"] == "rung" or after == "rung"
    ]
