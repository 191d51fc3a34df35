"""Claim: both engines keep their workers busy, and a long search stays small.

Real searches (staged sampler, fsynced ledger) with an objective that sleeps, as bench_overhead.py
measures them:

- two workers against one on trainings of 2 s, at least 1.8 times the trials;
- what a trial costs beside its training: below 50 ms in local processes, below 150 ms in Ray Tune;
- a suggestion of TPE after 3,000 trials: below 100 ms;
- memory over 10,000 trials: of a worker, and of the process that searches, which keeps them all.

    python benchmarks/bench_engines.py           # 6 minutes
    python benchmarks/bench_engines.py --memory  # that part alone, put beside the others
    python benchmarks/bench_engines.py --quick   # tests the script, claims nothing
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench_overhead import Sleeping, measure
from bench_simulated import N_REPLICATES, Lasting
from machine import machine

from policysearch.baselines import baseline_policies
from policysearch.config import make_config
from policysearch.engines.base import Engine
from policysearch.engines.local import LocalEngine
from policysearch.engines.ray_engine import RayEngine, RaySettings
from policysearch.engines.simulated import SimulatedEngine
from policysearch.objectives.base import Objective
from policysearch.run import Run, StopRequest, now, versions
from policysearch.samplers.optuna_backed import OptunaSampler
from policysearch.search_loop import SearchLoop
from policysearch.space_yaml import load_space
from policysearch.trial import Outcome, Replicate, Task, Trial

RESULTS = Path(__file__).parent / "results"
SPACE = load_space("image/opwise").restricted_to(3)


class Watched:
    """A training that takes no time and tells the memory of its process."""

    def evaluate(self, task: Task) -> Outcome:
        """Scores by the policy; a metric is the resident memory in MiB."""
        score = int(task.policy.digest(), 16) % 1000 / 1000
        return Outcome("complete", score, ({"score": score, "mib": resident_mib()},), 0.0)


def resident_mib() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def search(engine: Engine, n_trials: int, progress: Any = None) -> list[Trial]:
    """A search with random suggestions."""
    config = make_config({"data": "digits", "trials": n_trials, "sampler": "random"})
    with (
        tempfile.TemporaryDirectory() as folder,
        Run(Path(folder), config, {"seed": 0}) as run,
        StopRequest(_silent) as stop,
    ):
        replicates = tuple(Replicate(fold, 0) for fold in range(N_REPLICATES))
        clock = getattr(engine, "now", time.monotonic)
        warm = baseline_policies(SPACE, 8)
        loop = SearchLoop(run, SPACE, warm, replicates, 1, n_trials, clock)
        return loop.run(engine, stop, progress or _silent, None)


def suggestion(n_trials: int, n_asked: int) -> dict[str, Any]:
    """Time of a suggestion of TPE when so many trials are known."""
    trials = search(SimulatedEngine(Lasting(60.0), 10), n_trials + n_asked)
    sampler = OptunaSampler(SPACE, 0, "tpe")
    sampler.suggest(n_trials, trials[:n_trials])  # takes the history in
    seconds = []
    for n in range(n_trials + 1, n_trials + n_asked):
        history = trials[:n]
        started = time.perf_counter()
        sampler.suggest(n, history)
        seconds.append(time.perf_counter() - started)
    return {
        "trials": n_trials,
        "dimensions": len(SPACE.parameters()),
        "median_ms": round(1000 * statistics.median(seconds), 1),
        "max_ms": round(1000 * max(seconds), 1),
    }


def memory(n_trials: int) -> dict[str, Any]:
    """Memory of the search and of its workers after a tenth of the trials and after all."""
    driver: list[float] = []

    def progress(event: Mapping[str, Any]) -> None:
        if event.get("event") == "trial":
            driver.append(resident_mib())

    with LocalEngine(Watched(), 2) as engine:
        trials = search(engine, n_trials, progress)
    worker = [trial.outcome.metrics[0]["mib"] for trial in trials]
    early = n_trials // 10
    return {
        "trials": n_trials,
        "worker_mib": [round(worker[early], 1), round(worker[-1], 1)],
        "driver_mib": [round(driver[early], 1), round(driver[-1], 1)],
        "driver_kib_per_trial": round(1024 * (driver[-1] - driver[early]) / (n_trials - early), 1),
    }


def in_ray(objective: Objective, n_workers: int) -> Engine:
    """Ray Tune on a private cluster."""
    return RayEngine(objective, RaySettings(n_workers))


def _silent(event: Mapping[str, Any]) -> None:
    del event


def main() -> None:
    """Measures, writes the JSON, prints a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few short trials, no file, no Ray")
    parser.add_argument("--out", type=Path, default=RESULTS / "engines.json")
    parser.add_argument("--memory", action="store_true", help="only memory; the rest stays")
    words = parser.parse_args()
    result: dict[str, Any]
    if words.memory:
        result = json.loads(words.out.read_text()) | {"memory": memory(10_000) | {"at": now()}}
        words.out.write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result["memory"]))
        return
    n, seconds = (4, 0.2) if words.quick else (20, 2.0)
    one, two = (measure(Sleeping(seconds), n, workers) for workers in (1, 2))
    result = {
        "claim": "2 workers >= 1.8 x 1; overhead < 50 ms local, < 150 ms Ray; suggestion < 100 ms",
        "one_worker": one,
        "two_workers": two,
        "scaling": round(one["wall_seconds"] / two["wall_seconds"], 3),
        "suggestion": suggestion(*((60, 5) if words.quick else (3000, 40))),
        "memory": memory(50 if words.quick else 10_000),
    }
    if words.quick:
        print(f"two workers: {result['scaling']:.2f} x one")
        return
    result["ray"] = measure(Sleeping(seconds), n, 2, in_ray)
    result["holds"] = {
        "scaling": result["scaling"] >= 1.8,
        "local": two["overhead_ms_per_trial"] < 50,
        "ray": result["ray"]["overhead_ms_per_trial"] < 150,
        "suggestion": result["suggestion"]["median_ms"] < 100,
    }
    result |= {
        "command": " ".join(["python", "benchmarks/bench_engines.py", *sys.argv[1:]]),
        "versions": versions(),
        "machine": machine(),
        "at": now(),
    }
    words.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("scaling", "holds", "memory")}))


if __name__ == "__main__":
    import bench_engines  # workers cannot load an objective from `__main__`

    bench_engines.main()
