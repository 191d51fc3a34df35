"""Comparing given policies without a search: the last rung of a study, on its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from policysearch import run as runs
from policysearch.config import SearchConfig
from policysearch.data.duplicates import split_duplicates
from policysearch.data.source import load_source
from policysearch.data.splits import Splits, make_splits
from policysearch.engines.base import Engine
from policysearch.engines.local import LocalEngine
from policysearch.errors import InvalidValueError, RunError
from policysearch.files import json_text, write_atomic
from policysearch.named import resolve_policy
from policysearch.objectives.base import Objective
from policysearch.objectives.from_scratch import FinalTraining
from policysearch.policy import Policy
from policysearch.proxies.image import config_for, default_epochs
from policysearch.run import Progress, Run, StopRequest
from policysearch.seeding import derive_seed
from policysearch.trial import Replicate, Task
from policysearch.verdict import Arm, make_verdict

#: Makes the engine that evaluates an objective; the caller closes it.
MakeEngine = Callable[[Objective, SearchConfig], Engine]


def local_engine(objective: Objective, config: SearchConfig) -> LocalEngine:
    """Worker processes on this machine, as the settings say."""
    return LocalEngine(objective, config.workers, config.threads, config.timeout_seconds)


def compare(
    config: SearchConfig, out: Path, progress: Progress, make_engine: MakeEngine = local_engine
) -> dict[str, Any]:
    """Compares the policies of the settings into a new directory; returns the verdict."""
    comparison = Comparison(config, progress, make_engine)
    runs.create_run_directory(out, config)
    return comparison.execute(out)


class Comparison:
    """Policies side by side on the test split; the first is compared with each other one.

    Policies are applied as they are written, except that published pixel magnitudes stay pixels.
    """

    def __init__(
        self, config: SearchConfig, progress: Progress, make_engine: MakeEngine = local_engine
    ) -> None:
        self.config = config
        self.progress = progress
        self.make_engine = make_engine
        self.arms = named_arms(config.policies)
        self.splits = load_splits(config, progress)

    def execute(self, out: Path) -> dict[str, Any]:
        """Trains what the run directory does not hold yet and writes the verdict."""
        config, data = self.config, self.splits.final
        proxy = config_for(data.train, config.device)
        epochs = config.epochs or default_epochs(len(data.train))
        seeds = [rung_seed(config.seed, "verdict", i) for i in range(config.verdict_seeds)]
        header = {
            "dataset": data.train.fingerprint,
            "test": data.test.fingerprint,
            "seed": config.seed,
            "epochs": epochs,
        }
        with Run(out, config, header) as run, StopRequest(self.progress) as stop:
            with closing(self.make_engine(FinalTraining(data, proxy), config)) as engine:
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


def load_splits(config: SearchConfig, progress: Progress) -> Splits:
    """Loads and splits the data of a run, and reports notices and near-duplicates."""
    with contextlib.redirect_stdout(sys.stderr):  # a user's function may print
        source = load_source(
            config.data,
            image_size=config.image_size,
            skip_bad=config.skip_bad,
            group_pattern=config.group_pattern,
        )
    splits = make_splits(
        source,
        seed=config.data_seed,
        train_size=config.train_size,
        val_share=config.val_share,
        n_folds=config.folds,
    )
    notices = [*source.notices, *splits.notices, *split_duplicates(splits)]
    progress({"event": "data", "text": splits.describe(), "notices": notices})
    return splits


def run_arms(
    run: Run,
    engine: Engine,
    stop: StopRequest,
    progress: Progress,
    arms: Mapping[str, Sequence[Policy]],
    seeds: Sequence[int],
    n_epochs: int,
) -> list[Arm]:
    """Trains every arm with every seed at full length and collects the test accuracies.

    `arms` holds one policy per seed for each arm.

    Raises:
      RunError: When a training failed for good: an arm without all its scores has no interval.
        What failed is tried again when the run goes on.
    """
    tasks = [
        Task(f"verdict/{name}/{i}", policies[i], (Replicate(0, seed),), n_epochs)
        for i, seed in enumerate(seeds)
        for name, policies in arms.items()
    ]
    run.begin_rung("verdict", len(tasks), progress)
    outcomes = run.run_tasks(tasks, engine, stop, progress)
    failed = [key for key, outcome in outcomes.items() if outcome.state != "complete"]
    if failed:
        run.void(failed)
        raise RunError(
            f"{len(failed)} of {len(tasks)} trainings of the final comparison failed. "
            f"'{failed[0]}': {outcomes[failed[0]].message.strip()}\n"
            f"They are tried again by: policysearch resume {run.path}"
        )
    result = []
    for name in arms:
        mine = [outcomes[f"verdict/{name}/{i}"] for i in range(len(seeds))]
        scores = tuple(outcome.metrics[0]["accuracy"] for outcome in mine)
        result.append(Arm(name, scores, sum(outcome.seconds for outcome in mine)))
    return result


def rung_seed(root: int, rung: str, i: int) -> int:
    """Training seed `i` of a rung; other rungs have other seeds."""
    return derive_seed(root, rung, i) % 2**31


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Writes JSON atomically, readable by people."""
    write_atomic(path, json_text(data))
