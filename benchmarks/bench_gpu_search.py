"""How many trainings a device holds in a minute, and a search of a thousand of them from scratch.

Three questions, on whatever device is given:

1. *Stacked*: does one process train K proxy networks side by side (`torch.func.vmap` over stacked
   weights) faster than one after the other? Steps per second, K = 1, 2, 4, ... On a GPU also with
   the step of either recorded once as a CUDA graph and replayed.
2. *Processes*: trainings per minute with W processes of the local engine on the device, each
   under another random policy of 25 sub-policies of 2 operations, on random images.
3. *Search*: a search of `--trainings` trainings from scratch with the best W: minutes, trainings a
   minute, and what its verdict says.

    python benchmarks/bench_gpu_search.py --data cifar10 --train-size 4000 --device cuda
    python benchmarks/bench_gpu_search.py --device cuda --only stacked
    python benchmarks/bench_gpu_search.py --quick                  # digits, CPU, writes no result

The result goes to `results/search_DEVICE.json`; one taken on a CPU says nothing about a GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_search import summary
from interleaved import Spread, interleaved
from machine import machine
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from policysearch.baselines import random_like
from policysearch.data.dataset import Dataset
from policysearch.data.splits import DEFAULT_FOLDS, FOLDS_UP_TO, SearchData
from policysearch.engines.local import LocalEngine
from policysearch.objectives.from_scratch import FromScratch
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.proxies.image import ImageProxyConfig, build_network, config_for
from policysearch.run import now, versions
from policysearch.space_yaml import load_space
from policysearch.trial import Replicate, Task

RESULTS = Path(__file__).parent / "results"
N_CLASSES = 10


class OneByOne:
    """Networks that take a step of SGD one after the other, channels last as in a search."""

    def __init__(self, shape: tuple[int, ...], k: int, device: str) -> None:
        self.networks = [
            build_network(shape, N_CLASSES, ImageProxyConfig().width, seed).to(device)
            for seed in range(k)
        ]
        for network in self.networks:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizers = [_sgd(list(network.parameters())) for network in self.networks]

    def step(self, x: Tensor, y: Tensor) -> float:
        """A step of every network on its own batch `(k, n, ...)`; the sum of their losses."""
        total = 0.0
        for network, optimizer, inputs, labels in zip(
            self.networks, self.optimizers, x, y, strict=True
        ):
            optimizer.zero_grad(set_to_none=True)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            loss = nn.functional.cross_entropy(network(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) if x.device.type == "cpu" else 0.0
        return total


class Stacked:
    """The same networks with stacked weights, all in every kernel."""

    def __init__(self, shape: tuple[int, ...], k: int, device: str) -> None:
        networks = OneByOne(shape, k, device).networks
        for network in networks:  # vmap knows no kernels for channels last
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._base = networks[0]
        self.parameters, self.buffers = stack_module_state(networks)
        self._optimizer = _sgd(list(self.parameters.values()))

    def step(self, x: Tensor, y: Tensor) -> float:
        """See `OneByOne`; the gradient of a sum is that of each network by its own loss."""
        self._optimizer.zero_grad(set_to_none=True)
        logits = vmap(self._logits)(self.parameters, self.buffers, x)
        k, n = y.shape
        loss = k * nn.functional.cross_entropy(logits.reshape(k * n, -1), y.reshape(-1))
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach()) if x.device.type == "cpu" else 0.0

    def _logits(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor
    ) -> Tensor:
        result: Tensor = functional_call(self._base, (parameters, buffers), (x,))
        return result


class Replayed:
    """The step of another way, recorded as a CUDA graph at its first call and replayed after."""

    def __init__(self, way: OneByOne | Stacked) -> None:
        self._way = way
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: tuple[Tensor, Tensor] | None = None

    def step(self, x: Tensor, y: Tensor) -> float:
        """See `OneByOne`; the first call takes three steps before it records."""
        if self._graph is None or self._given is None:
            self._given = x.clone(), y.clone()
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self._way.step(*self._given)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._way.step(*self._given)
        for own, given in zip(self._given, (x, y), strict=True):
            own.copy_(given)
        self._graph.replay()
        return 0.0


def _sgd(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)


def stacked(
    shape: tuple[int, ...], batch: int, ks: list[int], device: str, rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Steps per second and network, one after the other and stacked."""
    rows = []
    for k in ks:
        rng = torch.Generator().manual_seed(k)
        x = torch.rand((k, batch, *shape), generator=rng).to(device)
        y = torch.randint(0, N_CLASSES, (k, batch), generator=rng).to(device)
        ways: dict[str, OneByOne | Stacked | Replayed] = {
            "one by one": OneByOne(shape, k, device),
            "stacked": Stacked(shape, k, device),
        }
        first = {name: way.step(x, y) for name, way in ways.items()}
        assert abs(first["one by one"] - first["stacked"]) < 1e-3 * max(1.0, first["stacked"])
        if device != "cpu":
            ways["one by one, replayed"] = Replayed(OneByOne(shape, k, device))
            ways["stacked, replayed"] = Replayed(Stacked(shape, k, device))
        calls = {name: (lambda way=way, x=x, y=y: way.step(x, y)) for name, way in ways.items()}

        def wait() -> None:
            if device != "cpu":
                torch.cuda.synchronize()

        taken = interleaved(calls, rounds, seconds, wait)
        rates = {name: Spread.of([k / t for t in times]) for name, times in taken.items()}
        base = taken["one by one"]
        ratios = {
            name: Spread.of([a / b for a, b in zip(base, times, strict=True)])
            for name, times in taken.items()
        }
        rows.append(
            {
                "networks": k,
                "steps_per_second": {name: rate.to_dict(1) for name, rate in rates.items()},
                "ratio": {name: ratio.to_dict(2) for name, ratio in ratios.items()},
            }
        )
        words = (
            f"{r.median:,.0f} {name} ({ratios[name].median:.2f} x)" for name, r in rates.items()
        )
        print(f"{k:3} networks of {batch} x {shape}, steps/s: " + ", ".join(words), flush=True)
    return rows


