"""Writes tables of README.md and docs/speed.md from `benchmarks/results/`, none typed by hand.

python benchmarks/readme_tables.py          # rewrites both
python benchmarks/readme_tables.py --check  # fails when one is out of date
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from bench_search import CASES
from readme_company import company, company_costs
from readme_engines import engines, overhead, simulated
from readme_gpu import gpu_search
from readme_modalities import interval, modalities
from readme_speed import speed

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
SPEED = HERE.parent / "docs" / "speed.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
NO_GPU = "Applying a policy on a GPU: not measured."
ARMS = ("none", "default", "trivialaugment", "randaugment", "uniformaugment", "random", "found")
TITLES = {
    "digits_100": "scikit-learn's digits, 100 training images",
    "digits_300": "scikit-learn's digits, 300 training images",
    "fashion": "Fashion-MNIST, 1,000 training images",
    "cifar10": "CIFAR-10 (recompressed), 4,000 training images",
    "cifar10_gpu": "CIFAR-10 (recompressed), 4,000 training images, on a GPU",
}


def tables(results: Path = HERE / "results") -> str:
    """All tables as Markdown, in a fixed order; those without a result are left out."""
    found = {
        case: json.loads(path.read_text())
        for case in TITLES
        if (path := results / f"search_{case}.json").exists()
    }
    parts = [_accuracy(found), _cost(found), _earlier(found)]
    parts.append(modalities(results / "modalities.json"))
    parts.append(company(results / "company.json"))
    parts.append(company_costs(results / "company_costs.json"))
    parts.append(overhead(results / "overhead.json"))
    parts.append(engines(results / "engines.json"))
    parts.append(simulated(results / "simulated.json"))
    parts.append(_control(results / "control.json"))
    parts.append(_search_costs(results / "search_costs.json"))
    parts.append(gpu_search(results / "search_cuda.json"))
    cpu, gpu = results / "transform.json", results / "transform_cuda.json"
    if cpu.exists():
        parts.append(transform(json.loads(cpu.read_text())))
        parts.append(transform_cuda(json.loads(gpu.read_text())) if gpu.exists() else NO_GPU)
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
            cells.append(interval(against) if against else "")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cost(found: dict[str, dict[str, Any]]) -> str:
    lines = ["What it cost, in the final comparison's computing, and what was exported:", ""]
    for case, result in found.items():
        runs = result["runs"]
        n, n_seeds = len(runs), len(runs[0]["scores"]["found"])
        chosen = Counter(run["chosen"] for run in runs).most_common()
        exported = ", ".join(f"{name} {times} of {n}" for name, times in chosen)
        seconds = sum(run["seconds_by_rung"]["verdict"] for run in runs) / n
        lines += [
            f"- **{TITLES[case]}**: {n} draw{'s' * (n > 1)}{_of_set(case, n)} x {n_seeds} seeds "
            "(intervals over "
            f"{result['summary']['unit']}); all before the final comparison "
            f"{result['summary']['cost']:.2f} x it, which took {seconds:,.0f} s of computing. "
            f"Exported: {exported}.{_against(runs)}{_longer(result)}",
            f"  `{result['command']}`",
        ]
    return "\n".join(lines) if found else ""


def _of_set(case: str, n: int) -> str:
    """Says so where fewer draws are measured than were set before the first."""
    n_set = CASES[case.replace("_", "-")].draws
    return f" of the {n_set} that were set" if n < n_set else ""


def _earlier(found: dict[str, dict[str, Any]]) -> str:
    """What versions before this one measured, the latest first."""
    rows = [
        (TITLES[case], past)
        for case, result in found.items()
        for past in sorted(result.get("earlier", ()), key=lambda past: past["date"], reverse=True)
    ]
    lines = [
        "What earlier versions found against RandAugment, told because later ones were decided",
        "with an eye on it:",
        "",
        "| dataset | version | found − randaugment | intervals over | cost | command |",
        "|---|---|---|---|---:|---|",
    ]
    for title, past in rows:
        summary, command = past["summary"], past["command"]
        lines.append(
            f"| {title} | {past['note']} | {interval(summary['found_minus']['randaugment'])} | "
            f"{summary['unit']} | {summary['cost']:.2f} x | `{command}` |"
        )
    return "\n".join(lines) if rows else ""


def _against(runs: list[dict[str, Any]]) -> str:
    """How often the exported policy was better or worse, by the verdicts' own tests."""
    told = []
    for other in ("none", "trivialaugment", "randaugment"):
        words = [c["decision"] for run in runs for c in run["comparisons"] if c["other"] == other]
        better, worse = words.count("better"), words.count("worse")
        if words:
            told.append(f"{other} {better} of {len(words)}" + f" (worse {worse})" * (worse > 0))
    return f" Better by its verdict's own test than: {', '.join(told)}." if told else ""


