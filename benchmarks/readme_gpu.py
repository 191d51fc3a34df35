"""What README.md says of a search on a GPU, from `benchmarks/results/search_cuda.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from readme_modalities import interval


def gpu_search(path: Path) -> str:
    """A search of a thousand trainings from scratch, what it found, and what steps cost."""
    if not path.exists():
        return ""
    result = json.loads(path.read_text())
    if "search" not in result or "stacked" not in result:
        return ""
    found, gpu = result["search"], result["machine"]["gpu"]
    note = f"; {result['note']}" if result.get("note") else ""
    summary = found["summary"]
    against = ", ".join(
        f"{arm} {interval(summary['found_minus'][arm])}"
        for arm in ("none", "trivialaugment", "randaugment", "uniformaugment", "random")
    )
    return "\n".join(
        [
            f"A search on one {gpu}: {found['trainings']:,} trainings of the proxy on 4,000 "
            f"images of CIFAR-10 in {found['minutes_of_trials']:.1f} minutes "
            f"({found['trainings_per_minute']:,.0f} a minute{note}), "
            f"{found['minutes']:.1f} minutes with baselines, confirmation and verdict. Found "
            f"({summary['mean']['found']:.2f} % of test images, one draw x 10 seeds, intervals "
            f"over seeds) minus {against}; all before the final comparison "
            f"{summary['cost']:.1f} x it. Exported: {found['chosen']}, which did better on "
            "validation data.",
            f"  `{found['command']}`",
            "",
            _steps(result["stacked"]),
            "  `python benchmarks/bench_gpu_search.py --device cuda --only stacked`",
        ]
    )


def _steps(rows: list[dict[str, Any]]) -> str:
    """Steps a second of the ways to train several networks in one process."""
    ways = {
        "one by one": "one network after the other",
        "stacked": "stacked (`torch.func.vmap`)",
        "one by one, replayed": "one after the other, each step a replayed CUDA graph",
        "stacked, replayed": "stacked and replayed",
    }
    counts = ", ".join(str(row["networks"]) for row in rows)
    told = [
        f"{words} " + ", ".join(f"{row['steps_per_second'][way]['median']:,.0f}" for row in rows)
        for way, words in ways.items()
    ]
    return (
        f"Steps a second there with {counts} networks in one process (batches of 128): "
        + "; ".join(told)
        + ". Trainings of flat images and volumes by the built-in network are replayed on a GPU"
        "; stacking is not done."
    )