def processes(
    shape: tuple[int, ...], n_train: int, epochs: int, device: str, counts: list[int], n_each: int
) -> dict[int, dict[str, float]]:
    """Trainings per minute with so many processes, once all of them have trained before."""
    rng = np.random.default_rng(0)
    data = Dataset(
        x=rng.integers(0, 256, (n_train, *shape), dtype=np.uint8),
        y=np.arange(n_train) % N_CLASSES,
        classes=tuple(map(str, range(N_CLASSES))),
    )
    first = n_train - n_train // 4
    folds = ((np.arange(first), np.arange(first, n_train)),)
    objective = FromScratch(SearchData(data, folds), config_for(data, device))
    space = load_space("image/autoaugment")
    shaped = Policy(  # equal stages would stay equal
        tuple(
            SubPolicy(tuple(Stage((OpCall("invert"),), (2 * i + j) / 50) for j in range(2)))
            for i in range(25)
        )
    )
    rows = {}
    for n in counts:
        with LocalEngine(objective, n) as engine:
            rates = []
            for name, n_tasks, length in (("warm", n, 1), ("measured", n * n_each, epochs)):
                started = time.monotonic()
                for i in range(n_tasks):
                    policy = random_like(shaped, space, rng)
                    engine.submit(Task(f"trial/{name}{i}", policy, (Replicate(0, i),), length))
                n_done = 0
                while n_done < n_tasks:
                    finished = engine.wait(60.0)
                    n_done += len(finished)
                    for done in finished:
                        if done.outcome.state == "failed":
                            raise SystemExit(f"a training failed: {done.outcome.message}")
                rates.append(60 * n_tasks / (time.monotonic() - started))
        rows[n] = {"trainings": n * n_each, "trainings_per_minute": round(rates[-1], 1)}
        print(f"{n:3} processes: {rates[-1]:,.0f} trainings a minute", flush=True)
    return rows


