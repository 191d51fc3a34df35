"""Which engine the settings ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from policysearch.config import RAY_ONLY, SearchConfig, make_config
from policysearch.engines.base import Engine
from policysearch.engines.local import LocalEngine
from policysearch.engines.ray_engine import RayEngine, RaySettings
from policysearch.objectives.base import Objective

#: Makes the engine that evaluates an objective; the caller closes it.
MakeEngine = Callable[[Objective, SearchConfig], Engine]


def chosen_engine(objective: Objective, config: SearchConfig) -> Engine:
    """The engine that the settings name."""
    return (
        ray_engine(objective, config)
        if config.engine == "ray"
        else local_engine(objective, config)
    )


def engine_with(changes: Mapping[str, Any]) -> MakeEngine:
    """Makes the engine that a run's settings name after some of them were changed."""

    def make(objective: Objective, config: SearchConfig) -> Engine:
        given = config.model_dump(include=config.model_fields_set | {"lookback"})
        if changes.get("engine") == "optuna":
            given = {name: value for name, value in given.items() if name not in RAY_ONLY}
        return chosen_engine(objective, make_config(given | dict(changes)))

    return make


def local_engine(objective: Objective, config: SearchConfig) -> LocalEngine:
    """Worker processes on this machine, as the settings say."""
    return LocalEngine(objective, config.workers, config.threads, config.timeout_seconds)


def ray_engine(objective: Objective, config: SearchConfig) -> RayEngine:
    """Trials of Ray Tune, as the settings say."""
    return RayEngine(
        objective,
        RaySettings(
            n_workers=config.workers,
            n_threads=config.threads,
            timeout_seconds=config.timeout_seconds,
            address=config.ray_address,
            cpus_per_trial=config.cpus_per_trial,
            gpus_per_trial=config.gpus_per_trial,
            pruner=config.pruner,
        ),
    )
