"""Writes the tables of README.md from `benchmarks/results/`; no number there is typed by hand.

python benchmarks/readme_tables.py          # rewrites README.md
python benchmarks/readme_tables.py --check  # fails when README.md is out of date
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
ARMS = ("none", "default", "trivialaugment", "randaugment", "uniformaugment", "random", "found")
TITLES = {
    "digits": "scikit-learn's digits, 100 training images",
    "fashion": "Fashion-MNIST, 1,000 training images",
    "cifar10": "CIFAR-10 (recompressed), 4,000 training images",
}


def tables(results: Path = HERE / "results") -> str:
    """All tables as Markdown, in a fixed order; those without a result are left out."""
    found = {
        case: json.loads(path.read_text())
        for case in TITLES
        if (path := results / f"end_to_end_{case}.json").exists()
    }
    parts = [_accuracy(found), _cost(found), _overhead(results / "overhead.json")]
    return "\n\n".join(part for part in parts if part)


def _accuracy(found: dict[str, dict[str, Any]]) -> str:
    if not found:
        return ""
    lines = [
        "Test accuracy in percent, last epoch of the small proxy network, mean over draws of the",
        "training images and seeds. *found − arm*: difference and 95 % t interval.",
        "",
        "| arm | " + " | ".join(f"{TITLES[c]} | found − arm" for c in found) + " |",
        "|---|" + "---:|---|" * len(found),
    ]
    for arm in ARMS:
        cells = []
        for result in found.values():
            summary = result["summary"]
            against = summary["found_minus"].get(arm)
            cells.append(f"{summary['mean'][arm]:.2f}")
            cells.append(_interval(against) if against else "")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _interval(against: dict[str, float]) -> str:
    low, high = against["ci_low"], against["ci_high"]
    return f"{against['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"


def _cost(found: dict[str, dict[str, Any]]) -> str:
    lines = ["What it cost, and what was exported:", ""]
    for case, result in found.items():
        runs = result["runs"]
        n = len(runs)
        unit = result["summary"]["unit"]
        exported = ", ".join(run["chosen"] for run in runs)
        decisions = ", ".join(run["decision"] for run in runs)
        seconds = sum(run["wall_seconds"] for run in runs) / n
        search = sum(run["seconds_by_rung"]["search"] for run in runs) / n
        peak = max(run["peak_mib"] for run in runs)
        n_seeds = len(runs[0]["scores"]["found"])
        lines += [
            f"- **{TITLES[case]}**: {n} draw{'s' * (n > 1)} x {n_seeds} seeds (intervals over "
            f"{unit}), {runs[0]['trials']} trials, {seconds:.0f} s in all on "
            f"{result['machine']['cores']} cores ({search:.0f} s of computing in the search), "
            f"peak memory {peak:,} MiB. Exported: {exported}; "
            f"against the best other arm: {decisions}.",
            f"  `{result['command']}`",
        ]
    return "\n".join(lines) if found else ""


def _overhead(path: Path) -> str:
    if not path.exists():
        return ""
    result = json.loads(path.read_text())
    shown = [
        f"{m['overhead']:.1%} ({m['overhead_ms_per_trial']:.0f} ms) when the objective is {name}"
        for name, m in result["measured"].items()
    ]
    seconds = result["measured"]["sleeping"]["seconds_per_trial"]
    return (
        f"A trial's overhead beside a training of {seconds:.0f} s (suggesting, ledger, process, "
        f"data; {result['workers']} workers): {', '.join(shown)}.\n  `{result['command']}`"
    )


def main() -> None:
    """Rewrites or checks README.md."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    fresh = f"{before}{BEGIN}\n{tables()}\n{END}{after}"
    if "--check" in sys.argv:
        sys.exit("README.md is out of date: python benchmarks/readme_tables.py" * (fresh != text))
    README.write_text(fresh)


if __name__ == "__main__":
    main()
