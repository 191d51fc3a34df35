"""Tables and sentences on operations on whole batches (see `readme_tables`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TITLES = {
    "digits": "digits, 300 images",
    "digits-imbalanced": "digits, 30 or 3 images a class",
    "fashion": "Fashion-MNIST, 1,000 images",
    "fashion-imbalanced": "Fashion-MNIST, 100 or 10 images a class",
}


def company(path: Path) -> str:
    """Arms with mixing and adversarial operations against simple ones; empty without a result."""
    if not path.exists():
        return ""
    cases: dict[str, Any] = json.loads(path.read_text())["cases"]
    lines = [
        "What mixing samples, asking the model and a generator (Gaussian, fitted to the training",
        "samples) add to two simple operations a sample, without a search",
        "(10 paired seeds, one training set; balanced accuracy where classes are rare;",
        "*corrupted*: accuracy under held-out corruptions; seconds on two busy cores):",
        "",
        "| data | arm | % | − simple | corrupted | seconds a training |",
        "|---|---|---:|---|---:|---:|",
    ]
    for case, result in cases.items():
        for name, arm in result["arms"].items():
            difference, low, high = arm["minus_simple"]
            shown = "" if name == "simple" else f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"
            corrupted = 100 * arm["axes"]["corruption_accuracy"]
            lines.append(
                f"| {TITLES[case]} | {name} | {arm['mean']:.2f} | {shown} | {corrupted:.1f} "
                f"| {arm['seconds_per_training']:.1f} |"
            )
    cases_named = " ".join(cases)
    lines += ["", f"`python benchmarks/bench_company.py {cases_named}`"]
    return "\n".join(lines)


def company_costs(path: Path) -> str:
    """What the operations cost, and generators; empty without a result."""
    if not path.exists():
        return ""
    result: dict[str, Any] = json.loads(path.read_text())
    shares, passes = result["ops"]["share_of_step"], result["ops"]["in_passes"]
    shown = ", ".join(
        f"{name} {shares[name]['median']:.1%}".replace("%", " %")
        for name in ("mixup", "cutmix", "resizemix", "fmix")
    )
    kinds = result["generators"]["kinds"]
    fits = ", ".join(f"{name} {kind['fit_seconds']:.1f} s" for name, kind in kinds.items())
    near = ", ".join(
        f"{name} {kind['memorisation']['probability_nearer']:.2f}" for name, kind in kinds.items()
    )
    return "\n".join(
        [
            f"For every sample of a batch: {shown} of a training step of the search's network;",
            f"fgsm {passes['fgsm']['median']:.2f} and pgd (3 steps) {passes['pgd']['median']:.2f} "
            "times a forward and backward pass.",
            f"Generators, fitted to 1,000 images of Fashion-MNIST on two threads: {fits}.",
            "A sample of theirs is nearer to a training image than a held-out one with",
            f"probability {near} (0.50 where both are alike).",
            "",
            "`python benchmarks/bench_company_costs.py --data fashion_mnist.npz`",
        ]
    )
