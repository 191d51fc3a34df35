"""docs/speed.md: samples per second of operations on everything but flat classic images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

#: Title and unit of the samples of `modality_more.json`.
_MORE = {
    "series": ("Series", "256 series of 251 steps", "series", "tsaug"),
    "tabular": ("Tables", "1,024 rows of 30 columns", "rows", None),
    "image": ("Medical images", "64 images of 64 x 64 floats", "images", None),
}
HEAD = (
    "# Speed of operations by kind of data\n\n"
    "One thread, every sample with a magnitude and draws of its own; medians. The peers of each "
    "table were measured by the same script on the same machine; other programs ran at times, so "
    "ratios within a table say more than numbers. Images at their usual sizes stand in the "
    "[README](../README.md#what-was-measured). Written by `python benchmarks/readme_tables.py`."
)


def speed(results: Path) -> str:
    """The page, of whatever results there are."""
    parts = [HEAD]
    for name, made in (
        ("modality_text", _text),
        ("modality_audio", _audio),
        ("modality_more", _more),
        ("modality_volumes", _volumes),
    ):
        path = results / f"{name}.json"
        if path.exists():
            parts.append(made(json.loads(path.read_text())))
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ratio(mine: float, peer: float | None) -> str:
    return "" if not peer else f"{mine / peer:.2g}" if mine < peer * 10 else f"{mine / peer:.0f}"


def _text(result: dict[str, Any]) -> str:
    rows = []
    for op, rates in result["sentences_per_second"].items():
        ids, strings = rates["ids"]["median"], rates["strings"]["median"]
        peer = rates.get("peer", {}).get("sentences")
        rows.append(
            [
                f"`{op}`",
                f"{ids:,.0f}",
                f"{strings:,.0f}",
                f"{peer:,}" if peer else "",
                _ratio(ids, peer),
                _ratio(strings, peer),
            ]
        )
    head = ["operation", "word numbers", "strings", "nlpaug", "ratio, numbers", "ratio, strings"]
    return (
        f"## Text\n\nSentences per second, {result['n_texts']:,} sentences of "
        f"{result['words_per_text']} words on average; strings are read, changed and written "
        "again, word numbers are what a search trains on.\n\n"
        f"{_table(head, rows)}\n\n`python benchmarks/modality_text.py`"
    )


def _audio(result: dict[str, Any]) -> str:
    rows = []
    for op, rates in result["clips_per_second"].items():
        mine = rates["policysearch"]["median"]
        peer = rates.get("audiomentations", {}).get("median")
        rows.append(
            [f"`{op}`", f"{mine:,.0f}", f"{peer:,.0f}" if peer else "", _ratio(mine, peer)]
        )
    total = result["seconds_of_all_shared"]
    head = ["operation", "policysearch", "audiomentations", "ratio"]
    return (
        "## Sound\n\nClips per second, 64 clips of 1 s at 8 kHz.\n\n"
        f"{_table(head, rows)}\n\nAll that both have, one after the other: "
        f"{total['policysearch']:.2f} s, audiomentations {total['audiomentations']:.2f} s.\n\n"
        f"`{result['command']}`"
    )


def _more(result: dict[str, Any]) -> str:
    parts = []
    for kind, (title, what, unit, peer_name) in _MORE.items():
        rows = []
        for key, rate in result["samples_per_second"].items():
            if not key.startswith(f"{kind}/"):
                continue
            row = [f"`{key.removeprefix(kind + '/')}`", f"{rate['median']:,.0f}"]
            if peer_name:
                peer = rate.get("peer", {}).get(unit)
                row += [f"{peer:,}" if peer else "", _ratio(rate["median"], peer)]
            rows.append(row)
        head = ["operation", "policysearch", *([peer_name, "ratio"] if peer_name else [])]
        parts.append(
            f"## {title}\n\n{unit.capitalize()} per second, {what}.\n\n{_table(head, rows)}"
        )
    parts.append("`python benchmarks/modality_more.py`")
    return "\n\n".join(parts)


def _volumes(result: dict[str, Any]) -> str:
    rows = []
    for what, row in result["volumes_per_second"].items():
        mine, peer, ratio = row["ours"], row["torchio"], row["ratio"]
        rows.append(
            [
                what,
                ", ".join(f"`{op}`" for op in mine["ops"]),
                f"{mine['median']:,.1f}",
                f"{peer['median']:,.1f}",
                f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]",
            ]
        )
    n, _, side, *_ = result["volumes"]
    head = ["", "operations of a sample", "policysearch", "TorchIO", "ratio, smallest and largest"]
    return (
        f"## Volumes\n\nVolumes per second, {n} volumes of {side} x {side} x {side} floats; "
        "several operations that move voxels are resampled once.\n\n"
        f"{_table(head, rows)}\n\nTorchIO {result['torchio']}, volume by volume.\n\n"
        f"`{result['command']}`"
    )