def search(words: list[str], out: Path) -> dict[str, Any]:
    """Runs a search and reads from what it wrote how long it took and what it found."""
    started = time.monotonic()
    command = [sys.executable, "-m", "policysearch", "search", *words, "--out", str(out), "-q"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"policysearch search failed with code {done.returncode}")
    return told(words, out, (time.monotonic() - started) / 60)


def told(words: list[str], out: Path, minutes: float) -> dict[str, Any]:
    """What a finished search says of itself."""
    records = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    trials = [record for record in records if "origin" in record]
    n_trainings = sum(len(record.get("metrics", ())) for record in trials)
    trial_minutes = max(record["rung_seconds"] for record in trials) / 60
    verdict = json.loads((out / "verdict.json").read_text())
    seconds = json.loads((out / "policy.json").read_text())["provenance"]["seconds"]
    scores = {arm["name"]: arm["scores"] for arm in verdict["arms"]}
    return {
        "command": "policysearch search " + " ".join(words),
        "minutes": round(minutes, 2),
        "minutes_of_trials": round(trial_minutes, 3),
        "trials": len(trials),
        "trainings": n_trainings,
        "trainings_per_minute": round(n_trainings / trial_minutes, 1),
        "trials_per_minute": round(len(trials) / trial_minutes, 1),
        "seconds_by_rung": seconds,
        "chosen": verdict["chosen"],
        "scores": scores,
        "summary": summary([{"scores": scores, "seconds_by_rung": seconds}]),
        "sentence": verdict["sentence"],
    }


def main() -> None:
    """Reads the arguments, measures, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--train-size", type=int, default=4000)
    parser.add_argument("--shape", type=int, nargs=3, default=[3, 32, 32], help="of an image")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--trainings", type=int, default=1000)
    parser.add_argument("--note", default="", help="what a reader must know, such as MPS")
    parser.add_argument("--out", type=Path, help="folder of the search, to be kept")
    parser.add_argument("--only", choices=["stacked", "processes", "search"])
    parser.add_argument("--quick", action="store_true", help="seconds; writes no result")
    args = parser.parse_args()
    if args.quick:
        args.train_size, args.shape, args.epochs = 60, [1, 8, 8], 2
        args.networks, args.processes, args.trainings = [1, 2], [1, 2], 6
    torch.set_num_threads(1)
    batch = 50 if args.train_size <= 1000 else 128
    result: dict[str, Any] = {
        "claim": "trainings a minute on one device, and a search of a thousand from scratch",
        "date": now(),
        "device": args.device,
        "note": args.note,
        "machine": machine()
        | ({} if args.device == "cpu" else {"gpu": torch.cuda.get_device_name(args.device)}),
        "versions": versions(),
    }
    wanted = [args.only] if args.only else ["stacked", "processes", "search"]
    if "stacked" in wanted:
        rounds, seconds = (1, 0.01) if args.quick else (5, 0.5)
        shape = tuple(args.shape)
        result["stacked"] = stacked(shape, batch, args.networks, args.device, rounds, seconds)
    common = [
        *(args.data, "--train-size", str(args.train_size), "--device", args.device),
        *("--epochs", str(args.epochs), "--search-anyway", "--no-prune"),
    ]
    n_each = 1 if args.quick else 4
    best = args.processes[0]
    if "processes" in wanted:
        shape = tuple(args.shape)
        result["processes"] = processes(
            shape, args.train_size, args.epochs, args.device, args.processes, n_each
        )
        rates = {n: row["trainings_per_minute"] for n, row in result["processes"].items()}
        best = max(rates, key=rates.__getitem__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "search" in wanted:
            n_folds = DEFAULT_FOLDS if args.train_size <= FOLDS_UP_TO else 1
            n_trials = int(np.ceil(args.trainings / n_folds))
            words = [*common, "--trials", str(max(4, n_trials)), "--workers", str(best)]
            words += ["--verdict-seeds", "2"] if args.quick else []
            result["search"] = search(words, args.out or folder / "search")
            print(json.dumps(result["search"], indent=1))
    if not args.quick:
        path = RESULTS / f"search_{args.device.partition(':')[0]}.json"
        before = json.loads(path.read_text()) if args.only and path.exists() else {}
        result = before | result  # the parts that were not asked for stay
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
