"""Claim: a search finds policies that help, at a cost below that of checking them.

Runs `policysearch search` as a user would, once per draw of the training images, with the default
settings; all arms are trained by the same proxy network, equally long, with paired seeds. Collects
raw scores per arm and seed, and seconds of computing by rung. The mean difference to an arm is
taken per draw; its interval is the t interval over draws, or over seeds where there is one draw.
The cost is the median over draws: other programs on the machine disturb single ones.
The seeds follow one another: none was chosen for its result. Those of digits begin after the draws
that the search was developed on.

    python benchmarks/bench_search.py digits-100
    python benchmarks/bench_search.py fashion --data fashion_mnist.npz --runs runs/
    python benchmarks/bench_search.py digits-100 --longer 3 --runs runs/   # twice the epochs

Runs that are kept (`--runs`) are gone on with, and draws that the result file holds are not
repeated where their options are the same: delete it to begin anew. What it holds of other options
or draws stays there as `earlier`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

from policysearch.config import read_config
from policysearch.estimates import t_interval
from policysearch.policy_json import PolicyDocument, read_policy_file, write_policy_file
from policysearch.run import now, versions
from policysearch.study import Study

RESULTS = Path(__file__).parent / "results"
#: Search-free arms that are trained for twice as long beside the exported policy.
LONGER = ("none", "trivialaugment", "randaugment", "uniformaugment")


@dataclass(frozen=True)
class Case:
    """A dataset and the options of its search; only the data differ from the defaults.

    Attributes:
      data: As for `search`; `None`: a path that must be given.
      draws: How many, decided before they were run.
      first: Seed of the first.
    """

    data: str | None
    draws: int
    options: tuple[str, ...]
    first: int = 1


CASES = {
    "digits-100": Case("digits", 20, ("--train-size", "100"), first=35),
    "digits-300": Case("digits", 10, ("--train-size", "300"), first=13),
    "fashion": Case(None, 1, ("--train-size", "1000")),
    # On a GPU with the defaults; its processes share it through MPS (docs/gpu.md).
    "cifar10-gpu": Case(None, 3, ("--train-size", "4000", "--device", "cuda", "--workers", "14")),
    # As many epochs as two cores bear in an hour and a half.
    "cifar10": Case(
        None,
        1,
        (
            *("--train-size", "4000", "--verdict-seeds", "10", "--epochs", "20"),
            *("--trials", "12", "--candidates", "4", "--confirm-seeds", "3"),
        ),
    ),
}
QUICK = (
    *("--train-size", "60", "--trials", "10", "--epochs", "3", "--candidates", "2"),
    *("--confirm-seeds", "1", "--verdict-seeds", "2", "--search-anyway"),
)


def one_search(data: str, options: list[str], seed: int, out: Path) -> dict[str, Any]:
    """Runs the command, or goes on with what is in `out`, and reads back what it wrote."""
    started = time.monotonic()
    if not (out / "verdict.json").exists():
        words = ["search", data, *options, "--seed", str(seed), "--out", str(out), "-q"]
        if (out / "ledger.jsonl").exists():
            words = ["resume", str(out), "-q"]
        _policysearch(words)
    verdict = json.loads((out / "verdict.json").read_text())
    provenance = json.loads((out / "policy.json").read_text())["provenance"]
    return {
        "seed": seed,
        "wall_seconds": round(time.monotonic() - started, 1),
        "trials": provenance["trials"],
        "seconds_by_rung": provenance["seconds"],
        "chosen": verdict["chosen"],
        "decision": verdict["decision"],
        "sentence": verdict["sentence"],
        "validation": verdict["validation"],
        "rungs": verdict["rungs"],
        "scores": {arm["name"]: arm["scores"] for arm in verdict["arms"]},
        "comparisons": verdict["comparisons"],
    }


def twice_as_long(data: str, options: tuple[str, ...], run: Path) -> dict[str, Any]:
    """The order of the arms of a run when all are trained for twice the epochs."""
    header = json.loads((run / "ledger.jsonl").read_text().splitlines()[0])
    epochs = 2 * header["epochs"]
    out = run.parent / f"{run.name}-longer"
    if not (out / "verdict.json").exists():
        with tempfile.TemporaryDirectory() as folder:
            names = [str(path) for path in _policies_of(run, Path(folder))]
            size = [*options[options.index("--train-size") :][:2]]
            words = ["compare", data, *names, *size, "--seed", str(header["seed"])]
            _policysearch([*words, "--epochs", str(epochs), "--out", str(out), "-q"])
    arms = json.loads((out / "verdict.json").read_text())["arms"]
    return {"epochs": epochs, "scores": {Path(a["name"]).stem: a["scores"] for a in arms}}


def _policies_of(run: Path, folder: Path) -> list[Path]:
    """The exported policy and the search-free ones as they were trained, as files."""
    study = Study(read_config(run / "config.yaml"), lambda _: None)
    policies = {name: study.baselines[name] for name in LONGER if name in study.baselines}
    policies["exported"] = read_policy_file(run / "policy.json").policy
    files = {name: folder / f"{name}.json" for name in policies}
    for name, path in files.items():
        write_policy_file(path, PolicyDocument(policies[name], name))
    return list(files.values())


def _policysearch(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "policysearch", *words], stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise SystemExit(f"policysearch {words[0]} failed with code {done.returncode}")


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means of the arms, and the found policy against each of them, in points."""
    means = {
        name: [100 * float(np.mean(run["scores"][name])) for run in runs]
        for name in runs[0]["scores"]
    }
    against = {}
    for name, values in means.items():
        if name == "found":
            continue
        if len(runs) > 1:  # over draws
            differences = [a - b for a, b in zip(means["found"], values, strict=True)]
        else:  # over paired seeds of the one draw
            scores = runs[0]["scores"]
            differences = [
                100 * (a - b) for a, b in zip(scores["found"], scores[name], strict=True)
            ]
        low, high = t_interval(differences)
        against[name] = {
            "difference": round(float(np.mean(differences)), 3),
            "median": round(float(np.median(differences)), 3),
            "ci_low": round(low, 3),
            "ci_high": round(high, 3),
        }
    return {
        "unit": "draws" if len(runs) > 1 else "seeds",
        "mean": {name: round(float(np.mean(v)), 3) for name, v in means.items()},
        "found_minus": against,
        "cost": round(float(np.median([_cost(run) for run in runs])), 3),
    }


