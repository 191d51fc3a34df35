"""Work on the images of a batch by several threads: for kernels that release Python's lock."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

Work = Callable[[int, int], None]


def in_threads(work: Work, n: int, n_threads: int, n_parts: int) -> None:
    """Calls `work(first, last)` on neighbouring parts of `range(n)`, side by side.

    Args:
      work: Called once for every part that is not empty, by any thread.
      n: Number of items.
      n_threads: Threads that work, this one included.
      n_parts: Parts that they share; more than threads where some parts take longer.
    """
    if n_threads <= 1:
        for part in _parts(n, n_parts):
            work(*part)
        return
    left = _parts(n, n_parts)  # taking the next one is a single step for Python's lock
    pool = _pool(os.getpid(), n_threads)
    futures = [pool.submit(_work_off, work, left) for _ in range(n_threads - 1)]
    _work_off(work, left)
    for future in futures:
        future.result()


def _parts(n: int, n_parts: int) -> Iterator[tuple[int, int]]:
    edges = dict.fromkeys(n * part // n_parts for part in range(n_parts + 1))
    return iter(list(itertools.pairwise(edges)))


def _work_off(work: Work, left: Iterator[tuple[int, int]]) -> None:
    for part in left:
        work(*part)


@functools.lru_cache(maxsize=1)
def _pool(_process: int, n_threads: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked child does not inherit those of its parent."""
    return ThreadPoolExecutor(n_threads - 1, thread_name_prefix="policysearch")
