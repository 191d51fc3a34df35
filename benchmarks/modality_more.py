"""Samples per second of every operation on series, rows and medical images, one thread.

    python benchmarks/modality_more.py
    python benchmarks/modality_more.py --peer-python tsaug-env/bin/python

Series of 251 steps, rows of 30 columns (5 of them categories) beside 500 training rows of two
classes, images of 64 x 64 floats, each sample with a magnitude and draws of its own, made
beforehand. tsaug (`pip install tsaug`) runs in an environment of its own on the same series in one
array, which is how it is fast; its operations are the nearest ones it has.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from interleaved import Spread, interleaved
from machine import machine

from policysearch.draws import Drawn
from policysearch.modalities.tabular import TabularSettings
from policysearch.ops.image_medical import OPS as MEDICAL
from policysearch.ops.registry import OPS_VERSIONS, op_table
from policysearch.ops.table_facts import table_facts
from policysearch.policy import Policy
from policysearch.run import now
from policysearch.transform import apply_drawn

RESULT = Path(__file__).parent / "results" / "modality_more.json"
LEVEL = 0.5
N_SERIES, N_STEPS, N_ROWS, N_COLUMNS, N_IMAGES, SIDE = 256, 251, 1024, 30, 64, 64
#: Which operation of tsaug is the nearest, and how it is made.
PEERS = {
    "jitter": "tsaug.AddNoise(scale=0.05)",
    "drift": "tsaug.Drift(max_drift=0.25, n_drift_points=3)",
    "time_mask": "tsaug.Dropout(p=0.1, size=38, fill=0.0)",
    "time_warp": "tsaug.TimeWarp(n_speed_change=4, max_speed_ratio=1.5)",
    "window_slice": "tsaug.Crop(size=213, resize=251)",
}
#: Run by the Python of the peer: series per second of each of its operations, best of five.
PEER_SCRIPT = """
import json, sys, time
import numpy as np, tsaug
n, steps, peers = json.loads(sys.argv[1])
x = np.random.default_rng(0).normal(size=(n, steps)).cumsum(axis=1)
rates = {}
for name, made in peers.items():
    augmenter = eval(made)
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        augmenter.augment(x)
        best = max(best, n / (time.perf_counter() - started))
    rates[name] = best
print(json.dumps(rates))
"""


def calls_of(modality: str, names: list[str], x: Any, **told: Any) -> dict[str, Callable[[], Any]]:
    """A call for each operation, on a batch whose samples all get it."""
    policy = Policy((), modality, OPS_VERSIONS[modality][-1], interpolation="bilinear")
    rng, n = np.random.default_rng(0), len(x)
    calls = {}
    for name in names:
        spec = op_table(modality)[name]
        m = np.full((n, 1), spec.magnitude(LEVEL) if spec.has_magnitude else 0.0)
        drawn = Drawn(
            (name,),
            np.zeros((n, 1), np.int64),
            m,
            np.zeros((n, 1), np.bool_),
            rng.random((n, 1, spec.n_draws)),
        )
        calls[f"{modality}/{name}"] = lambda d=drawn: apply_drawn(x, d, policy, **told)
    return calls


def all_calls() -> dict[str, Callable[[], Any]]:
    """Calls for all three kinds of data."""
    rng = np.random.default_rng(0)
    series = torch.from_numpy(rng.normal(size=(N_SERIES, 1, N_STEPS)).cumsum(axis=2)).float()
    rows = rng.normal(size=(N_ROWS, N_COLUMNS))
    rows[:, :5] = rng.integers(0, 4, (N_ROWS, 5))
    y = np.arange(N_ROWS) % 2
    facts = table_facts(rows[:500], np.arange(N_COLUMNS) < 5, y[:500])
    images = torch.from_numpy(rng.random((N_IMAGES, 1, SIDE, SIDE))).float()
    others = [name for name in op_table("tabular") if name != "identity"]
    return {
        **calls_of("series", [n for n in op_table("series") if n != "identity"], series),
        **calls_of(
            "tabular", others, torch.from_numpy(rows), y=y, settings=TabularSettings(facts=facts)
        ),
        **calls_of("image", ["elastic", *(n for n in op_table("image") if n in MEDICAL)], images),
    }


def main() -> None:
    """Measures, prints a table and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="Python of an environment with tsaug")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one short round; writes nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    n = {"series": N_SERIES, "tabular": N_ROWS, "image": N_IMAGES}
    taken = interleaved(all_calls(), 1 if args.quick else args.rounds, 0.01 if args.quick else 0.2)
    rates: dict[str, Any] = {
        key: Spread.of([n[key.split("/")[0]] / t for t in seconds]).to_dict(0)
        for key, seconds in taken.items()
    }
    peers: dict[str, float] = {}
    if args.peer_python:
        words = json.dumps([N_SERIES, N_STEPS, PEERS])
        command = [args.peer_python, "-c", PEER_SCRIPT, words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peers = json.loads(done.stdout)
    for key, rate in rates.items():
        peer = peers.get(key.removeprefix("series/"))
        if peer is not None:
            rate["peer"] = {"operation": PEERS[key.removeprefix("series/")], "series": round(peer)}
        print(f"{key:32} {rate['median']:12,.0f}" + (f"  tsaug {peer:10,.0f}" if peer else ""))
    result = {
        "claim": "samples per second of operations on series, rows and medical images, one thread",
        "date": now(),
        "level": LEVEL,
        "machine": machine(),
        "samples_per_second": rates,
    }
    if not args.quick:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
