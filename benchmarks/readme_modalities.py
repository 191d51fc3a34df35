"""The README's table of searches of texts, sounds, series and rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Rows of the table; `field` is the arm of the field beside the default.
ARMS = (
    *("none", "default", "field", "trivialaugment", "randaugment", "uniformaugment", "random"),
    "found",
)
#: Datasets of the other kinds of data, and the arm of the field beside the default, if any.
OTHERS = {
    "sst2": ("SST-2, 500 sentences", "aeda"),
    "cr": ("CR, 500 sentences", "aeda"),
    "fsdd": ("FSDD, 100 clips, speakers held out", "audiomentations"),
    "arrowhead": ("ArrowHead, 36 series", None),
    "italypowerdemand": ("ItalyPowerDemand, 67 series", None),
    "wine": ("wine, 50 rows", "smote"),
    "breast_cancer": ("breast cancer, 50 rows", "smote"),
}


def modalities(path: Path) -> str:
    """The table of arms, and what is to be known of it; empty without a result."""
    if not path.exists():
        return ""
    cases = json.loads(path.read_text())["cases"]
    shown = {name: cases[name] for name in OTHERS if name in cases}
    lines = [
        "The same for other kinds of data: one search with one seed, 10 paired seeds on one",
        "training set. *default* is what the field uses: EDA, SpecAugment, window slicing and",
        "warping, noise. Differences of the exported arm are in points, with 95 % intervals over",
        "seeds and test samples; the word is after Holm's correction over all arms.",
        "",
        "| arm | " + " | ".join(OTHERS[name][0] for name in shown) + " |",
        "|---|" + "---:|" * len(shown),
    ]
    for arm in ARMS:
        cells = []
        for name, case in shown.items():
            key = OTHERS[name][1] if arm == "field" else arm
            mean = case["summary"]["mean"].get(key)
            cells.append("" if mean is None else f"{mean:.2f}")
        title = "AEDA, audiomentations, SMOTE" if arm == "field" else arm
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines.append("| exported | " + " | ".join(c["run"]["chosen"] for c in shown.values()) + " |")
    for other in ("none", "default"):
        cells = [_exported_against(case, other) for case in shown.values()]
        lines.append(f"| exported − {other} | " + " | ".join(cells) + " |")
    cells = [interval(case["summary"]["found_minus"]["none"]) for case in shown.values()]
    lines.append("| found − none (intervals over seeds alone) | " + " | ".join(cells) + " |")
    seconds = sum(sum(case["run"]["seconds_by_rung"].values()) for case in shown.values())
    without = [
        OTHERS[n][0].split(",")[0] for n, c in shown.items() if not c["headroom"]["is_found"]
    ]
    missing = [OTHERS[name][0].split(",")[0] for name in OTHERS if name not in shown]
    lines += [
        "",
        f"No head-room was found on {', '.join(without)}: the search-free policies differ by no "
        "more than noise there, and a search would have stopped but for `--search-anyway`. "
        f"{seconds:,.0f} s in all on a machine that was shared."
        + (f" Not run yet: {', '.join(missing)}." if missing else ""),
        "  `python benchmarks/bench_modalities.py --data FOLDER`",
    ]
    return "\n".join(lines)


def _exported_against(case: dict[str, Any], other: str) -> str:
    for comparison in case["comparisons"]:
        if comparison["other"] == other:
            keys = ("difference", "ci_low", "ci_high")
            points = {key: 100 * comparison[key] for key in keys}
            return f"{interval(points)} {comparison['decision']}"
    return "the same"


def interval(against: Mapping[str, float]) -> str:
    """A difference with its interval, in points."""
    low, high = against["ci_low"], against["ci_high"]
    return f"{against['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"
