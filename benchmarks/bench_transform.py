"""Claim: applying a policy costs little, beside other libraries and beside a training.

Everything in one run on one machine, the contestants taking turns (see interleaved.py):

1. images per second, uint8 RGB, every image with a draw of its own, one thread, against every
   library that has the policy (transform_contestants.py); the first call of a fresh process apart;
2. the same on two threads;
3. one PIL image per call, and in a `DataLoader`, against torchvision (transform_costs.py);
4. milliseconds to build a transform;
5. the part of a proxy training that its augmentation takes;
6. peak memory of a call (fresh_process.py).

    python benchmarks/bench_transform.py                 # minutes; wants an idle machine
    python benchmarks/bench_transform.py --quick         # tests the script, claims nothing
    python benchmarks/bench_transform.py --device cuda   # 1 and 5 on a GPU, into a file of its own

The libraries are those of `make test-interop`; one that is missing is said to be.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for news

import numpy as np
import readme_tables
import torch
from fresh_process import MALLOC_SETTINGS
from interleaved import Spread, interleaved
from machine import machine
from transform_contestants import (
    AUGMIX,
    AUTOAUGMENT,
    RANDAUGMENT,
    TRIVIALAUGMENT,
    Contestant,
    contestants,
    is_ours,
    module,
    pictures,
)
from transform_costs import (
    building,
    digits_images,
    loader,
    one_by_one,
    random_images,
    scaling,
    training_share,
)

from policysearch.run import now, versions

HERE = Path(__file__).parent
RESULTS = HERE / "results"
POLICIES = (AUTOAUGMENT, RANDAUGMENT, TRIVIALAUGMENT, AUGMIX)
PEERS = ("torchvision", "timm", "kornia", "albumentations", "opencv-python-headless", "numba")
NO_CUDA = "not measured: no CUDA device"


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
      sizes: Side and batch of the throughput.
      n_rounds: Measurements of each contestant.
      seconds: Least length of one measurement.
      loader_images: Images of a loader's epoch, for each of `sizes`.
      memory_sizes: Batch and side.
      digits_epochs: Length of the trainings on digits; `None` for that of the search.
      training_images: 32-pixel images of the other trainings, of one epoch.
    """

    sizes: tuple[tuple[int, int], ...] = ((32, 256), (224, 32))
    n_rounds: int = 9
    seconds: float = 0.2
    loader_images: tuple[int, ...] = (2048, 512)
    memory_sizes: tuple[tuple[int, int], ...] = (
        (256, 8), (256, 32), (32, 224), (4096, 8), (4096, 32), (256, 224),
    )  # fmt: skip
    digits_epochs: int | None = None
    training_images: int = 4000


QUICK = Plan(((32, 8), (224, 2)), 1, 0.0, (64, 64), ((256, 32),), 1, 256)
CUDA_SIZES, CUDA_ROUNDS = ((32, 4096), (224, 512)), 5


def throughput(policy: str, side: int, n: int, plan: Plan, device: str) -> dict[str, Any]:
    """Images per second of every contestant, and ours against the fastest of the others."""
    found = contestants(policy, side, pictures(n, side, device))
    ready = [c for c in found if c.call is not None]
    calls = {c.name: c.call for c in ready if c.call is not None}
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    taken = interleaved(calls, plan.n_rounds, plan.seconds, wait)
    rates = {c.name: [c.n_images / seconds for seconds in taken[c.name]] for c in ready}
    rivals = [c.name for c in ready[1:] if c.is_same_policy]
    fastest = max(rivals, key=lambda name: median(rates[name]), default=None)
    return {
        "policy": policy,
        "side": side,
        "batch": n,
        "contestants": [_row(c, rates.get(c.name)) for c in found],
        "fastest": fastest,
        "ratio": fastest and round(median(rates[ready[0].name]) / median(rates[fastest]), 2),
    }


def _row(contestant: Contestant, rates: list[float] | None) -> dict[str, Any]:
    return {
        "name": contestant.name,
        "images_per_second": Spread.of(rates).to_dict(0) if rates else None,
        "is_same_policy": contestant.is_same_policy,
        "note": contestant.note,
    }


