"""What can only be measured in a process of its own: the first call, and the peak of memory.

Run by bench_transform.py; prints one JSON object.

    python benchmarks/fresh_process.py first-call randaugment
    python benchmarks/fresh_process.py memory randaugment 256 32

**Memory** is the peak of the resident set during a call above the resident set before it, which
counts torch, numpy and native allocations alike, output included. The kernel keeps the peak and
resets it on request (Linux, /proc/self/clear_refs). For blocks to come and go with the call,
malloc must not keep them: bench_transform.py lowers its thresholds, freed memory is given back
before each call, and huge pages are off. A copy (1 x the input) and a copy as float32 (4 x) are
measured in the same way, to show that the numbers can be trusted.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Makes malloc map and unmap every block above this size.
MALLOC_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_TOP_PAD_": "0",
    "MALLOC_MMAP_MAX_": "10000000",
}
_SET_THP_DISABLE = 41  # of prctl
_N_CALLS = 10


def first_call(name: str) -> dict[str, Any]:
    """Seconds of the import, of the first and of the second call on 256 images of 32 pixels."""
    started = time.perf_counter()
    import torch

    import policysearch

    transform = policysearch.load_policy(name)
    imported = time.perf_counter()
    torch.set_num_threads(1)
    x = torch.randint(0, 256, (256, 3, 32, 32), dtype=torch.uint8)
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        transform(x)
        seconds.append(round(time.perf_counter() - begin, 4))
    return {
        "import_seconds": round(imported - started, 3),
        "first_call_seconds": seconds[0],
        "second_call_seconds": seconds[1],
    }


def memory(name: str, n: int, side: int) -> dict[str, Any]:
    """Peak bytes of a call beyond its input, as a multiple of the bytes of the input."""
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_THP_DISABLE, 1, 0, 0, 0)
    import torch

    import policysearch

    torch.set_num_threads(1)
    x = torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8)
    transform = policysearch.load_policy(name)
    for _ in range(3):
        transform(x)

    def largest(call: Callable[[], object]) -> float:
        return round(max(_extra_bytes(call, libc) for _ in range(_N_CALLS)) / x.numel(), 2)

    return {
        "input_bytes": x.numel(),
        "ratio": largest(lambda: transform(x)),
        "ratio_of_a_copy": largest(x.clone),
        "ratio_of_a_float32_copy": largest(x.float),
    }


def _extra_bytes(call: Callable[[], object], libc: Any) -> int:
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    result = call()
    peak = _status("VmHWM")
    del result
    return peak - before


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {key} in /proc/self/status")


def main() -> None:
    """Runs the measure that is named first."""
    what, name, *numbers = sys.argv[1:]
    measured = first_call(name) if what == "first-call" else memory(name, *map(int, numbers))
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
