"""Work on the images of a batch by several threads: for kernels that release Python's lock."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def in_threads(work: Callable[[int, int], None], n: int, n_parts: int) -> None:
    """Calls `work(first, last)` on `n_parts` neighbouring parts of `range(n)`, side by side."""
    if n_parts <= 1:
        work(0, n)
        return
    edges = [n * part // n_parts for part in range(n_parts + 1)]
    own, *others = itertools.pairwise(edges)
    futures = [_pool(os.getpid(), n_parts).submit(work, *part) for part in others]
    work(*own)
    for future in futures:
        future.result()


@functools.lru_cache(maxsize=1)
def _pool(_process: int, n_parts: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked child does not inherit those of its parent."""
    return ThreadPoolExecutor(n_parts - 1, thread_name_prefix="policysearch")
