"""Claim: one command takes labelled images to a policy and an honest verdict.

Runs `policysearch search` as a user would, once per draw of the training subset, and collects what
it wrote: raw scores per arm and seed, seconds by rung, trials, peak memory of all processes
together. The mean difference to an arm is taken per draw; its interval is the t interval over
draws. The seeds are 1, 2, 3, ...: none was chosen for its result.

    python benchmarks/bench_end_to_end.py digits                       # 5 draws of 100 images
    python benchmarks/bench_end_to_end.py fashion --data fashion_mnist.npz
    python benchmarks/bench_end_to_end.py cifar10 --data cifar10/
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

from policysearch.estimates import t_interval
from policysearch.run import now, versions

RESULTS = Path(__file__).parent / "results"

#: Options of the search; only the data differ.
CASES: dict[str, dict[str, Any]] = {
    "digits": {"data": "digits", "draws": 5, "options": ["--train-size", "100"], "seeds": 10},
    "fashion": {"data": None, "draws": 1, "options": ["--train-size", "1000"], "seeds": 5},
    "cifar10": {"data": None, "draws": 1, "options": ["--train-size", "4000"], "seeds": 5},
}


class MemoryWatch(threading.Thread):
    """Samples the proportional set size of a process and all its descendants."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self.peak_mib = 0.0
        self.is_over = False

    def run(self) -> None:
        """Samples once a second until `is_over`."""
        while not self.is_over:
            self.peak_mib = max(self.peak_mib, sum(map(_pss_mib, _family(self._root))))
            time.sleep(1.0)


def _family(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(text.rsplit(")", 1)[1].split()[1])
    family, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sorted(family)


def _pss_mib(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def one_search(data: str, options: list[str], seed: int, out: Path) -> dict[str, Any]:
    """Runs the command and reads back what it wrote."""
    words = ["search", data, *options, "--seed", str(seed), "--out", str(out), "-q"]
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "policysearch", *words], stdout=subprocess.PIPE, text=True
    )
    watch = MemoryWatch(process.pid)
    watch.start()
    process.communicate()
    watch.is_over = True
    if process.returncode:
        raise SystemExit(f"the search failed with code {process.returncode}")
    verdict = json.loads((out / "verdict.json").read_text())
    provenance = json.loads((out / "policy.json").read_text())["provenance"]
    return {
        "seed": seed,
        "wall_seconds": round(time.monotonic() - started, 1),
        "peak_mib": round(watch.peak_mib),
        "trials": provenance["trials"],
        "seconds_by_rung": provenance["seconds"],
        "chosen": verdict["chosen"],
        "decision": verdict["decision"],
        "sentence": verdict["sentence"],
        "validation": verdict["validation"],
        "scores": {arm["name"]: arm["scores"] for arm in verdict["arms"]},
    }


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
            "ci_low": round(low, 3),
            "ci_high": round(high, 3),
        }
    return {
        "unit": "draws" if len(runs) > 1 else "seeds",
        "mean": {name: round(float(np.mean(v)), 3) for name, v in means.items()},
        "found_minus": against,
    }


def _range(n: int) -> str:
    return "1" if n == 1 else f"1..{n}"


def main() -> None:
    """Runs one case and writes `results/end_to_end_<case>.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--data", help="path of the dataset (not needed for digits)")
    parser.add_argument("--draws", type=int)
    parser.add_argument("--quick", action="store_true", help="seconds; writes no result")
    parser.epilog = "Options of the search may follow after --"
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    words, further = parser.parse_args(given[:cut]), given[cut + 1 :]
    case = CASES[words.case]
    data = case["data"] or words.data or parser.error("--data is needed")
    options = [*case["options"], "--verdict-seeds", str(case["seeds"]), *further]
    n_draws = words.draws or case["draws"]
    if words.quick:
        options = ["--train-size", "60", "--trials", "10", "--epochs", "3", "--candidates", "2"]
        options += ["--confirm-seeds", "1", "--verdict-seeds", "2", "--search-anyway"]
        n_draws = 2
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for draw in range(1, n_draws + 1):
            runs.append(one_search(data, options, draw, Path(folder) / str(draw)))
            print(f"draw {draw}: {runs[-1]['sentence']}", flush=True)
    shown = data if words.case == "digits" else Path(data).name
    result = {
        "claim": "one command from images to a policy with a verdict",
        "command": f"policysearch search {shown} {' '.join(options)} --seed {_range(n_draws)}",
        "date": now(),
        "machine": machine(),
        "versions": versions(),
        "summary": summary(runs),
        "runs": runs,
    }
    print(json.dumps(result["summary"], indent=1))
    if not words.quick:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"end_to_end_{words.case}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