def in_fresh_process(*words: object, **settings: str) -> dict[str, Any]:
    """What fresh_process.py prints, run with further environment variables."""
    done = subprocess.run(
        [sys.executable, str(HERE / "fresh_process.py"), *map(str, words)],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def first_calls() -> dict[str, Any]:
    """A first call with nothing compiled yet (`cold`), then with what that has left (`warm`)."""
    with tempfile.TemporaryDirectory() as cache:
        settings = {"NUMBA_CACHE_DIR": cache, "XDG_CACHE_HOME": cache}
        return {
            state: in_fresh_process("first-call", "randaugment", **settings)
            for state in ("cold", "warm")
        }


def memory(plan: Plan) -> list[dict[str, Any]] | str:
    """Peak memory of a RandAugment call for several batches."""
    if not Path("/proc/self/clear_refs").exists():
        return "not measured: needs Linux"
    return [
        {
            "batch": n,
            "side": side,
            **in_fresh_process("memory", "randaugment", n, side, **MALLOC_SETTINGS),
        }
        for n, side in plan.memory_sizes
    ]


def _measured(plan: Plan) -> list[tuple[str, int, int]]:
    """Policy, side and batch of everything that this version has."""
    every = [(policy, side, n) for policy in POLICIES for side, n in plan.sizes]
    return [(policy, side, n) for policy, side, n in every if is_ours(policy, side)]


def on_cpu(plan: Plan) -> dict[str, Any]:
    """All six measurements."""
    here = _measured(plan)
    loader_images = dict(zip((side for side, _ in plan.sizes), plan.loader_images, strict=True))
    return {
        "throughput": [throughput(p, side, n, plan, "cpu") for p, side, n in here],
        "first_call": first_calls(),
        "scaling": scaling(plan.sizes, plan.n_rounds, plan.seconds),
        "one_by_one": [one_by_one(p, side, n, plan.n_rounds, plan.seconds) for p, side, n in here],
        "loader": [loader(p, side, loader_images[side], plan.n_rounds) for p, side, _ in here],
        "building_ms": building(plan.n_rounds, plan.seconds / 10),
        "training": [
            # Many, because they are short and the difference is small.
            training_share(digits_images(), plan.digits_epochs, 4 * plan.n_rounds),
            training_share(random_images(plan.training_images), 1, plan.n_rounds),
        ],
        "memory": memory(plan),
    }


def on_cuda(plan: Plan, device: str = "cuda") -> dict[str, Any]:
    """Throughput and the part of a training, on a GPU."""
    return {
        "throughput": [throughput(p, side, n, plan, device) for p, side, n in _measured(plan)],
        "training": [
            training_share(random_images(plan.training_images), 5, plan.n_rounds, device)
        ],
    }


def _prepare() -> None:
    """One thread for everybody, and fixed states of the generators that the others draw from."""
    torch.set_num_threads(1)
    cv2 = module("cv2")
    if cv2 is not None:
        cv2.setNumThreads(0)
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002


def _versions() -> dict[str, str]:
    found = versions()
    for name in PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> None:
    """Measures, writes the JSON and prints the tables as README.md has them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="seconds; writes only to --out")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/")
    words = parser.parse_args()
    if words.device == "cuda" and not torch.cuda.is_available():
        print(NO_CUDA)
        return
    load = round(os.getloadavg()[0], 2)  # work of others, which the numbers suffer from
    _prepare()
    plan = QUICK if words.quick else Plan()
    if words.device == "cuda":
        plan = plan if words.quick else replace(plan, sizes=CUDA_SIZES, n_rounds=CUDA_ROUNDS)
        measured = on_cuda(plan)
        name, show = "transform_cuda", readme_tables.transform_cuda
    else:
        measured = on_cpu(plan)
        name, show = "transform", readme_tables.transform
    result = {
        "claim": "applying a policy costs little, beside other libraries and beside a training",
        "command": "python benchmarks/bench_transform.py"
        + " --device cuda" * (words.device == "cuda")
        + " --quick" * words.quick,
        "at": now(),
        "machine": machine() | _gpu(words.device),
        "load_before": load,
        "versions": _versions(),
        "threads": 1,
        "rounds": plan.n_rounds,
        **measured,
    }
    out = words.out or (None if words.quick else RESULTS / f"{name}.json")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")
    print(show(result))


def _gpu(device: str) -> dict[str, str]:
    return {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}


if __name__ == "__main__":
    main()
