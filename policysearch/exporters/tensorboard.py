"""The outcomes of a run as scalars of TensorBoard, written while they arrive.

They are made from the ledger, all of them whenever a run begins or goes on: the folder never holds
half of a run, or a part of it twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from policysearch.errors import MissingDependencyError
from policysearch.ledger import LedgerReader

FOLDER = "tensorboard"
_FLUSH_SECONDS = 5


class TensorboardScalars:
    """Writes `RUN/tensorboard`; hold it open while the run goes on.

    Tags: `search/score`, `search/best`, `search/seconds` and every metric of the objective by
    number of the trial; `confirm/ARM/METRIC` and `verdict/ARM/METRIC` by number of the training.

    Args:
      run: Run directory; it need not be there yet.

    Raises:
      MissingDependencyError: Without the package tensorboard.
    """

    def __init__(self, run: Path) -> None:
        try:
            import tensorboard  # noqa: F401 - what torch's writer needs
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependencyError(
                "`--tensorboard` needs a package more: pip install 'policysearch[tensorboard]'"
            ) from error
        self._make_writer = SummaryWriter
        self._run = run
        self._ledger = LedgerReader(run / "ledger.jsonl")
        self._writer: Any = None
        self._best = float("inf")

    def __enter__(self) -> TensorboardScalars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def update(self) -> None:
        """Writes what is new in the ledger; nothing before there is one."""
        if self._writer is None:
            if not (self._run / "ledger.jsonl").exists():
                return
            shutil.rmtree(self._run / FOLDER, ignore_errors=True)
            self._writer = self._make_writer(str(self._run / FOLDER), flush_secs=_FLUSH_SECONDS)
        for record in self._ledger.read():
            if record.get("event") in {"trial", "task"}:
                self._write(record)

    def _write(self, record: Mapping[str, Any]) -> None:
        at = datetime.fromisoformat(record["at"]).timestamp()
        step, scalars = _scalars(record)
        is_trial = record["event"] == "trial" and record["state"] == "complete"
        if is_trial and record["score"] < self._best:
            self._best = scalars["search/best"] = float(record["score"])
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, step, walltime=at)


def _scalars(record: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """Step and values of an outcome: means over its replicates."""
    if record["event"] == "trial":
        prefix, step = "search", int(record["number"])
        scalars = {f"{prefix}/seconds": float(record["seconds"])}
    else:
        prefix, _, number = str(record["key"]).rpartition("/")
        step, scalars = int(number), {}
    if record["state"] == "complete":
        scalars |= {f"{prefix}/{name}": mean for name, mean in _means(record.get("metrics", []))}
    return step, scalars


def _means(metrics: list[Mapping[str, float]]) -> Iterator[tuple[str, float]]:
    for name in metrics[0] if metrics else ():
        if name != "seconds":
            yield name, sum(m[name] for m in metrics) / len(metrics)
