"""Claim: mixing costs under a tenth of a step, an attack one pass more, a generator a minute.

A step is forward, backward and optimizer of the network that a search trains, on a batch of
128 x 3 x 32 x 32 uint8 on one thread. Contestants take turns; each operation is applied to every
sample of a batch by `transform(x, y, model=network)`. An attack is also compared with one forward
and backward pass of the same network, which is what one step of it must cost at least. Generators
are fitted to 1,000 images of Fashion-MNIST on two threads, and asked what they have memorised.

    python benchmarks/bench_company_costs.py --data fashion_mnist.npz
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleaved import Spread, interleaved
from machine import machine

from policysearch import load_policy
from policysearch.data.dataset import Dataset
from policysearch.generators.fit import KINDS, fit_generator
from policysearch.generators.memorisation import memorisation_report
from policysearch.ops.company import COMPANY_OPS
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.proxies.base import settings_for
from policysearch.proxies.generators import samples_of
from policysearch.run import now, versions

RESULTS = Path(__file__).parent / "results" / "company_costs.json"
N, SHAPE, N_CLASSES, N_FIT = 128, (3, 32, 32), 10, 1000
N_ROUNDS = 9


def policy_of(op: str, high: float, *before: Stage) -> Policy:
    """The operation for every sample, at its largest magnitude."""
    return Policy((SubPolicy((*before, Stage((OpCall(op, high, high),)))),))


def op_costs() -> dict[str, Any]:
    """Seconds of a step, of both passes of an attack, and of every operation."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, N_CLASSES, N)
    pixels = rng.integers(0, 256, (N, *SHAPE)).astype(np.uint8)
    data = Dataset(pixels, y, tuple(map(str, range(N_CLASSES))))
    proxy = settings_for(data).make(data, Policy(), 1, 0)
    network: torch.nn.Module = proxy.network  # type: ignore[attr-defined]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    x, targets = torch.from_numpy(pixels), torch.from_numpy(y)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(network(x.float() / 255), targets)
        loss.backward()
        optimizer.step()

    def both_passes() -> None:
        inputs = (x.float() / 255).requires_grad_()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()

    transforms = {}
    for spec in COMPANY_OPS["image"]:
        if spec.family == "generative":
            continue
        before = () if spec.name != "hardest_of_k" else (Stage((OpCall("rotate", 0, 20),)),)
        transforms[spec.name] = load_policy(
            policy_of(spec.name, spec.high, *before), n_classes=N_CLASSES
        )
    calls = {"step": step, "both passes": both_passes}
    calls |= {
        name: lambda transform=transform: transform(x, targets, model=network)
        for name, transform in transforms.items()
    }
    taken = interleaved(calls, N_ROUNDS, 0.05)
    shares = {
        name: Spread.of([a / b for a, b in zip(seconds, taken["step"], strict=True)]).to_dict(3)
        for name, seconds in taken.items()
        if name != "step"
    }
    passes = {
        name: Spread.of([a / b for a, b in zip(taken[name], taken["both passes"], strict=True)])
        for name in ("fgsm", "pgd")
    }
    return {
        "batch": [N, *SHAPE],
        "threads": 1,
        "step_ms": Spread.of([1e3 * s for s in taken["step"]]).to_dict(2),
        "share_of_step": shares,
        "in_passes": {name: spread.to_dict(3) for name, spread in passes.items()},
    }


def generator_costs(path: Path) -> dict[str, Any]:
    """Seconds that each kind takes to fit, and what it seems to have memorised."""
    arrays = dict(np.load(path, allow_pickle=False))
    names = tuple(map(str, range(N_CLASSES)))

    def part(split: str, n: int, seed: int) -> Dataset:
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"].astype(np.int64)
        rows = np.random.default_rng(seed).permutation(len(x))[:n]
        return Dataset(x[rows].reshape(n, 1, *x.shape[-2:]), y[rows], names)

    train, held = samples_of(part("train", N_FIT, 1)), samples_of(part("test", N_FIT, 2))
    found = {}
    for kind in KINDS:
        started = time.perf_counter()
        fitted = fit_generator(kind, train, 0, names)
        seconds = time.perf_counter() - started
        asked = time.perf_counter()
        labels = np.arange(N) % N_CLASSES
        fitted.sample(labels, np.ones(N), np.arange(N))
        each = 1e3 * (time.perf_counter() - asked) / N
        found[kind] = {
            "fit_seconds": round(seconds, 1),
            "sample_ms_each": round(each, 2),
            "memorisation": memorisation_report(fitted, train, held),
        }
    return {"n": N_FIT, "threads": torch.get_num_threads(), "kinds": found}


def main() -> None:
    """Measures both and writes the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Fashion-MNIST as .npz")
    words = parser.parse_args()
    torch.set_num_threads(1)
    ops = op_costs()
    print(json.dumps(ops, indent=1), flush=True)
    torch.set_num_threads(2)
    generators = generator_costs(words.data)
    print(json.dumps(generators, indent=1), flush=True)
    result = {
        "claim": (__doc__ or "").splitlines()[0].removeprefix("Claim: "),
        "command": "python benchmarks/bench_company_costs.py --data fashion_mnist.npz",
        "date": now(),
        "machine": machine(),
        "versions": versions(),
        "ops": ops,
        "generators": generators,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
