"""What the machine gives this process: cores, memory, and how fast it augments and trains."""

from __future__ import annotations

import os
import time
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> float:
    """Cores this process may use: the smallest of machine, affinity and container quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    n = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    quota = _cpu_quota()
    return n if quota is None else min(n, quota)


def _cpu_quota(root: Path = _CGROUP) -> float | None:
    """Cores that a container may use; `None` without a limit (control groups, version 2 or 1)."""
    words = _words(root / "cpu.max")
    if len(words) != 2:
        words = _words(root / "cpu/cpu.cfs_quota_us") + _words(root / "cpu/cpu.cfs_period_us")
    try:
        quota, period = (float(word) for word in words)
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def memory_bytes() -> tuple[int | None, int | None]:
    """Memory of the machine or of the container, whichever is less, and what is free of it."""
    total, free = _meminfo("MemTotal"), _meminfo("MemAvailable")
    limit = _number(_CGROUP / "memory.max") or _number(_CGROUP / "memory/memory.limit_in_bytes")
    used = _number(_CGROUP / "memory.current")
    if total is not None and limit is not None and limit < total:
        total = limit
        if free is not None and used is not None:
            free = min(free, max(0, limit - used))
    return total, free


def _meminfo(key: str) -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return None


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if len(words) == 1 and words[0].isdigit() else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def augmented_per_second(seconds: float = 0.3) -> float:
    """Images of 3 x 32 x 32 that TrivialAugment makes in a second, in batches of 256."""
    import numpy as np
    import torch

    from policysearch.named import resolve_policy
    from policysearch.seeding import generator
    from policysearch.transform import PolicyTransform

    pixels = generator(0, "doctor").integers(0, 256, (256, 3, 32, 32), dtype=np.uint8)
    batch = torch.from_numpy(pixels)
    transform = PolicyTransform(resolve_policy("trivialaugment-wide").policy, seed=0)
    transform(batch)
    n, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or n == 0:
        transform(batch)
        n += len(batch)
    return n / elapsed


def proxy_step_seconds(n_epochs: int = 10) -> float:
    """Duration of one training step of the image proxy, 50 images of 3 x 32 x 32."""
    import numpy as np

    from policysearch.data import Dataset
    from policysearch.named import resolve_policy
    from policysearch.proxies.image import ImageProxy, ImageProxyConfig
    from policysearch.seeding import generator

    rng = generator(0, "doctor")
    data = Dataset(
        x=rng.integers(0, 256, (100, 3, 32, 32), dtype=np.uint8),
        y=np.arange(100, dtype=np.int64) % 10,
        classes=tuple(str(i) for i in range(10)),
    )
    policy = resolve_policy("trivialaugment-wide").policy
    config = ImageProxyConfig(batch_size=50)
    ImageProxy(data, policy, 1, 0, config).fit()
    proxy = ImageProxy(data, policy, n_epochs, 0, config)
    started = time.perf_counter()
    proxy.fit()
    return (time.perf_counter() - started) / (2 * n_epochs)
