"""The Python entry: the same search and comparison as the command line, as functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policysearch import comparison, study
from policysearch.config import make_config
from policysearch.errors import InvalidValueError
from policysearch.policy import Policy
from policysearch.policy_json import read_policy_file
from policysearch.run import Progress, free_directory
from policysearch.user_code import is_importing, name_of


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


#: What a search is about: data, or a training of the user's own.
Subject = str | os.PathLike[str] | Callable[..., Any]


def search(
    data: Subject = "",
    *,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> SearchResult:
    """Finds an augmentation policy for a dataset.

    Args:
      data: `digits`, a folder of images by class, an `.npz` file, or `package.module:function`.
        With `objective="function"` the training: a function of a module or script, or its name;
        with `objective="command"` nothing.
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
    name = _name(data)
    path = free_directory(name or "command", "") if out is None else Path(out)
    told = progress or _silent
    if (path / "ledger.jsonl").exists():
        verdict = study.resume(path, told)
    else:
        config = make_config({"data": name, **settings})
        verdict = study.search(config, path, told)
    return SearchResult(read_policy_file(path / "policy.json").policy, verdict, path)


def compare(
    data: Subject,
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
    config = make_config({"data": _name(data), "policies": tuple(policies), **settings})
    path = free_directory(config.data or "command", "compare-") if out is None else Path(out)
    return comparison.compare(config, path, progress or _silent)


def _name(data: Subject) -> str:
    """The name of what a search is about; the same in every process."""
    if is_importing():
        raise InvalidValueError(
            "A search was started while the file of its training is imported by a worker. Put the "
            'call under `if __name__ == "__main__":`.'
        )
    return name_of(data) if callable(data) else os.fspath(data)


def _silent(event: Mapping[str, Any]) -> None:
    del event
