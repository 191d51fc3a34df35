"""One search from data to verdict: the heart of the house.

    data -> splits -> search (many cheap trials) -> confirm (the best few and the baselines, fresh
    seeds, full length, validation data: decides what is exported) -> verdict (all arms on the
    test split: reports, decides nothing) -> policy.json

Every rung writes its outcomes to the ledger; `resume` runs the same code and skips what is there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from policysearch import run as runs
from policysearch.baselines import BASELINES, random_like
from policysearch.comparison import (
    Comparison,
    Engines,
    run_arms,
    rung_seed,
    write_json,
)
from policysearch.config import SearchConfig
from policysearch.engines.base import Engine
from policysearch.engines.choose import MakeEngine, chosen_engine
from policysearch.errors import InvalidValueError, RunError
from policysearch.policy import Policy
from policysearch.policy_json import PolicyDocument, write_policy_file
from policysearch.problems.choose import make_problem
from policysearch.run import Progress, Run, StopRequest
from policysearch.search_loop import SearchLoop
from policysearch.seeding import generator
from policysearch.selection import Selection, halving, pick_candidates, select
from policysearch.space import SearchSpace
from policysearch.space_yaml import DEFAULT_SPACE, load_space
from policysearch.trial import Outcome, Replicate, Task, Trial
from policysearch.verdict import make_verdict


def search(
    config: SearchConfig, out: Path, progress: Progress, make_engine: MakeEngine = chosen_engine
) -> dict[str, Any]:
    """Runs a whole search into a new directory; returns the verdict.

    Args:
      config: Settings.
      out: Run directory, new or empty.
      progress: Told of every step as a mapping with the key `event`.
      make_engine: Decides where the trainings run.

    Raises:
      PolicySearchError: For wrong input before anything is written, or a run that cannot go on.
      KeyboardInterrupt: After Ctrl-C; `resume` goes on.
    """
    study = Study(config, progress, make_engine)
    study.check_budget()
    runs.create_run_directory(out, config)
    return study.execute(out)


def resume(
    out: Path, progress: Progress, make_engine: MakeEngine = chosen_engine
) -> dict[str, Any]:
    """Goes on with an interrupted search or comparison; returns its verdict."""
    config = runs.open_config(out)
    kind = Comparison if config.policies else Study
    return kind(config, progress, make_engine).execute(out)


#: Starting the worker processes, once for the search and once for the verdict.
START_SECONDS = 10.0


class Study:
    """The inputs of a search, loaded and checked; `execute` runs it into a directory."""

    def __init__(
        self, config: SearchConfig, progress: Progress, make_engine: MakeEngine = chosen_engine
    ) -> None:
        self.config = config
        self.progress = progress
        self.make_engine = make_engine
        if config.space is not None and "/" in config.space:
            load_space(config.space)  # what is wrong with it is said before data are read
        self.problem = make_problem(config, progress)
        space = load_space(config.space or DEFAULT_SPACE, self.problem.modality)
        if not space.parameters():
            raise InvalidValueError(
                f"Space '{space.name}' has nothing to search. Compare its policy with others: "
                f"policysearch compare {config.data} none trivialaugment-wide uniformaugment"
            )
        self.space: SearchSpace = self.problem.restricted(space)
        self.baselines = self.problem.baselines(self.space)

    def execute(self, out: Path) -> dict[str, Any]:
        """Runs every rung that the run directory does not hold yet."""
        with Run(out, self.config, self._header()) as run, StopRequest(self.progress) as stop:
            with Engines(self.problem, self.config, self.make_engine, out) as engines:
                trials = self._search(run, engines.of("search"), stop)
                selection = self._confirm(run, engines.of("confirm"), stop, trials)
                verdict = self._verdict(run, engines.of("verdict"), stop, selection)
            self._export(run, trials, selection, verdict)
        return verdict

    def _header(self) -> dict[str, Any]:
        """Whatever decides the outcomes: a run goes on with the same or not at all."""
        config = self.config
        return {
            "space": self.space.digest(),
            **self.problem.header(),
            "folds": self.problem.n_folds,
            "seed": config.seed,
            "sampler": config.sampler,
            # Runs that began before there was a choice have no such line.
            **({} if config.strategy == "screened" else {"strategy": config.strategy}),
            **self._objective(),
            "trials": config.trials,
            "lookback": config.lookback,
            "prune": config.prune,
            **({} if config.pruner == "median" else {"pruner": config.pruner}),
            "epochs": self.problem.epochs,
            "search_epochs": self.problem.search_epochs,
        }

    def _objective(self) -> dict[str, str]:
        """The objective of the search; runs that began before there was a choice have none."""
        name = self.problem.searched_by
        return {} if name == "from_scratch" else {"objective": name}

    def _search(self, run: Run, engine: Engine, stop: StopRequest) -> list[Trial]:
        self._learn_length(run, engine, stop)
        seconds, n_planned = self._plan_of_search(run)
        run.begin_rung("search", n_planned, self.progress)
        replicates = self._replicates("search", 1)
        loop = SearchLoop(
            run, self.space, self.baselines, replicates, self.problem.search_epochs, n_planned
        )
        return loop.run(engine, stop, self.progress, seconds)

    def _plan_of_search(self, run: Run) -> tuple[float | None, int]:
        """Seconds and number of trials of the search over all sessions, decided once."""
        config = self.config
        if config.budget_seconds is None:
            return None, config.trials
        if not run.records("budget"):
            seconds = self._search_seconds()
            n_held = int(seconds * config.workers / self._trial_seconds())
            planned = min(config.trials, max(n_held, len(self.baselines) + 1))
            run.record("budget", {"search_seconds": round(seconds, 3), "trials": planned})
        budget = run.records("budget")[0]
        return float(budget["search_seconds"]), int(budget["trials"])

    def _replicates(self, rung: str, n_seeds: int) -> tuple[Replicate, ...]:
        """Every fold of a rung with every seed; equal for all policies: they are paired."""
        seeds = [rung_seed(self.config.seed, rung, i) for i in range(n_seeds)]
        n_folds = self.problem.n_folds
        first = n_folds if rung == "confirm" else 0  # the confirmation has folds of its own
        return tuple(
            Replicate(fold, seed) for seed in seeds for fold in range(first, first + n_folds)
        )

    def _confirm(
        self, run: Run, engine: Engine, stop: StopRequest, trials: Sequence[Trial]
    ) -> Selection:
        """Trains the best trials and the baselines with fresh seeds and fresh validation folds.

        In rounds of one seed over all folds; after each round the worse half of the candidates
        drops out, the baselines stay.
        """
        config = self.config
        arms = pick_candidates(trials, config.candidates, self.baselines.values())
        scores: dict[str, list[float]] = {name: [] for name in [*self.baselines, *arms]}
        replicates = self._replicates("confirm", config.confirm_seeds)
        n_folds = self.problem.n_folds
        survivors = halving(len(arms), config.confirm_seeds)
        n_tasks = n_folds * sum(n + len(self.baselines) for n in survivors)
        run.begin_rung("confirm", n_tasks, self.progress)
        for round_index, n_left in enumerate(survivors):
            means = {name: sum(scores[name]) for name in arms}
            arms = {name: arms[name] for name in sorted(arms, key=means.__getitem__)[:n_left]}
            active = self.baselines | arms
            first = round_index * n_folds
            numbers = range(first, first + n_folds)
            tasks = [
                Task(f"confirm/{name}/{i}", policy, (replicates[i],), self.problem.epochs)
                for i in numbers
                for name, policy in active.items()
            ]
            outcomes = run.run_tasks(tasks, engine, stop, self.progress)
            for name in active:
                scores[name] += _scores(outcomes, f"confirm/{name}", numbers)
        active = self.baselines | arms
        selection = select(active, {name: scores[name] for name in active}, BASELINES)
        self.progress({"event": "selected", **self._told(selection)})
        return selection

    def _told(self, selection: Selection) -> dict[str, Any]:
        """A selection with the scores as the user knows them."""
        told = selection.to_dict()
        told["metric"] = self.problem.measure.score_title
        value_of = self.config.scale.value_of
        told["scores"] = {name: value_of(score) for name, score in told["scores"].items()}
        return told

    def _verdict(
        self, run: Run, engine: Engine, stop: StopRequest, selection: Selection
    ) -> dict[str, Any]:
        """Trains all arms on all training data and reads the test split, once per arm and seed."""
        seeds = [
            rung_seed(self.config.seed, "verdict", i) for i in range(self.config.verdict_seeds)
        ]
        arms: dict[str, list[Policy]] = {
            name: [policy] * len(seeds) for name, policy in self.baselines.items()
        }
        arms["random"] = [
            random_like(selection.found, self.space, generator(seed, "random")) for seed in seeds
        ]
        arms["found"] = [selection.found] * len(seeds)
        measure, epochs = self.problem.measure, self.problem.epochs
        results = run_arms(run, engine, stop, self.progress, arms, seeds, epochs, measure)
        result = make_verdict(results, selection.chosen_arm, seeds, measure)
        result["validation"] = self._told(selection)
        return result

    def _export(
        self, run: Run, trials: Sequence[Trial], selection: Selection, verdict: Mapping[str, Any]
    ) -> None:
        provenance = {
            **self.problem.provenance(),
            "space": self.space.name,
            "space_digest": self.space.digest(),
            "seed": self.config.seed,
            "trials": len(trials),
            "seconds": rung_seconds(run),
            "versions": runs.versions(),
            "origin": selection.origin if selection.chosen_arm == "found" else "search-free",
        }
        document = PolicyDocument(selection.chosen, selection.chosen_arm, provenance, verdict)
        write_json(run.path / "verdict.json", verdict)
        write_policy_file(run.path / "policy.json", document)
        self.progress({"event": "finished", "out": str(run.path), "verdict": verdict})

    def check_budget(self) -> None:
        """Refuses a budget that cannot hold a single trial, before anything is written.

        The first trials are the search-free policies; the one that is meant comes after them.
        """
        if self.config.budget_seconds is not None and self._training_seconds is not None:
            self._check_budget(self.config.budget_seconds)

    def _check_budget(self, budget: float) -> None:
        left = self._search_seconds()
        n_rounds = math.ceil((len(self.baselines) + 1) / self.config.workers)
        need = n_rounds * self._trial_seconds()
        if left < need:
            least = 1.25 * (budget - left + need)  # times are estimates
            shorter = (
                "shorter trainings"
                if self.config.is_own_training
                else ("--epochs, or a smaller --train-size")
            )
            raise InvalidValueError(
                f"`--budget` of {budget:.0f} s is too small to finish one "
                f"trial: the first ones take about {need:.1f} s here and the comparisons about "
                f"{budget - left:.0f} s. Give at least {least:.0f} s, fewer "
                f"--verdict-seeds or {shorter}."
            )

    def _search_seconds(self) -> float:
        """What the final comparison leaves of the budget for the search."""
        survivors = halving(self.config.candidates, self.config.confirm_seeds)
        n_confirm = sum(n + len(self.baselines) for n in survivors)
        n_confirm *= self.problem.n_folds
        n_final = (len(self.baselines) + 2) * self.config.verdict_seeds
        comparison = (n_confirm + n_final) * (self._training_seconds or 0.0) / self.config.workers
        return float(self.config.budget_seconds or math.inf) - comparison - START_SECONDS

    def _trial_seconds(self) -> float:
        shorter = self.problem.search_epochs / self.problem.epochs
        share = shorter * self.problem.search_cost
        return (self._training_seconds or 0.0) * share * self.problem.n_folds

    @functools.cached_property
    def _training_seconds(self) -> float | None:
        """Estimated seconds of a full training, from a few measured epochs, where we can."""
        return self.problem.training_seconds(self.baselines["trivialaugment"])

    def _learn_length(self, run: Run, engine: Engine, stop: StopRequest) -> None:
        """Measures how long a training takes, on some that the confirmation needs in any case.

        Raises:
          RunError: When they failed, or the budget turns out too small.
        """
        if self.config.budget_seconds is None or self._training_seconds is not None:
            return
        replicate = self._replicates("confirm", 1)[0]
        tasks = [
            Task(f"confirm/{name}/0", policy, (replicate,), self.problem.epochs)
            for name, policy in list(self.baselines.items())[: self.config.workers]
        ]
        self.progress({"event": "rung", "name": "length", "of": len(tasks)})
        outcomes = run.run_tasks(tasks, engine, stop, self.progress).values()
        seconds = [outcome.seconds for outcome in outcomes if outcome.score is not None]
        if not seconds:
            keys = [task.key for task in tasks]
            run.void(keys)
            message = next(iter(outcomes)).message.strip()
            raise RunError(f"The first trainings failed. '{keys[0]}': {message}")
        self._training_seconds = sum(seconds) / len(seconds)
        try:
            self._check_budget(self.config.budget_seconds)
        except InvalidValueError as error:
            raise RunError(f"{error} This is a new run: settings are not changed later.") from None


def rung_seconds(run: Run) -> dict[str, float]:
    """Seconds of computing by rung, summed over workers."""
    totals = {"search": sum(r["seconds"] for r in run.records("trial"))}
    for record in run.records("task"):
        rung = record["key"].split("/")[0]
        totals[rung] = totals.get(rung, 0.0) + record["seconds"]
    return {rung: round(seconds, 1) for rung, seconds in totals.items()}


def _scores(outcomes: Mapping[str, Outcome], prefix: str, numbers: Iterable[int]) -> list[float]:
    """Scores of an arm; infinite where a training failed."""
    found = [outcomes[f"{prefix}/{i}"].score for i in numbers]
    return [math.inf if score is None else score for score in found]
