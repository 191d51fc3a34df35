"""Comparing given policies without a search: the last rung of a study, on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from policysearch import run as runs
from policysearch.config import SearchConfig
from policysearch.engines.local import LocalEngine
from policysearch.errors import InvalidValueError
from policysearch.named import resolve_policy
from policysearch.objectives.from_scratch import FinalTraining
from policysearch.policy import Policy
from policysearch.proxies.image import config_for, default_epochs
from policysearch.run import Progress, Run, StopRequest
from policysearch.study import load_splits, run_arms, rung_seed, write_json
from policysearch.verdict import make_verdict


def compare(config: SearchConfig, out: Path, progress: Progress) -> dict[str, Any]:
    """Compares the policies of the settings into a new directory; returns the verdict."""
    comparison = Comparison(config, progress)
    runs.create_run_directory(out, config)
    return comparison.execute(out)


class Comparison:
    """Policies side by side on the test split; the first is compared with each other one.

    Policies are applied as they are written, except that published pixel magnitudes stay pixels.
    """

    def __init__(self, config: SearchConfig, progress: Progress) -> None:
        self.config = config
        self.progress = progress
        self.arms = named_arms(config.policies)
        self.splits = load_splits(config, progress)

    def execute(self, out: Path) -> dict[str, Any]:
        """Trains what the run directory does not hold yet and writes the verdict."""
        config, data = self.config, self.splits.final
        proxy = config_for(data.train, config.device)
        epochs = config.epochs or default_epochs(len(data.train))
        seeds = [rung_seed(config.seed, "verdict", i) for i in range(config.verdict_seeds)]
        header = {"dataset": data.train.fingerprint, "seed": config.seed}
        with Run(out, config, header) as run, StopRequest(self.progress) as stop:
            with LocalEngine(
                FinalTraining(data, proxy), config.workers, config.threads, config.timeout_seconds
            ) as engine:
                arms = {name: [policy] * len(seeds) for name, policy in self.arms.items()}
                results = run_arms(run, engine, stop, self.progress, arms, seeds, epochs)
            verdict = make_verdict(results, next(iter(self.arms)), seeds)
            write_json(out / "verdict.json", verdict)
        self.progress({"event": "finished", "out": str(out), "verdict": verdict})
        return verdict


def named_arms(sources: tuple[str, ...]) -> dict[str, Policy]:
    """Policies by the names they were given under; two of one name or fewer than two are refused.

    Raises:
      InvalidValueError: For fewer than two policies, or the same one twice.
    """
    if len(sources) < 2:
        raise InvalidValueError(
            f"`compare` needs at least 2 policies, got {len(sources)}. "
            "Add 'none' to compare with no augmentation."
        )
    arms: dict[str, Policy] = {}
    for source in sources:
        if source in arms:
            raise InvalidValueError(f"Policy '{source}' is given twice.")
        arms[source] = resolve_policy(source).policy
    return arms
