"""One search from data to verdict: the heart of the house.

    baselines (the search-free policies, validation data: is there head-room?)
    -> search (many cheap trials) -> confirm (the best few beside the baselines, fresh seeds, full
    length, validation data: decides what is exported) -> verdict (all arms on the test split:
    reports, decides nothing) -> policy.json

Every rung writes its outcomes to the ledger; `resume` runs the same code and skips what is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policysearch import run as runs
from policysearch.baselines import random_like
from policysearch.budget import Plan, make_plan
from policysearch.comparison import (
    Comparison,
    Engines,
    check_generator_is_asked,
    run_arms,
)
from policysearch.config import SearchConfig, write_config
from policysearch.confirmation import Confirmation
from policysearch.costs import PolicyCost
from policysearch.engines.base import Engine
from policysearch.engines.choose import MakeEngine, chosen_engine
from policysearch.errors import InvalidValueError, RunError
from policysearch.files import write_json
from policysearch.front import Point, front_of, with_cost
from policysearch.headroom import Headroom
from policysearch.ladder import agreement, rung_seconds
from policysearch.objectives.checkpoints import remove_checkpoints
from policysearch.policy import Policy
from policysearch.policy_json import PolicyDocument, write_policy_file
from policysearch.problems.choose import make_problem
from policysearch.run import Progress, Run, StopRequest
from policysearch.samplers.calibration import probes_of
from policysearch.samplers.known import Known
from policysearch.samplers.strategies import STRATEGIES
from policysearch.search_loop import SearchLoop
from policysearch.seeding import generator, rung_seed
from policysearch.selection import Selection
from policysearch.space import RareClasses, SearchSpace
from policysearch.space_yaml import DEFAULT_SPACE, SUFFIXES, check_space_name, load_space
from policysearch.trial import Replicate, Trial
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
    runs.check_new_directory(out)
    study = Study(config, progress, make_engine)
    progress({"event": "plan", **study.plan().to_dict()})
    runs.create_run_directory(out, config)
    return study.execute(out)


def resume(
    out: Path,
    progress: Progress,
    make_engine: MakeEngine = chosen_engine,
    *,
    search_anyway: bool = False,
) -> dict[str, Any]:
    """Goes on with an interrupted search or comparison; returns its verdict.

    With `search_anyway` a search that ended because it saw no head-room goes on as well.
    """
    config = runs.open_config(out)
    if search_anyway and not config.search_anyway:
        config = config.model_copy(update={"search_anyway": True})
        write_config(out / "config.yaml", config)
    kind = Comparison if config.policies else Study
    return kind(config, progress, make_engine).execute(out)


class Study:
    """The inputs of a search, loaded and checked; `execute` runs it into a directory."""

    def __init__(
        self, config: SearchConfig, progress: Progress, make_engine: MakeEngine = chosen_engine
    ) -> None:
        self.config = config
        self.progress = progress
        self.make_engine = make_engine
        if config.space is not None:  # what is wrong with it is said before data are read
            check_space_name(config.space)
            if "/" in config.space or config.space.endswith(SUFFIXES):
                has_rare = load_space(config.space).rare_classes is not None
                if has_rare and not config.rare_classes:
                    self.config = config = config.model_copy(update={"rare_classes": True})
        self.problem = make_problem(config, progress)
        space = load_space(config.space or DEFAULT_SPACE, self.problem.modality)
        if not space.parameters():
            raise InvalidValueError(
                f"Space '{space.name}' has nothing to search. Compare its policy with others: "
                f"policysearch compare {config.data} none trivialaugment-wide uniformaugment"
            )
        check_generator_is_asked(config, bool(space.ops_with_generator), f"space '{space.name}'")
        strategy = STRATEGIES[config.strategy]
        if config.rare_classes and space.rare_classes is None:
            space = dataclasses.replace(space, rare_classes=RareClasses())
        gentle = self.problem.restricted(space).gentler(config.range_share)
        self.space: SearchSpace = strategy.shaped(gentle)
        self.baselines = self.problem.baselines(self.space)
        self._seconds: float | None = None

    def plan(self) -> Plan:
        """What the run will take, from a few measured steps or from the first rung.

        Raises:
          InvalidValueError: For a budget that does not hold a single trial.
        """
        if self._seconds is None:
            dearest = max(self.baselines.values(), key=lambda policy: policy.n_choices)
            self._seconds = self.problem.training_seconds(dearest)
        plan = make_plan(self.problem, self.config, len(self.baselines), self._seconds)
        n_needed = STRATEGIES[self.config.strategy].min_trials(self.space)
        if self.config.trials >= n_needed:
            return plan
        told = (
            f"Strategy '{self.config.strategy}' tries every op alone from {n_needed} trials on, "
            f"got {self.config.trials}: give --trials {n_needed} or more, or no op is screened."
        )
        return dataclasses.replace(plan, advice=(*plan.advice, told))

    def execute(self, out: Path) -> dict[str, Any]:
        """Runs every rung that the run directory does not hold yet."""
        with (
            Run(out, self.config, self._header()) as run,
            StopRequest(self.progress) as stop,
            Engines(self.problem, self.config, self.make_engine, out) as engines,
        ):
            confirmation = Confirmation(run, self.problem, self.baselines, stop, self.progress)
            room = confirmation.run_baselines(engines.of("confirm"), self._probes())
            is_last = not room.is_found and not self.config.search_anyway
            self.progress({"event": "headroom", **room.to_dict(), "is_last": is_last})
            if is_last:
                return self._end_without_search(run, room, self._told_of_ops(confirmation))
            self._seconds = self._seconds or confirmation.training_seconds()
            cost = self._cost(run)
            known = Known(confirmation.calibration, cost, (room.best, self.baselines[room.best]))
            trials = self._search(run, engines.of("search"), stop, known)
            selection = confirmation.run_candidates(engines.of("confirm"), trials, cost)
            self.progress({"event": "selected", **self._told(selection)})
            front = [] if cost is None else front_of(selection, cost)
            verdict = self._verdict(run, engines.of("verdict"), stop, selection, cost)
            verdict |= {
                "validation": self._told(selection),
                "headroom": room.to_dict(),
                **self._told_of_ops(confirmation),
                "rungs": {"seconds": rung_seconds(run), **agreement(trials, selection, verdict)},
            }
            if front:
                verdict["front"] = [point.to_dict() for point in front]
                self._export_front(run, front, len(trials))
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
            **({"objectives": list(config.objectives)} if config.weighs_cost else {}),
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

    def _probes(self) -> Mapping[str, Policy]:
        """What networks that were trained without augmentation are asked."""
        return probes_of(self.space) if STRATEGIES[self.config.strategy].is_calibrated else {}

    def _told_of_ops(self, confirmation: Confirmation) -> dict[str, Any]:
        """What is left out and why, and the curves of the calibration, where there are such."""
        found, left_out = confirmation.calibration, self.problem.left_out
        told: dict[str, Any] = {"left_out": dict(left_out)} if left_out else {}
        if found is None:
            return told
        return told | {"calibration": found.to_dict(self.space, self.problem.classes)}

    def _cost(self, run: Run) -> PolicyCost | None:
        """Tells the cost of policies by what was measured when the run began, or is now."""
        if not self.config.weighs_cost:
            return None
        if not run.records("op_costs"):
            ops = self.problem.op_costs(self.space, self.baselines.values())
            run.record("op_costs", {"seconds": dict(ops or {})})
        return PolicyCost(run.records("op_costs")[0]["seconds"])

    def _search(self, run: Run, engine: Engine, stop: StopRequest, known: Known) -> list[Trial]:
        seconds, n_planned = self._limits_of_search(run)
        run.begin_rung("search", n_planned, self.progress)
        seed = rung_seed(self.config.seed, "search", 0)
        replicates = tuple(Replicate(fold, seed) for fold in range(self.problem.n_folds))
        warm_start = {"none": self.baselines["none"]}  # the others are known from the first rung
        epochs = self.problem.search_epochs
        loop = SearchLoop(run, self.space, warm_start, replicates, epochs, n_planned, known=known)
        trials = loop.run(engine, stop, self.progress, seconds)
        remove_checkpoints(run.path)
        return trials

    def _limits_of_search(self, run: Run) -> tuple[float | None, int]:
        """Seconds and number of trials of the search over all sessions, decided once."""
        if self.config.budget_seconds is None:
            return None, self.config.trials
        if not run.records("budget"):
            try:
                plan = self.plan()
            except InvalidValueError as error:  # found out by the first trainings
                raise RunError(f"{error} This needs a new run.") from None
            seconds = round(plan.search_seconds or self.config.budget_seconds, 3)
            run.record("budget", {"search_seconds": seconds, "trials": plan.n_trials})
        budget = run.records("budget")[0]
        return float(budget["search_seconds"]), int(budget["trials"])

    def _told(self, selection: Selection) -> dict[str, Any]:
        """A selection with the scores as the user knows them."""
        told = selection.to_dict()
        told["metric"] = self.problem.measure.score_title
        value_of = self.config.scale.value_of
        told["scores"] = {name: value_of(score) for name, score in told["scores"].items()}
        return told

    def _verdict(
        self,
        run: Run,
        engine: Engine,
        stop: StopRequest,
        selection: Selection,
        cost: PolicyCost | None,
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
        if cost is not None:
            results = [with_cost(arm, [cost(p) for p in arms[arm.name]]) for arm in results]
        return make_verdict(results, selection.chosen_arm, seeds, measure)

    def _end_without_search(
        self, run: Run, room: Headroom, told_of_ops: dict[str, Any]
    ) -> dict[str, Any]:
        """Exports no augmentation: the simplest of policies that cannot be told apart."""
        verdict = room.as_verdict() | told_of_ops
        provenance = self._provenance(run, 0, "search-free")
        document = PolicyDocument(self.baselines["none"], "none", provenance, verdict)
        return self._write(run, document, verdict)

    def _export(
        self, run: Run, trials: Sequence[Trial], selection: Selection, verdict: dict[str, Any]
    ) -> None:
        origin = selection.origin if selection.chosen_arm == "found" else "search-free"
        provenance = self._provenance(run, len(trials), origin)
        document = PolicyDocument(selection.chosen, selection.chosen_arm, provenance, verdict)
        self._write(run, document, verdict)

    def _export_front(self, run: Run, front: Sequence[Point], n_trials: int) -> None:
        """Every policy of the front as a file of its own."""
        folder = run.path / "front"
        folder.mkdir(exist_ok=True)
        for point in front:
            origin = "search-free" if point.name in self.baselines else point.name
            provenance = self._provenance(run, n_trials, origin)
            document = PolicyDocument(point.policy, point.name, provenance, {})
            write_policy_file(folder / f"{point.name}.json", document)

    def _provenance(self, run: Run, n_trials: int, origin: str) -> dict[str, Any]:
        return {
            **self.problem.provenance(),
            "space": self.space.name,
            "space_digest": self.space.digest(),
            "seed": self.config.seed,
            "trials": n_trials,
            "seconds": rung_seconds(run),
            "versions": runs.versions(),
            "origin": origin,
        }

    def _write(
        self, run: Run, document: PolicyDocument, verdict: dict[str, Any]
    ) -> dict[str, Any]:
        write_json(run.path / "verdict.json", verdict)
        # Reasons may quote what a user's code said, which is not for sharing.
        of_policy = {k: v for k, v in verdict.items() if k not in ("calibration", "left_out")}
        source = self.problem.generator_source(document.policy, run.path)
        if source is None and self.config.export_generators:
            self.progress({"event": "generator", "text": "the policy needs none; none is written"})
        document = dataclasses.replace(document, verdict=of_policy, generator=source)
        write_policy_file(run.path / "policy.json", document)
        self.progress({"event": "finished", "out": str(run.path), "verdict": verdict})
        return verdict
