"""The Python entry: the same search and comparison as the command line, as functions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policysearch import comparison, study
from policysearch.config import make_config
from policysearch.policy import Policy
from policysearch.policy_json import read_policy_file
from policysearch.run import Progress, free_directory


@dataclass(frozen=True, repr=False)
class SearchResult:
    """What a search found.

    Attributes:
      policy: The exported policy; `PolicyTransform(policy)` applies it.
      verdict: Content of `verdict.json`.
      path: The run directory.
    """

    policy: Policy
    verdict: Mapping[str, Any]
    path: Path

    def __repr__(self) -> str:
        return f"SearchResult({str(self.path)!r}: {self.verdict['sentence']})"


def search(
    data: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> SearchResult:
    """Finds an augmentation policy for a dataset.

    Args:
      data: `digits`, a folder of images by class, an `.npz` file, or `package.module:function`.
      out: Run directory: new or empty, or an interrupted run, which is then continued as it was
        started. `None` takes the next free `runs/NAME-1`, `runs/NAME-2`, ...
      progress: Told of every step as a mapping with the key `event`.
      **settings: Fields of `policysearch.config.SearchConfig`, such as `trials=200`, `seed=1`,
        `train_size=1000`, `budget_seconds=600`, `workers=2`.

    Raises:
      PolicySearchError: For wrong input (before anything is written), or a run that cannot go on.

    Examples:
      >>> import policysearch
      >>> result = policysearch.search("digits", out="run", train_size=100)  # doctest: +SKIP
      >>> result.verdict["sentence"]  # doctest: +SKIP
    """
    path = free_directory(os.fspath(data), "") if out is None else Path(out)
    told = progress or _silent
    if (path / "ledger.jsonl").exists():
        verdict = study.resume(path, told)
    else:
        config = make_config({"data": os.fspath(data), **settings})
        verdict = study.search(config, path, told)
    return SearchResult(read_policy_file(path / "policy.json").policy, verdict, path)


def compare(
    data: str | os.PathLike[str],
    policies: Sequence[str],
    *,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Compares policies on a dataset; the first with each other one. Returns the verdict.

    Args:
      data: See `search`.
      policies: Files, run directories or names such as `trivialaugment-wide`.
      out: Directory of the result, new or empty; `None` takes a free one under `runs/`.
      progress: See `search`.
      **settings: See `search`.
    """
    config = make_config({"data": os.fspath(data), "policies": tuple(policies), **settings})
    path = free_directory(config.data, "compare-") if out is None else Path(out)
    return comparison.compare(config, path, progress or _silent)


def _silent(event: Mapping[str, Any]) -> None:
    del event
