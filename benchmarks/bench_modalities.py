"""Claim: for every kind of data, the found policy is no worse than none and the field's usual one.

Runs `policysearch search` as a user would, once for every dataset with seed 1, and keeps what it
wrote: the scores of every arm on ten paired seeds, what the exported arm is against the others,
seconds by rung. The search goes on where no head-room is found (`--search-anyway`); the result
says so. Finished datasets are kept in the result file and not run again.

    python benchmarks/bench_modalities.py --data FOLDER               # all that are missing
    python benchmarks/bench_modalities.py --data FOLDER arrowhead     # this one

FOLDER holds `text/sst2`, `text/cr` (CSV), `fsdd` (WAV by digit), `timeseries/ArrowHead` and
`timeseries/ItalyPowerDemand` (`.ts`); wine and breast_cancer come with scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bench_search import RESULTS, one_search, summary
from machine import machine

from policysearch.run import now, versions

RESULT = RESULTS / "modalities.json"
COMMON = ("--trials", "24", "--candidates", "6", "--verdict-seeds", "10", "--search-anyway")

#: Where the data lie below FOLDER, unless they are built in, and options of the search.
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "wine": ("", ("--train-size", "50")),
    "breast_cancer": ("", ("--train-size", "50")),
    "italypowerdemand": ("timeseries/ItalyPowerDemand", ()),
    "arrowhead": ("timeseries/ArrowHead", ()),
    "cr": ("text/cr", ("--train-size", "500")),
    "sst2": ("text/sst2", ("--train-size", "500")),
    "fsdd": ("fsdd", ("--train-size", "100", "--group-pattern", "_([a-z]+)_")),
}


def run_case(
    name: str, folder: Path, further: tuple[str, ...] = (), runs: Path | None = None
) -> dict[str, Any]:
    """One search; what it wrote, with the found policy against every arm over paired seeds.

    A run that is kept in `runs` is gone on with.
    """
    place, options = CASES[name]
    data = str(folder / place) if place else name
    words = [*options, *COMMON, *further]
    with tempfile.TemporaryDirectory() as gone:
        out = (runs or Path(gone)) / name
        run = one_search(data, words, 1, out)
        verdict = json.loads((out / "verdict.json").read_text())
    shown = f"policysearch search {place or name} {' '.join([*options, *COMMON])} --seed 1"
    return {
        "command": shown,
        "date": now(),
        "machine": machine(),
        "versions": versions(),
        "headroom": verdict.get("headroom"),
        "holds_for": verdict["holds_for"],
        "comparisons": verdict["comparisons"],
        "summary": summary([run]),
        "run": run,
    }


def main() -> None:
    """Runs the datasets that are named, or all that the result file lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}")
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    parser.add_argument("--workers", default="1", help="processes of a search")
    parser.add_argument("--runs", type=Path, help="where runs are kept and gone on with")
    words = parser.parse_args()
    if unknown := set(words.cases) - CASES.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {"cases": {}}
    for name in words.cases or [name for name in CASES if name not in found["cases"]]:
        found["cases"][name] = run_case(name, words.data, ("--workers", words.workers), words.runs)
        print(f"{name}: {found['cases'][name]['run']['sentence']}", flush=True)
        found["claim"] = __doc__.splitlines()[0].removeprefix("Claim: ")
        found["command"] = "python benchmarks/bench_modalities.py --data FOLDER"
        RESULT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
