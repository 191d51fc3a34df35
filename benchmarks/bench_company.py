"""Claim to be tested: mixing samples, asking the model in training, and a generator help too.

Compares, with paired seeds and the same proxy network, two stages of simple operations as in
UniformAugment (*simple*) with the same and one more stage, half of the time: of operations that
mix (*mixing*), that ask the model (*adversarial*), that draw from a generator which is fitted to
the samples of the training (*generative*: Gaussian), or of all three (*all*). No policy is
searched here.
The imbalanced variants keep a tenth of the samples of every second class, and have two arms more:
*simple* and *generative* with every probability of a frequent class a tenth (*... rare*).

    python benchmarks/bench_company.py digits digits-imbalanced
    python benchmarks/bench_company.py fashion fashion-imbalanced --data fashion_mnist.npz
    python benchmarks/bench_company.py digits-imbalanced --arms simple-rare generative-rare

Arms that are named are measured beside *simple* and join those that the result file has: equal
seeds give equal trainings, whatever stands beside them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from sklearn.datasets import load_digits

from policysearch.estimates import t_interval
from policysearch.ops.company import COMPANY_OPS
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.policy_json import PolicyDocument, write_policy_file
from policysearch.run import now, versions
from policysearch.space import RareClasses
from policysearch.space_yaml import load_space

RESULTS = Path(__file__).parent / "results" / "company.json"
N_SEEDS = 10
CASES = ("digits", "digits-imbalanced", "fashion", "fashion-imbalanced")
SIZES = {"digits": 300, "fashion": 1000}
#: Samples of every second class that an imbalanced variant keeps.
RARE = 10


def arms(case: str) -> dict[str, Policy]:
    """The policies that are compared in a case."""
    space = load_space("opwise", "image")
    simple = space.restricted_to(1).uniform_policy()
    full = {spec.name: spec for spec in COMPANY_OPS["image"]}

    def more(*families: str) -> Policy:
        calls = tuple(
            OpCall(spec.name, spec.low, spec.high)
            for spec in full.values()
            if spec.family in families
        )
        (sub,) = simple.sub_policies
        return dataclasses.replace(
            simple, sub_policies=(SubPolicy((*sub.stages, Stage(calls, 0.5))),)
        )

    found = {
        "none": space.policy(()),
        "simple": simple,
        "mixing": more("mixing"),
        "adversarial": more("adversarial"),
        "generative": more("generative"),
        "all": more("mixing", "adversarial", "generative"),
    }
    if case.endswith("imbalanced"):
        counts = tuple(
            SIZES[case.partition("-")[0]] // 10 // (RARE if c % 2 else 1) for c in range(10)
        )
        factors = RareClasses(counts=counts).factors(1.0)
        for name in ("simple", "generative"):
            rare = dataclasses.replace(found[name], class_probability=factors)
            found[f"{name}-rare"] = rare
    return found


def arrays(case: str, data: Path | None) -> dict[str, np.ndarray]:
    """Training and test split of a case, drawn with seed 1; classes are equally often in tests."""
    name, _, is_imbalanced = case.partition("-")
    rng = np.random.default_rng(1)
    if name == "digits":
        digits = load_digits()
        x = np.round(digits.images * 255 / 16).astype(np.uint8)
        order = rng.permutation(len(x))
        train, test = order[:900], order[900:]
        parts = {"x_train": x[train], "y_train": digits.target[train]}
        parts |= {"x_test": x[test], "y_test": digits.target[test]}
    else:
        assert data is not None
        parts = dict(np.load(data, allow_pickle=False))
    y = parts["y_train"]
    per_class = SIZES[name] // 10
    kept = [
        rng.permutation(np.flatnonzero(y == c))[
            : per_class // RARE if is_imbalanced and c % 2 else per_class
        ]
        for c in range(10)
    ]
    rows = np.concatenate(kept)
    return parts | {"x_train": parts["x_train"][rows], "y_train": y[rows]}


def measure(case: str, data: Path | None, names: list[str]) -> dict[str, Any]:
    """Runs `policysearch compare` for the arms that are named and reads what it wrote."""
    metric = "balanced_accuracy" if case.endswith("imbalanced") else "accuracy"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        split = arrays(case, data)
        np.savez(place / "data.npz", **split)
        policies = arms(case)
        for name in names:
            write_policy_file(place / f"{name}.json", PolicyDocument(policies[name], name))
        files = [str(place / f"{name}.json") for name in names]
        words = ["compare", str(place / "data.npz"), *files, "--verdict-seeds", str(N_SEEDS)]
        words += ["--metric", metric, "--seed", "1", "--out", str(place / "run"), "-q"]
        subprocess.run([sys.executable, "-m", "policysearch", *words], check=True)
        verdict = json.loads((place / "run" / "verdict.json").read_text())
    told = {Path(arm["name"]).stem: arm for arm in verdict["arms"]}
    simple = np.array(told["simple"]["scores"])
    table = {}
    for name, arm in told.items():
        difference = 100 * (np.array(arm["scores"]) - simple)
        low, high = t_interval(difference.tolist()) if name != "simple" else (0.0, 0.0)
        table[name] = {
            "mean": round(100 * float(np.mean(arm["scores"])), 2),
            "minus_simple": [round(float(v), 2) for v in (difference.mean(), low, high)],
            "seconds_per_training": round(arm["seconds"] / N_SEEDS, 2),
            "axes": arm.get("axes"),
            "scores": arm["scores"],
        }
    return {"case": case, "metric": metric, "n_train": len(split["x_train"]), "arms": table}


def main() -> None:
    """Measures the cases that are named; results of others stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--data", type=Path, help="Fashion-MNIST as .npz")
    parser.add_argument("--arms", nargs="+", help="only these, beside `simple`  [default: all]")
    words = parser.parse_args()
    known = json.loads(RESULTS.read_text())["cases"] if RESULTS.exists() else {}
    for case in words.cases:
        names = list(dict.fromkeys(["simple", *words.arms])) if words.arms else list(arms(case))
        if unknown := set(names) - arms(case).keys():
            parser.error(f"unknown in {case}: {', '.join(sorted(unknown))}")
        before = known.get(case, {}).get("arms", {}) if words.arms else {}
        known[case] = measure(case, words.data, names) | {"date": now()}
        known[case]["arms"] = before | known[case]["arms"]
        shown = {
            k: (v["mean"], v["minus_simple"], v["seconds_per_training"])
            for k, v in known[case]["arms"].items()
        }
        print(case, json.dumps(shown, indent=1), flush=True)
        result = {
            "claim": (__doc__ or "").splitlines()[0],
            "command": "python benchmarks/bench_company.py " + " ".join(known),
            "machine": machine(),
            "versions": versions(),
            "cases": known,
        }
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
