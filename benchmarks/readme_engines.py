"""What README.md says of the engines, from `benchmarks/results/`; see `readme_tables.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def overhead(path: Path) -> str:
    """What a trial costs beside its training."""
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


def engines(path: Path) -> str:
    """Scaling, overhead and memory of both engines."""
    if not path.exists():
        return ""
    result = json.loads(path.read_text())
    asked, memory = result["suggestion"], result["memory"]
    local, ray = (result[name]["overhead_ms_per_trial"] for name in ("two_workers", "ray"))
    return (
        f"Two workers finish {result['scaling']:.2f} times the trials of one. "
        f"A trial of 2 s costs {local:.0f} ms beside its training in local processes "
        f"and {ray:.0f} ms in Ray Tune; a "
        f"suggestion of TPE takes {asked['median_ms']:.0f} ms after {asked['trials']:,} trials "
        f"({asked['dimensions']} dimensions). Over {memory['trials']:,} trials a worker grows by "
        f"{memory['worker_mib'][1] - memory['worker_mib'][0]:.0f} MiB and the search by "
        f"{memory['driver_mib'][1] - memory['driver_mib'][0]:.0f} MiB.\n  `{result['command']}`"
    )


def simulated(path: Path) -> str:
    """How long a search on imagined workers takes, and how many of them it keeps busy."""
    if not path.exists():
        return ""
    result = json.loads(path.read_text())
    cases = [m for m in result["measured"] if m["sampler"] == "random" and m["workers"] >= 1000]
    told = [
        f"{m['wall_seconds']:.0f} s for {m['workers']:,} workers of which "
        f"{m['utilisation']:.0%} are busy (look-back window {m['lookback']:,}{_of_how_many(m)})"
        for m in cases
    ]
    first = cases[0]
    return (
        "Imagined workers, with the real sampler, loop and ledger: "
        f"{first['trials']:,} trials of {first['training_seconds']:.0f} s take {'; '.join(told)}; "
        f"a random suggestion takes {first['suggest_ms']['last_tenth']:.1f} ms, and the ledger "
        f"holds {first['ledger_records_per_second']:,} records a second. What breaks first: "
        f"[docs/cluster.md](docs/cluster.md).\n  `{result['command']}`"
    )


def _of_how_many(case: dict[str, Any]) -> str:
    times = case.get("times", ())
    return f"; the fastest of {len(times)} runs" if times else ""
