"""Claim: where nothing helps, the verdict says so, in at least 95 of 100 repetitions.

The labels of digits are shuffled, so that no augmentation can help or harm: whatever the verdict
calls better or worse is a false claim. Every repetition shuffles anew, draws its own splits and
seeds, and compares five policies with `policysearch compare`'s code in this process. The same raw
scores are also judged as was done before the test samples counted: by paired t-tests over the
seeds alone. Repetitions with the true labels show that differences that are there are still found.

    python benchmarks/bench_control.py            # 100 repetitions, about 10 minutes on one core
    python benchmarks/bench_control.py --quick    # seconds; tests the script, claims nothing
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from sklearn.datasets import load_digits

from policysearch.comparison import Comparison
from policysearch.config import make_config
from policysearch.engines.simulated import SimulatedEngine
from policysearch.run import create_run_directory, now, versions
from policysearch.verdict import Arm, compare_with

RESULTS = Path(__file__).parent / "results"
LIMIT = 0.05
POLICIES = ("trivialaugment-wide", "none", "randaugment", "uniformaugment", "default-image")
SETTINGS = {"train_size": 100, "epochs": 10, "verdict_seeds": 5}


def _silent(event: Mapping[str, Any]) -> None:
    del event


def repetition(number: int, is_shuffled: bool, settings: dict[str, Any]) -> dict[str, Any]:
    """One comparison; what it claims, and what the seeds alone would have claimed."""
    images, labels = load_digits(return_X_y=True)
    if is_shuffled:
        labels = np.random.default_rng(number).permutation(labels)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "digits.npz"
        x = (images.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
        np.savez(data, x_train=x, y_train=labels)
        config = make_config(
            {"data": str(data), "policies": POLICIES, "seed": number, "workers": 1} | settings
        )
        out = Path(folder) / "run"
        comparison = Comparison(
            config, _silent, lambda objective, _: SimulatedEngine(objective, 1)
        )
        create_run_directory(out, config)
        verdict = comparison.execute(out)
    assert "test samples" in verdict["holds_for"]
    arms = [Arm(arm["name"], tuple(arm["scores"])) for arm in verdict["arms"]]
    over_seeds = {c.other: c.decision for c in compare_with(arms[0], arms[1:])}
    best = max(arms[1:], key=lambda arm: arm.mean).name
    return {
        "seed": number,
        "scores": {arm.name: [round(score, 6) for score in arm.scores] for arm in arms},
        "verdict": {c["other"]: c["decision"] for c in verdict["comparisons"]},
        "against_best": verdict["decision"],
        "seeds_alone": over_seeds,
        "seeds_alone_against_best": over_seeds[best],
        "half_width": {
            c["other"]: round((c["ci_high"] - c["ci_low"]) / 2, 5) for c in verdict["comparisons"]
        },
    }


def claims(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """In how many repetitions a difference was claimed: to any arm, and to the best other."""
    nothing = "not distinguishable"
    return {
        kind: {
            "any": sum(any(d != nothing for d in run[kind].values()) for run in runs),
            "best": sum(run[best] != nothing for run in runs),
            "repetitions": len(runs),
        }
        for kind, best in (
            ("verdict", "against_best"),
            ("seeds_alone", "seeds_alone_against_best"),
        )
    }


def main() -> int:
    """Writes `results/control.json`; 1 when too many differences are claimed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="seconds; writes no result")
    words = parser.parse_args()
    n, settings = (2, SETTINGS | {"epochs": 1}) if words.quick else (words.repetitions, SETTINGS)
    started = time.monotonic()
    shuffled, true = [], []
    for number in range(1, n + 1):
        shuffled.append(repetition(number, True, settings))
        if number % 5 == 0:
            true.append(repetition(number, False, settings))
            print(f"{number}: {claims(shuffled)}", flush=True)
    result = {
        "claim": "where nothing helps the verdict says so",
        "command": "python benchmarks/bench_control.py",
        "date": now(),
        "machine": machine(),
        "versions": versions(),
        "settings": settings,
        "seconds": round(time.monotonic() - started, 1),
        "shuffled_labels": claims(shuffled),
        "true_labels": claims(true) if true else None,
        "runs": {"shuffled_labels": shuffled, "true_labels": true},
    }
    print(json.dumps({k: result[k] for k in ("shuffled_labels", "true_labels")}, indent=1))
    if not words.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "control.json").write_text(json.dumps(result, indent=1) + "\n")
    return int(result["shuffled_labels"]["verdict"]["any"] > LIMIT * n)


if __name__ == "__main__":
    sys.exit(main())
