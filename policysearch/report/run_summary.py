"""What a run directory holds, in figures: trials by state and the best of them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policysearch.ledger import read_ledger, valid_records
from policysearch.measures import Direction, Scale

LEDGER = "ledger.jsonl"
POLICY = "policy.json"


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A finished trial.

    Attributes:
      score: As the search compares: lower is better.
      value: As it is told; another number where the training is the user's own.
    """

    number: int
    score: float
    value: float
    origin: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Trials of a run.

    Attributes:
      counts: Trials by state, such as `{"complete": 96, "pruned": 4}`.
      best: Best complete trials, the best first.
      direction: Of their values.
    """

    counts: dict[str, int]
    best: tuple[TrialRow, ...]
    direction: Direction = "minimize"

    @property
    def n_trials(self) -> int:
        """Trials that came to an end."""
        return sum(self.counts.values())


def is_run(path: Path) -> bool:
    """Whether a path is a run directory: one with a ledger."""
    return (path / LEDGER).is_file()


def summarize_run(path: Path, n_best: int = 5) -> RunSummary:
    """Reads the ledger of a run, also of one that is going on.

    Raises:
      FormatError: When the ledger is damaged or not ours.
    """
    counts: Counter[str] = Counter()
    trials = []
    records = read_ledger(path / LEDGER)
    scale = Scale.of_header(records[0] if records else {})
    for record in valid_records(records, "trial"):
        state = str(record.get("state", "unknown"))
        counts[state] += 1
        if state == "complete" and _is_score(record.get("score")):
            origin = str(record.get("origin", ""))
            number, score = int(record.get("number", -1)), float(record["score"])
            trials.append(TrialRow(number, score, scale.value_of(score), origin))
    trials.sort(key=lambda trial: (trial.score, trial.number))
    return RunSummary(dict(counts.most_common()), tuple(trials[:n_best]), scale.direction)


def _is_score(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
