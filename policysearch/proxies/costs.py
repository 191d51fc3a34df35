"""Measures what operations cost on the data that are trained on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping

import numpy as np
import torch

from policysearch.data.dataset import Dataset
from policysearch.draws import Drawer
from policysearch.ops.registry import company_ops
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.proxies.base import ProxySettings

#: Samples that are augmented, and how often; the least time counts.
N_SAMPLES, N_TIMES = 256, 5


def measure_op_costs(
    train: Dataset, settings: ProxySettings, calls: Iterable[OpCall], none: Policy
) -> Mapping[str, float]:
    """Seconds per sample of each operation, to two digits, with one thread as a loader has.

    Args:
      train: Gives the samples.
      settings: Of the proxy, which augments them.
      calls: The operations, each once, with the range that they are measured over.
      none: A policy that augments nothing, for the kernels of the others.
    """
    proxy = settings.make(train, none, 1, 0)
    few = train.take(np.arange(N_SAMPLES) % len(train))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:

        def seconds(policy: Policy) -> float:
            least = float("inf")
            for i in range(N_TIMES):
                started = time.perf_counter()
                drawn = Drawer(policy, i).draw(np.arange(len(few)))
                company = (
                    proxy.company(torch.from_numpy(few.y), policy) if company_ops(policy) else None
                )
                proxy.augmented(few, drawn, policy, company)
                least = min(least, time.perf_counter() - started)
            return least / len(few)

        return {call.op: float(f"{seconds(_alone(call, none)):.1e}") for call in calls}
    finally:
        torch.set_num_threads(before)


def _alone(call: OpCall, none: Policy) -> Policy:
    return dataclasses.replace(none, sub_policies=(SubPolicy((Stage((call,)),)),))
