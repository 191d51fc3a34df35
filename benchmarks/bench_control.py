"""Claim: where nothing helps, the verdict says so, in at least 95 of 100 repetitions.

The labels of digits are shuffled, so that no augmentation can help or harm: whatever the verdict
calls better or worse is a false claim. Every repetition shuffles anew, draws its own splits and
seeds, and compares five policies with `policysearch compare`'s code in this process. The same raw
scores are also judged as was done before the test samples counted: by paired t-tests over the
seeds alone. Repetitions with the true labels show that differences that are there are still found.
The same data are given to `policysearch search`'s code: it should see no head-room and stop, and
where it goes on its verdict must not claim that what it exports is better or worse.

    python benchmarks/bench_control.py            # 100 repetitions, about 20 minutes on one core
    python benchmarks/bench_control.py search     # one part; the other stays as it is in the file
    python benchmarks/bench_control.py --quick    # seconds; tests the script, claims nothing
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
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
from policysearch.study import Study
from policysearch.verdict import Arm, compare_with

RESULTS = Path(__file__).parent / "results"
LIMIT = 0.05
POLICIES = ("trivialaugment-wide", "none", "randaugment", "uniformaugment", "default-image")
#: Where a search sees head-room it is short: a few trials, few candidates.
SEARCH = {"trials": 20, "candidates": 3}
SETTINGS = {"train_size": 100, "epochs": 10, "verdict_seeds": 5}


def _silent(event: Mapping[str, Any]) -> None:
    del event


def executed(kind: type[Comparison | Study], number: int, **settings: Any) -> dict[str, Any]:
    """The verdict of a comparison or a search on digits, run in this process."""
    images, labels = load_digits(return_X_y=True)
    if settings.pop("is_shuffled"):
        labels = np.random.default_rng(number).permutation(labels)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "digits.npz"
        x = (images.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
        np.savez(data, x_train=x, y_train=labels)
        config = make_config({"data": str(data), "seed": number, "workers": 1} | settings)
        out = Path(folder) / "run"
        run = kind(config, _silent, lambda objective, *_: SimulatedEngine(objective, 1))
        create_run_directory(out, config)
        return run.execute(out)


def searched(number: int, is_shuffled: bool, settings: dict[str, Any]) -> dict[str, Any]:
    """One search: whether it saw head-room, and what its verdict says if it went on."""
    verdict = executed(Study, number, is_shuffled=is_shuffled, **settings, **SEARCH)
    room = verdict["headroom"]
    return {
        "seed": number,
        "p_value": room["p_value"],
        "learns": room["learns"],
        "decision": verdict["decision"],
        "verdict": {c["other"]: c["decision"] for c in verdict["comparisons"]},
    }


def decisions(runs: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How often each decision was made."""
    return dict(Counter(run["decision"] for run in runs).most_common())


def repetition(number: int, is_shuffled: bool, settings: dict[str, Any]) -> dict[str, Any]:
    """One comparison; what it claims, and what the seeds alone would have claimed."""
    verdict = executed(Comparison, number, is_shuffled=is_shuffled, policies=POLICIES, **settings)
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


def compare_part(n: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Comparisons of given policies."""
    runs: dict[str, list[dict[str, Any]]] = {"shuffled_labels": [], "true_labels": []}
    for number in range(1, n + 1):
        runs["shuffled_labels"].append(repetition(number, True, settings))
        if number % 5 == 0:
            runs["true_labels"].append(repetition(number, False, settings))
            print(f"{number}: {claims(runs['shuffled_labels'])}", flush=True)
    return {name: claims(found) for name, found in runs.items()} | {"runs": runs}


def search_part(n: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Searches."""
    runs: dict[str, list[dict[str, Any]]] = {"shuffled_labels": [], "true_labels": []}
    for number in range(1, n + 1):
        runs["shuffled_labels"].append(searched(number, True, settings))
        if number % 20 == 0:
            runs["true_labels"].append(searched(number, False, settings))
            print(f"{number}: {decisions(runs['shuffled_labels'])}", flush=True)
    return {name: decisions(found) for name, found in runs.items()} | {"runs": runs}


PARTS = {"compare": compare_part, "search": search_part}


def n_false(part: str, result: dict[str, Any]) -> int:
    """Repetitions with shuffled labels in which something was claimed."""
    if part == "compare":
        return int(result["shuffled_labels"]["verdict"]["any"])
    made = result["shuffled_labels"]
    return sum(made.get(decision, 0) for decision in ("better", "worse"))


def main() -> int:
    """Writes `results/control.json`; 1 when too many differences are claimed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all by default")
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="seconds; writes no result")
    words = parser.parse_args()
    n, settings = (2, SETTINGS | {"epochs": 1}) if words.quick else (words.repetitions, SETTINGS)
    path = RESULTS / "control.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    result |= {
        "claim": "where nothing helps the verdict says so",
        "command": "python benchmarks/bench_control.py",
    }
    false = 0
    for part in words.parts or PARTS:
        started = time.monotonic()
        result[part] = PARTS[part](n, settings) | {
            "date": now(),
            "machine": machine(),
            "versions": versions(),
            "settings": settings,
            "seconds": round(time.monotonic() - started, 1),
        }
        print(part, {k: v for k, v in result[part].items() if k.endswith("labels")}, flush=True)
        false = max(false, n_false(part, result[part]))
    if not words.quick:
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(result) + "\n")
    return int(false > LIMIT * n)


if __name__ == "__main__":
    sys.exit(main())