def _longer(result: dict[str, Any]) -> str:
    """The order of arms with twice the epochs, and on the same draws with the usual ones."""
    if "longer" not in result:
        return ""
    longer = [run["scores"] for run in result["longer"]]
    usual = [
        run["scores"] | {"exported": run["scores"][run["chosen"]]}
        for run in result["runs"][: len(longer)]
    ]
    return (
        f" With twice the epochs, first {len(longer)} draws: {_ranked(longer, longer[0])}; with "
        f"the usual ones: {_ranked(usual, longer[0])}."
    )


def _ranked(draws: list[dict[str, list[float]]], names: Iterable[str]) -> str:
    means = {name: mean(mean(scores[name]) for scores in draws) for name in names}
    ranked = sorted(means, key=lambda name: -means[name])
    return ", ".join(f"{name} {100 * means[name]:.2f}" for name in ranked)


def _control(path: Path) -> str:
    if not path.exists():
        return ""
    result = json.loads(path.read_text())
    compared, searched = result.get("compare"), result.get("search")
    told = []
    if compared:
        shuffled, true = compared["shuffled_labels"], compared["true_labels"]
        told.append(
            f"`compare` claimed a difference in {shuffled['verdict']['any']} of "
            f"{shuffled['verdict']['repetitions']} repetitions ({shuffled['seeds_alone']['any']} "
            "by intervals over seeds alone), and with the true labels in "
            f"{true['verdict']['any']} of {true['verdict']['repetitions']} "
            f"({true['seeds_alone']['any']})"
        )
    if searched:
        made = ", ".join(f"{d}: {n}" for d, n in searched["shuffled_labels"].items())
        told.append(f"`search` ended with {made}")
    if not told:
        return ""
    return (
        f"Where nothing helps (digits with shuffled labels, five policies): {'; '.join(told)}.\n"
        f"  `{result['command']}`"
    )


def _search_costs(path: Path) -> str:
    """Gain of the found policy by objective and strategy, for a part of a verdict's cost."""
    if not path.exists():
        return ""
    result = json.loads(path.read_text())
    arms = {draw: found["arms"] for draw, found in result["draws"].items()}
    gains: dict[str, dict[float, list[float]]] = {}
    for cell in result["cells"]:
        name = f"{cell['strategy']}, {cell['objective']}"
        gain = 100 * (mean(cell["accuracies"]) - mean(arms[str(cell["draw"])]["none"]))
        gains.setdefault(name, {}).setdefault(cell["level"], []).append(gain)
    levels = sorted({cell["level"] for cell in result["cells"]})
    n_draws = max(len(found) for row in gains.values() for found in row.values())
    lines = [
        "What a search finds for a part of the cost of the final comparison (7 arms x 10 seeds),",
        "by strategy and objective: points of test accuracy above no augmentation on the same",
        f"draws of 100 digits, mean over {n_draws} draws (fewer are stated) x "
        f"{len(result['cells'][0]['accuracies'])} seeds. Draws differ by about a",
        "point, so neighbours are not told apart.",
        "",
        "| strategy, objective | " + " | ".join(f"{level:g} x" for level in levels) + " |",
        "|---|" + "---:|" * len(levels),
    ]
    for name, row in sorted(gains.items(), key=lambda i: -mean(i[1][min(i[1])])):
        cells = [_gain(row.get(level, []), n_draws) for level in levels]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    free = {
        name: mean(100 * (mean(arm[name]) - mean(arm["none"])) for arm in arms.values())
        for name in ("randaugment", "trivialaugment", "uniformaugment")
    }
    told = ", ".join(f"{name} {gain:+.2f}" for name, gain in free.items())
    return "\n".join(
        [*lines, "", f"Without a search: {told}. {result['note']}", f"  `{result['command']}`"]
    )


def _gain(values: list[float], n_draws: int) -> str:
    if not values:
        return ""
    return f"{mean(values):+.2f}" + (f" ({len(values)})" if len(values) < n_draws else "")


def transform(result: dict[str, Any]) -> str:
    """Speed and cost of applying a policy on the CPU."""
    parts = [
        f"Augmented images per second on one core ({result['machine']['processor']}), uint8 RGB, "
        f"every image with a draw\nof its own, drawing included; median of {result['rounds']} "
        "rounds in which all take turns. PIL images and tensors are made beforehand.",
        _throughput(result["throughput"]),
        "\\* Another policy, and not in the last column: kornia draws one sub-policy for all "
        "images of a batch; for\nalbumentations, which has none of these policies, a chain of "
        "similar operations. timm's and kornia's policies have\noperations and ranges of their "
        f"own.\n  `{result['command']}`",
        "One PIL image per call, and in a `DataLoader` with one worker, images per second:",
        _single_images(result["one_by_one"], result["loader"]),
        _transform_costs(result),
    ]
    return "\n\n".join(parts)