def _cost(run: dict[str, Any]) -> float:
    """Computing before the final comparison, in final comparisons."""
    seconds = run["seconds_by_rung"]
    return float(sum(s for rung, s in seconds.items() if rung != "verdict") / seconds["verdict"])


def _range(seeds: range) -> str:
    return f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}..{seeds[-1]}"


def measure(words: argparse.Namespace, case: Case, data: str, folder: Path) -> None:
    """Runs a case draw by draw and writes `results/search_<case>.json`."""
    options = QUICK if words.quick else case.options
    n_draws = 2 if words.quick else words.draws or case.draws
    draws = range(case.first, case.first + n_draws)
    path = RESULTS / f"search_{words.case.replace('-', '_')}.json"
    shown = data if case.data else Path(data).name
    command = f"policysearch search {shown} {' '.join(options)} --seed"
    known = json.loads(path.read_text()) if path.exists() and not words.quick else {}
    earlier = known.pop("earlier", [])
    measured = {run["seed"]: run for run in known.get("runs", ())}
    if known and not (known["command"].startswith(command) and case.first in measured):
        earlier.append(known)  # other options, or other draws: of a version before
        known, measured = {}, {}
    runs = []
    for draw in draws:
        kept = None if (folder / str(draw)).exists() else measured.get(draw)
        runs.append(kept or one_search(data, list(options), draw, folder / str(draw)))
        print(f"draw {draw}: {runs[-1]['sentence']}", flush=True)
    result = {
        "claim": "a search finds policies that help, at a cost below that of checking them",
        "command": f"{command} {_range(draws)}",
        "date": now(),
        "machine": machine(),
        "versions": versions(),
        "summary": summary(runs),
        "runs": runs,
    }
    result |= {"longer": known["longer"]} if "longer" in known else {}
    result |= {"earlier": earlier} if earlier else {}
    if words.longer:
        result["longer"] = [
            twice_as_long(data, options, folder / str(draw)) for draw in draws[: words.longer]
        ]
    print(json.dumps(result["summary"], indent=1))
    if not words.quick:
        path.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--data", help="path of the dataset (not needed for digits)")
    parser.add_argument("--draws", type=int)
    parser.add_argument("--runs", type=Path, help="where runs are kept and gone on with")
    parser.add_argument("--longer", type=int, help="draws that are also trained twice as long")
    parser.add_argument("--quick", action="store_true", help="seconds; writes no result")
    words = parser.parse_args()
    case = CASES[words.case]
    data = case.data or words.data or parser.error("--data is needed")
    with tempfile.TemporaryDirectory() as folder:
        measure(words, case, data, (words.runs or Path(folder)) / words.case)


if __name__ == "__main__":
    main()
