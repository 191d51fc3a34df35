"""What a person sees while a run goes on: a live bar on a terminal, plain lines in a pipe.

A run tells its steps as mappings with the key `event`; the classes here turn them into talk on
stderr. `--json` writes the same mappings to stdout, one a line, for machines.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from policysearch.cli.output import escaped_line, say_wrapped
from policysearch.run import Progress

_RUNGS = {
    "baselines": "Head-room: the search-free policies, with several seeds",
    "search": "Search: training one policy after another",
    "confirm": "Confirmation: the best few, with fresh seeds",
    "verdict": "Verdict: all arms side by side, with paired seeds",
}
_PLAIN_EVERY_SECONDS = 10.0


@contextlib.contextmanager
def progress_for(*, is_json: bool, is_quiet: bool) -> Iterator[Progress]:
    """The progress that suits the options and the terminal."""
    if is_json:
        yield _write_json
    elif is_quiet:
        yield _ignore
    elif sys.stderr.isatty():
        with LiveProgress() as live:
            yield live
    else:
        yield PlainProgress()


@contextlib.contextmanager
def with_scalars(run: Path, progress: Progress) -> Iterator[Progress]:
    """The progress, and TensorBoard's scalars of the run brought up to date at every step."""
    from policysearch.exporters.tensorboard import TensorboardScalars

    with TensorboardScalars(run) as scalars:

        def telling(event: Mapping[str, Any]) -> None:
            progress(event)
            if event["event"] in {"rung", "trial", "task"}:  # the run has a directory by now
                scalars.update()

        yield telling


def _write_json(event: Mapping[str, Any]) -> None:
    click.echo(json.dumps(event, allow_nan=False))


def _ignore(event: Mapping[str, Any]) -> None:
    del event


def _talk(event: Mapping[str, Any]) -> list[str]:
    """What is said of an event in every kind of progress; empty for most."""
    kind = event["event"]
    if kind == "data":
        return [f"Data: {event['text']}.", *(f"Note: {n}" for n in event["notices"])]
    if kind == "left_out":
        return [f"Note: {event['text']}"]
    if kind in {"training", "generator"}:
        told = f"{kind.capitalize()}: {event['text'].rstrip('.')}."
        return [told, *(f"Note: {n}" for n in event.get("notices", ()))]
    if kind == "plan":
        return _plan_lines(event)
    if kind == "headroom":
        hint = " (--search-anyway searches all the same.)" if event["is_last"] else ""
        return [event["sentence"] + hint]
    if kind == "selected":
        return [_selected_line(event)]
    if kind == "stopping":
        return ["Stopping when the running trainings end; Ctrl-C again stops at once."]
    if kind in {"trial", "task"} and event.get("state") == "failed":
        what = f"Trial {event['number']}" if kind == "trial" else f"Training '{event['key']}'"
        lines = str(event["message"]).strip().splitlines() or ["no reason given"]
        # A traceback ends with what went wrong; other messages begin with it.
        return [f"{what} failed: {lines[-1 if lines[0].startswith('Traceback') else 0]}"]
    return []


def _selected_line(event: Mapping[str, Any]) -> str:
    """Which policy will be exported, and why it is not the best where it is not."""

    def named(name: str) -> str:
        if name in ("found", event["origin"]):
            is_merged = str(event["origin"]).startswith("merged")
            return "the best trials merged" if is_merged else f"{event['origin']} of the search"
        return f"the search-free policy '{name}'"

    where = "In the confirmation" if event.get("metric") == "score" else "On validation data"
    chosen = named(event["chosen"])
    if "best" not in event:
        return f"{where} the best is {chosen}: it will be exported."
    return (
        f"{where} the best is {named(event['best'])}; {chosen} is simpler or cheaper and within "
        "noise of it, and will be exported."
    )


def _plan_lines(event: Mapping[str, Any]) -> list[str]:
    lines = []
    if event["seconds"]:
        parts = [f"{rung} {duration(s)}" for rung, s in event["seconds"].items()]
        total = duration(sum(event["seconds"].values()))
        lines.append(f"Estimated time: about {total} ({', '.join(parts)}).")
    return lines + [f"Note: {text}" for text in event["advice"]]


class PlainProgress:
    """A line when something new is known, at most one every ten seconds otherwise.

    Args:
      tell: Writes a line; by default to stderr.
    """

    def __init__(self, tell: Callable[[str], None] = say_wrapped) -> None:
        self._tell = tell
        self._of = 0
        self._started = 0.0
        self._last = 0.0
        self._best: int | None = None
        self._done_before: int | None = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Tells one step."""
        for text in _talk(event):
            self._tell(text)
        if event["event"] == "rung":
            self._of, self._started, self._last = event["of"], time.monotonic(), 0.0
            self._done_before = None
            self._tell(f"{_RUNGS[event['name']]} ({event['of']})")
        elif event["event"] in {"trial", "task"}:
            self._tell_step(event)

    def _tell_step(self, event: Mapping[str, Any]) -> None:
        is_better = event.get("best_number") != self._best
        is_due = time.monotonic() - self._last > _PLAIN_EVERY_SECONDS or event["done"] == self._of
        if self._done_before is None:  # the first one includes the start of the workers
            self._done_before, self._started = event["done"], time.monotonic()
        if not is_due and not (is_better and event["event"] == "trial"):
            return
        self._last = time.monotonic()
        self._best = event.get("best_number")
        self._tell(f"  {event['done']}/{self._of}{_best_text(event)}{self._left(event['done'])}")

    def _left(self, done: int) -> str:
        fresh = done - (self._done_before if self._done_before is not None else done)
        if fresh <= 0 or done >= self._of:
            return ""
        seconds = (time.monotonic() - self._started) / fresh * (self._of - done)
        return f", {duration(seconds)} left"


class LiveProgress:
    """A bar for the rung that runs, with the time left and the best so far."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[best]}", markup=False),
            console=Console(stderr=True),
        )
        self._task: Any = None

    def __enter__(self) -> LiveProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Tells one step."""
        for text in _talk(event):
            self._bars.console.print(escaped_line(text), markup=False, highlight=False)
        if event["event"] == "rung":
            self._task = self._bars.add_task(event["name"], total=event["of"], best="")
        elif event["event"] in {"trial", "task"}:
            best = _best_text(event).removeprefix(", ")
            self._bars.update(self._task, completed=event["done"], best=best)


def _best_text(event: Mapping[str, Any]) -> str:
    if event.get("best_score") is None:
        return ""
    return (
        f", best {event['best_score']:.4f} "
        f"(trial {event['best_number']}, {escaped_line(event['best_origin'])})"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Examples:
      >>> duration(75), duration(4000)
      ('1 min 15 s', '1 h 6 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
