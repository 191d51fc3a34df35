"""Comparing given policies without a search: the last rung of a study, on its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policysearch import run as runs
from policysearch.baselines import BASELINES
from policysearch.config import DEFAULT_GENERATOR, SearchConfig
from policysearch.corruptions.base import unseen_by
from policysearch.engines.base import Engine
from policysearch.engines.choose import MakeEngine, chosen_engine
from policysearch.errors import InvalidValueError, RunError
from policysearch.files import write_json
from policysearch.measures import Measure
from policysearch.metrics import AXES, METRICS
from policysearch.named import resolve_policy
from policysearch.objectives.base import Objective
from policysearch.ops.registry import company_ops
from policysearch.policy import Policy
from policysearch.problems.base import Problem, Rung
from policysearch.problems.choose import make_problem
from policysearch.run import Progress, Run, StopRequest
from policysearch.seeding import rung_seed
from policysearch.space_yaml import DEFAULT_SPACE, load_space
from policysearch.trial import Outcome, Replicate, Task
from policysearch.verdict import Arm, make_verdict


class Engines:
    """The engine of each rung: rungs that share an objective share its processes."""

    def __init__(
        self, problem: Problem, config: SearchConfig, make_engine: MakeEngine, run: Path
    ) -> None:
        self._problem = problem
        self._run = run
        self._config = config
        self._make_engine = make_engine
        self._objective: Objective | None = None
        self._engine: Engine | None = None

    def __enter__(self) -> Engines:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def of(self, rung: Rung) -> Engine:
        """The engine of a rung; that of another objective is closed."""
        objective = self._problem.objective(rung, self._run)
        if self._engine is None or objective is not self._objective:
            self._close()
            self._engine = self._make_engine(objective, self._config)
            self._objective = objective
        return self._engine

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def compare(
    config: SearchConfig, out: Path, progress: Progress, make_engine: MakeEngine = chosen_engine
) -> dict[str, Any]:
    """Compares the policies of the settings into a new directory; returns the verdict."""
    runs.check_new_directory(out)
    comparison = Comparison(config, progress, make_engine)
    runs.create_run_directory(out, config)
    return comparison.execute(out)


class Comparison:
    """Policies side by side on the test split; the first is compared with each other one.

    Policies are applied as they are written, except that published pixel magnitudes stay pixels.
    """

    def __init__(
        self, config: SearchConfig, progress: Progress, make_engine: MakeEngine = chosen_engine
    ) -> None:
        self.config = config
        self.progress = progress
        self.make_engine = make_engine
        check_names(config.policies)
        self.problem = make_problem(config, progress)
        self.arms = {name: arm_policy(name, self.problem) for name in config.policies}
        asks = (spec.needs_fit for policy in self.arms.values() for spec in company_ops(policy))
        check_generator_is_asked(config, any(asks), "these policies")
        self._tell_of_generators()

    def _tell_of_generators(self) -> None:
        """Says which policies were searched with another generator than all get here."""
        here = self.config.generator
        for name in self.config.policies:
            source = None if name in BASELINES else resolve_policy(name).generator
            if source is not None and source.name != here:
                text = f"'{here}' for all, but '{name}' was searched with '{source.name}'"
                hint = "Say --generator to compare them with another one."
                self.progress({"event": "generator", "text": text, "notices": [hint]})

    def execute(self, out: Path) -> dict[str, Any]:
        """Trains what the run directory does not hold yet and writes the verdict."""
        config, epochs = self.config, self.problem.epochs
        n = config.subsets or config.verdict_seeds
        seeds = [rung_seed(config.seed, "verdict", i) for i in range(n)]
        header = {**self.problem.header(), "seed": config.seed, "epochs": epochs}
        with Run(out, config, header) as run, StopRequest(self.progress) as stop:
            with Engines(self.problem, config, self.make_engine, out) as engines:
                arms = {name: [policy] * n for name, policy in self.arms.items()}
                engine = engines.of("verdict")
                measure, overlap = self.problem.measure, self.problem.overlap
                results = run_arms(
                    run, engine, stop, self.progress, arms, seeds, epochs, measure, overlap
                )
            verdict = make_verdict(results, next(iter(self.arms)), seeds, measure)
            write_json(out / "verdict.json", verdict)
        self.progress({"event": "finished", "out": str(out), "verdict": verdict})
        return verdict


def check_generator_is_asked(config: SearchConfig, is_asked: bool, where: str) -> None:
    """Refuses settings of a generator that no operation draws from; `where` names what has none.

    Raises:
      InvalidValueError: For them.
    """
    is_chosen = config.generator != DEFAULT_GENERATOR
    given = [f"`generator`, {config.generator!r},"] if is_chosen else []
    given += ["`export_generators`"] if config.export_generators else []
    if given and not is_asked:
        raise InvalidValueError(
            f"{given[0]} means nothing for {where}: no operation draws from a generator. Leave it "
            "out, or use a space with `synthesize` or `latent_mix`, such as --space full."
        )


def check_names(sources: tuple[str, ...]) -> None:
    """Refuses what cannot be compared, before data are read.

    Raises:
      InvalidValueError: For fewer than two policies, or the same one twice.
      PolicySearchError: For a name that is not known, or a file that is not valid.
    """
    if len(sources) < 2:
        raise InvalidValueError(
            f"`compare` needs at least 2 policies, got {len(sources)}. "
            "Add 'none' to compare with no augmentation."
        )
    for i, source in enumerate(sources):
        if source in sources[:i]:
            raise InvalidValueError(f"Policy '{source}' is given twice.")
        resolve_policy(source)


def arm_policy(source: str, problem: Problem) -> Policy:
    """A policy by name, for the data of a problem.

    The names of search-free arms stand for those of the default space where the data are no
    images, for which they are published.

    Raises:
      InvalidValueError: For a policy for another kind of data.
    """
    modality = problem.modality
    if modality != "image" and source in BASELINES:
        return problem.baselines(problem.restricted(load_space(DEFAULT_SPACE, modality)))[source]
    policy = resolve_policy(source).policy
    if policy.modality != modality:
        known = ", ".join(BASELINES)
        raise InvalidValueError(
            f"Policy '{source}' is for {policy.modality} data, but these are {modality} data. "
            f"Names for them: {known}."
        )
    return policy


def run_arms(
    run: Run,
    engine: Engine,
    stop: StopRequest,
    progress: Progress,
    arms: Mapping[str, Sequence[Policy]],
    seeds: Sequence[int],
    n_epochs: int,
    measure: Measure,
    overlap: float | None = None,
) -> list[Arm]:
    """Trains every arm with every seed at full length and collects what it is measured by.

    `arms` holds one policy per seed for each arm. Where training sets were drawn, with an
    `overlap`, every seed has one of its own.

    Raises:
      RunError: When a training failed for good: an arm without all its scores has no interval.
        What failed is tried again when the run goes on.
    """
    tasks = [
        Task(
            f"verdict/{name}/{i}",
            policies[i],
            (Replicate(0 if overlap is None else i, seed),),
            n_epochs,
        )
        for i, seed in enumerate(seeds)
        for name, policies in arms.items()
    ]
    run.begin_rung("verdict", len(tasks), progress)
    outcomes = run.run_tasks(tasks, engine, stop, progress)
    run.require_all(outcomes, "the final comparison")
    unseen = unseen_by(policy for policies in arms.values() for policy in policies)
    numbers = range(len(seeds))
    collected = [
        _arm(name, [outcomes[f"verdict/{name}/{i}"] for i in numbers], measure.key, unseen)
        for name in arms
    ]
    return [dataclasses.replace(arm, overlap=overlap) for arm in collected]


def _arm(name: str, outcomes: Sequence[Outcome], metric: str, unseen: Sequence[str]) -> Arm:
    """An arm from the outcomes of its seeds."""
    measured = [outcome.metrics[0] for outcome in outcomes]
    if any(metric not in metrics for metrics in measured):
        raise RunError(
            f"The trainings of arm '{name}' did not measure '{metric}', only "
            f"{', '.join(sorted(measured[0]))}. Choose another --metric."
        )
    resampled = tuple(outcome.resampled for outcome in outcomes)
    return Arm(
        name,
        tuple(metrics[metric] for metrics in measured),
        sum(outcome.seconds for outcome in outcomes),
        resampled if all(resampled) else (),
        _axes(measured, metric, unseen),
        by_class=_by_class(measured),
    )


def _by_class(measured: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """Accuracy on each class, one value per training."""
    keys = [key for key in measured[0] if key.startswith("class:")]
    return {
        key.removeprefix("class:"): tuple(metrics[key] for metrics in measured)
        for key in keys
        if all(key in metrics for metrics in measured)
    }


def _axes(
    measured: Sequence[Mapping[str, float]], metric: str, unseen: Sequence[str]
) -> dict[str, float]:
    """What else every training measured: means by name.

    Accuracies on corrupted samples only for corruptions that no arm has been trained for.
    """
    corruptions = [f"corrupted:{name}" for name in unseen]
    means = {
        name: float(np.mean([metrics[name] for metrics in measured]))
        for name in [*METRICS, *AXES, *corruptions]
        if name != metric and all(name in metrics for metrics in measured)
    }
    seen = [means[name] for name in corruptions if name in means]
    return means | ({"corruption_accuracy": float(np.mean(seen))} if seen else {})
