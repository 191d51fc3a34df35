"""A run seen from outside while it goes on: its ledger as the events of its own progress."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from policysearch.errors import RunError
from policysearch.files import parse_json, read_text
from policysearch.ledger import LedgerReader, owner_of, trial_key
from policysearch.measures import Scale

_POLL_SECONDS = 0.5


def follow(run: Path, poll_seconds: float = _POLL_SECONDS) -> Iterator[list[dict[str, Any]]]:
    """Yields what happens in a run, as its progress tells it, until it has ended.

    What is in the ledger already comes as the first list; the last event is `finished`. Nothing
    is written, and nobody is kept from the ledger.

    Raises:
      RunError: When nobody works on the run any more and it has no verdict.
      FormatError: When the ledger is damaged.
    """
    ledger = run / "ledger.jsonl"
    reader, events = LedgerReader(ledger), RunEvents()
    while True:
        is_owned = owner_of(ledger) is not None
        yield [event for record in reader.read() for event in events.of(record)]
        if not is_owned:  # and was not before the last look: nothing more will come
            yield [_finished(run)]
            return
        time.sleep(poll_seconds)


def _finished(run: Path) -> dict[str, Any]:
    path = run / "verdict.json"
    if not path.exists():
        raise RunError(
            f"Nobody works on the run '{run}', and it is not finished: it was interrupted or "
            f"killed. Everything finished is kept. Go on: policysearch resume {run}"
        )
    verdict = parse_json(read_text(path, "verdict"), f"verdict '{path}'")
    return {"event": "finished", "out": str(run), "verdict": verdict}


class RunEvents:
    """Turns the records of a ledger, in their order, into the events of progress."""

    def __init__(self) -> None:
        self._done: dict[str, set[str]] = {}
        self._sizes: dict[str, int] = {}
        self._n_trials = 0
        self._best: Mapping[str, Any] | None = None
        self._scale = Scale()

    def of(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Events that a record stands for."""
        kind = record.get("event")
        if kind is None:
            self._n_trials = record.get("trials", 0)
            self._scale = Scale.of_header(record)
        elif kind == "rung":
            return self._begin(record["name"], record["of"])
        elif kind == "void":
            for keys in self._done.values():
                keys.difference_update(record["keys"])
        elif kind == "trial":
            return self._trial(record)
        elif kind == "task":
            key = str(record["key"])
            rung = key.partition("/")[0]
            begun, done = self._step(rung, key)
            event = {
                "event": "task",
                "key": key,
                "done": done,
                "of": self._sizes[rung],
                "state": record["state"],
                "message": record.get("message", ""),
            }
            return [*begun, event]
        return []

    def _begin(self, name: str, n: int) -> list[dict[str, Any]]:
        self._sizes[name] = n
        self._done.setdefault(name, set())
        return [{"event": "rung", "name": name, "of": n}]

    def _step(self, rung: str, key: str) -> tuple[list[dict[str, Any]], int]:
        """The begin of the rung, where older ledgers do not tell it, and how much is done."""
        begun = [] if rung in self._done else self._begin(rung, self._n_trials)
        self._done[rung].add(key)
        return begun, len(self._done[rung])

    def _trial(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        begun, done = self._step("search", trial_key(record["number"]))
        is_complete = record["state"] == "complete"
        if is_complete and (self._best is None or record["score"] < self._best["score"]):
            self._best = record
        best = self._best or {}
        event = {
            "event": "trial",
            "number": record["number"],
            "origin": record["origin"],
            "state": record["state"],
            "score": self._told(record.get("score")),
            "seconds": record.get("seconds", 0.0),
            "message": record.get("message", ""),
            "done": done,
            "best_number": best.get("number"),
            "best_score": self._told(best.get("score")),
            "best_origin": best.get("origin"),
        }
        return [*begun, event]

    def _told(self, score: float | None) -> float | None:
        return None if score is None else self._scale.value_of(score)