def transform_cuda(result: dict[str, Any]) -> str:
    """Speed of applying a policy on a GPU."""
    share = result["training"][0]["share"]["median"]
    return (
        f"The same on a GPU ({result['machine']['gpu']}):\n\n"
        f"{_throughput(result['throughput'])}\n\n"
        f"Part of the augmentation in a proxy training there: {share:.1%}.\n"
        f"  `{result['command']}`"
    )


def _throughput(rows: list[dict[str, Any]]) -> str:
    names = [
        c["name"] if c["is_same_policy"] else c["name"] + "\\*" for c in rows[0]["contestants"]
    ]
    lines = [
        "| policy, batch | " + " | ".join(names) + " | against the fastest |",
        "|---|" + "---:|" * len(names) + "---|",
    ]
    for row in rows:
        cells = [_rate(c["images_per_second"], c["note"]) for c in row["contestants"]]
        versus = f"{row['ratio']:.2f} x {row['fastest']}" if row["fastest"] else ""
        what = f"{row['policy']}, {row['batch']:,} x {row['side']} px"
        lines.append(f"| {what} | " + " | ".join(cells) + f" | {versus} |")
    return "\n".join(lines)


def _rate(rate: dict[str, float] | str | None, note: str = "") -> str:
    if rate is None or isinstance(rate, str):
        return rate or note
    return f"{rate['median']:,.0f}"


def _single_images(calls: list[dict[str, Any]], loader: list[dict[str, Any]]) -> str:
    lines = [
        "| policy | policysearch | torchvision | ratio | `DataLoader`: policysearch | torchvision "
        "| ratio | no policy |",
        "|---|" + "---:|" * 7,
    ]
    for call, epoch in zip(calls, loader, strict=True):
        cells = []
        for row in (call, epoch):
            cells += [_rate(row["policysearch"]), _rate(row["torchvision"])]
            cells.append(f"{row['ratio']:.2f}" if "ratio" in row else "")
        cells.append(_rate(epoch["none"]))
        lines.append(f"| {call['policy']}, {call['side']} px | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _transform_costs(result: dict[str, Any]) -> str:
    cold, warm = result["first_call"]["cold"], result["first_call"]["warm"]
    lines = [
        f"- First call of a process: {cold['first_call_seconds']:.2g} s, "
        f"{warm['first_call_seconds']:.2g} s in every later process "
        f"(imports: {warm['import_seconds']:.1f} s).",
        f"- Two threads instead of one: {_scaling(result['scaling'])}.",
        f"- Building a transform: {_building(result['building_ms'])}.",
        "- Part of the augmentation in a proxy training (TrivialAugment, one thread): "
        + ", ".join(f"{t['share']['median']:.1%} on {t['data']}" for t in result["training"])
        + ".",
        f"- Peak memory of a call beyond its input, output included: {_memory(result['memory'])}.",
    ]
    return "\n".join(lines)


def _scaling(rows: list[dict[str, Any]] | str) -> str:
    if isinstance(rows, str):
        return rows
    return ", ".join(f"{r['two_threads']['median']:.2f} x at {r['side']} px" for r in rows)


def _building(found: dict[str, dict[str, float]]) -> str:
    *named, (large, slow) = ((name, ms["median"]) for name, ms in found.items())
    low, high = (pick(ms for _, ms in named) for pick in (min, max))
    return f"{low:.2g} to {high:.2g} ms for the named policies, {slow:.2g} ms for {large}"


def _memory(rows: list[dict[str, Any]] | str) -> str:
    if isinstance(rows, str):
        return rows
    shown = [f"{r['ratio']:.1f} x at {r['batch']:,} x {r['side']} px" for r in rows]
    return ", ".join(shown)


def main() -> None:
    """Rewrites or checks README.md and docs/speed.md."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    fresh = {
        README: f"{before}{BEGIN}\n{tables()}\n{END}{after}",
        SPEED: speed(HERE / "results"),
    }
    for path, content in fresh.items():
        if "--check" not in sys.argv:
            path.write_text(content)
        elif not path.exists() or path.read_text() != content:
            sys.exit(f"{path.name} is out of date: python benchmarks/readme_tables.py")


if __name__ == "__main__":
    main()
