"""Claim: a trial costs little beside its training: suggesting, ledger, process and data.

Runs trials through the real search loop (staged sampler with TPE, fsynced ledger, local worker
processes) with two objectives of known length: one sleeps (the processor is free, as with a GPU),
one trains the proxy network until the time is over. The overhead is

    (wall seconds * workers - seconds inside objectives) / seconds inside objectives

from the moment all workers are up until the last trial is recorded. The last round of trials,
in which some workers have nothing left to do, is part of it.

    python benchmarks/bench_overhead.py            # 30 trials of 2 s, two workers: 2 minutes
    python benchmarks/bench_overhead.py --quick    # seconds; tests the script, claims nothing
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from policysearch.baselines import baseline_policies
from policysearch.config import make_config, usable_cores
from policysearch.data.digits import load_digits
from policysearch.data.splits import SearchData, make_splits
from policysearch.engines.base import Engine
from policysearch.engines.local import LocalEngine
from policysearch.objectives.base import Objective
from policysearch.policy import Policy
from policysearch.proxies.image import ImageProxy, config_for
from policysearch.run import Run, StopRequest, now, versions
from policysearch.search_loop import SearchLoop
from policysearch.space_yaml import load_space
from policysearch.trial import Outcome, Replicate, Task

RESULTS = Path(__file__).parent / "results"
LIMIT = 0.05


class Sleeping:
    """A training on another device: the processor is free."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def evaluate(self, task: Task) -> Outcome:
        """Sleeps, and scores by the length of the policy."""
        started = time.perf_counter()
        time.sleep(self.seconds)
        return _outcome(task, time.perf_counter() - started)


class Training:
    """Proxy trainings, one after the other, until the time is over."""

    def __init__(self, data: SearchData, seconds: float) -> None:
        self.train = data.train
        self.seconds = seconds

    def evaluate(self, task: Task) -> Outcome:
        """Trains with the policy of the task for about `seconds`."""
        started = time.perf_counter()
        while time.perf_counter() - started < self.seconds:
            ImageProxy(self.train, task.policy, 2, 0, config_for(self.train)).fit()
        return _outcome(task, time.perf_counter() - started)


def _outcome(task: Task, seconds: float) -> Outcome:
    score = 1.0 + int(task.policy.digest(), 16) % 1000 / 1000
    return Outcome("complete", score, ({"score": score},), seconds)


def local(objective: Objective, n_workers: int) -> Engine:
    """Worker processes on this machine."""
    return LocalEngine(objective, n_workers)


def measure(
    objective: Objective,
    n_trials: int,
    n_workers: int,
    make_engine: Callable[[Objective, int], Engine] = local,
) -> dict[str, Any]:
    """Overhead of a search whose objective is given."""
    space = load_space("image/opwise").restricted_to(1)
    config = make_config({"data": "digits", "trials": n_trials, "workers": n_workers})
    with (
        tempfile.TemporaryDirectory() as folder,
        Run(Path(folder), config, {"seed": 0}) as run,
        StopRequest(_silent) as stop,
        closing(make_engine(objective, n_workers)) as engine,
    ):
        _start_workers(engine)
        warm = baseline_policies(space, 8)
        loop = SearchLoop(run, space, warm, (Replicate(0, 0),), 1, n_trials)
        started = time.perf_counter()
        trials = loop.run(engine, stop, _silent, None)
        wall = time.perf_counter() - started
    inside = sum(trial.outcome.seconds for trial in trials)
    states = {trial.outcome.state for trial in trials}
    if states != {"complete"} or len(trials) != n_trials:
        raise SystemExit(f"The measurement is void: {len(trials)} trials, {states}.")
    return {
        "wall_seconds": round(wall, 3),
        "objective_seconds": round(inside, 3),
        "seconds_per_trial": round(inside / n_trials, 3),
        "overhead_ms_per_trial": round(1000 * (wall * n_workers - inside) / n_trials, 1),
        "overhead": round((wall * n_workers - inside) / inside, 4),
    }


def _silent(event: Mapping[str, Any]) -> None:
    del event


def _start_workers(engine: Engine) -> None:
    """One task each, so that imports and warm-up are over when the clock starts."""
    for i in range(engine.n_slots):
        engine.submit(Task(f"start/{i}", Policy(()), (Replicate(0, 0),), 1))
    n = 0
    while n < engine.n_slots:
        n += len(engine.wait(1.0))


def main() -> None:
    """Measures both objectives, writes the JSON and prints one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a training")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="6 trials of 0.2 s, no file")
    parser.add_argument("--out", type=Path, default=RESULTS / "overhead.json")
    words = parser.parse_args()
    n_trials, seconds = (6, 0.2) if words.quick else (words.trials, words.seconds)
    splits = make_splits(load_digits(), seed=0, train_size=100)
    objectives = {"sleeping": Sleeping(seconds), "training": Training(splits.search, seconds)}
    measured = {
        name: measure(objective, n_trials, words.workers) for name, objective in objectives.items()
    }
    result = {
        "claim": f"overhead below {LIMIT:.0%} of a training of {seconds:g} s",
        "holds": all(m["overhead"] < LIMIT for m in measured.values()),
        "measured": measured,
        "trials": n_trials,
        "workers": words.workers,
        "command": " ".join(["python", "benchmarks/bench_overhead.py", *sys.argv[1:]]),
        "versions": versions(),
        "cores": usable_cores(),
        "machine": platform.machine(),
        "at": now(),
    }
    if not words.quick:
        words.out.parent.mkdir(parents=True, exist_ok=True)
        words.out.write_text(json.dumps(result, indent=1) + "\n")
    shown = [
        f"{n} {m['overhead']:.1%} ({m['overhead_ms_per_trial']:.0f} ms)"
        for n, m in measured.items()
    ]
    print(f"overhead per trial of {seconds:g} s: {', '.join(shown)}")


if __name__ == "__main__":
    import bench_overhead  # workers cannot load an objective from `__main__`

    bench_overhead.main()
