"""Quality against search cost, for every objective and strategy: what `auto` is chosen by.

The unit of cost is the final comparison: 7 arms x 10 seeds of full trainings. A search may cost a
multiple of it, its confirmation included, in processor seconds: other programs on the machine then
count little. The found policy is trained with ten seeds and measured on the test split.

    python benchmarks/search_costs.py --draws 1 2 3

Cells that the result file holds are not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from policysearch.baselines import baseline_policies
from policysearch.confirmation import survivors
from policysearch.data.source import load_source
from policysearch.data.splits import DEFAULT_VAL_SHARE, SearchData, make_splits
from policysearch.files import json_text, write_atomic
from policysearch.metrics import scores
from policysearch.objectives.base import Objective
from policysearch.objectives.choose import OBJECTIVES
from policysearch.objectives.from_scratch import FromScratch
from policysearch.policy import Policy
from policysearch.proxies.base import settings_for
from policysearch.samplers.calibration import Calibration, calibration_of, probes_of
from policysearch.samplers.known import Known
from policysearch.samplers.strategies import STRATEGIES, Plan
from policysearch.seeding import derive_seed
from policysearch.selection import best_candidate, pick_candidates
from policysearch.space_yaml import load_space
from policysearch.trial import Replicate, Task, Trial

RESULTS = Path(__file__).parent / "results" / "search_costs.json"
#: (objective, strategy)
CONTESTANTS = (
    ("from_scratch", "calibrated"),
    ("shared_checkpoint", "calibrated"),
    ("density", "calibrated"),
    ("best_of_five", "fast-autoaugment"),
    ("from_scratch", "deepaugment"),
    ("from_scratch", "random"),
    ("shared_checkpoint", "screened"),
    ("from_scratch", "screened"),
    ("shared_checkpoint", "random"),
    ("density", "random"),
)
LEVELS = (0.3, 1.0, 0.1, 3.0)
N_ARMS, N_SEEDS = 7, 10
#: Share of the cost that the trials may take; the rest confirms.
SEARCH_SHARE = 0.6
#: Share of the cost for which a search that begins with the best search-free policy looks for it:
#: `policysearch search` knows it from the head-room stage. Where it is dearer, it stays unknown.
BEST_SHARE = 0.25
MAX_TRIALS = {"fast-autoaugment": 1001, "deepaugment": 60}
MAX_CANDIDATES = 6


class Bench:
    """One draw of the training images."""

    def __init__(self, data: str, train_size: int, draw: int, n_epochs: int | None) -> None:
        self.source, self.train_size, self.draw = load_source(data), train_size, draw
        self.final = make_splits(self.source, seed=draw, train_size=train_size).final
        self.settings = settings_for(self.final.train)
        self.n_epochs = n_epochs or self.settings.default_epochs(len(self.final.train))
        space = load_space("image/opwise")
        self.space = space.restricted_to(self.final.train.x.shape[1])
        self.arms = baseline_policies(self.space, min(self.final.train.x.shape[2:]))
        self._accuracies: dict[str, list[float]] = {}
        seconds = []
        for _ in range(3):  # the first compiles
            started = time.process_time()
            self._train(self.arms["trivialaugment"], 0)
            seconds.append(time.process_time() - started)
        self.training_seconds = min(seconds)

    @property
    def comparison_seconds(self) -> float:
        """Processor seconds of the final comparison."""
        return N_ARMS * N_SEEDS * self.training_seconds

    def accuracies(self, policy: Policy) -> list[float]:
        """Test accuracy of every seed."""
        key = policy.digest()
        if key not in self._accuracies:
            self._accuracies[key] = [self._train(policy, i) for i in range(N_SEEDS)]
        return self._accuracies[key]

    def _train(self, policy: Policy, i: int) -> float:
        seed = derive_seed(self.draw, "verdict", i) % 2**31
        proxy = self.settings.make(self.final.train, policy, self.n_epochs, seed)
        proxy.fit()
        return scores(proxy.predict(self.final.test), self.final.test.y)["accuracy"]

    def search(self, objective: str, strategy: str, cost: float) -> dict[str, Any]:
        """Searches and confirms for `cost` processor seconds."""
        kind = STRATEGIES[strategy]
        splits = make_splits(
            self.source, seed=self.draw, train_size=self.train_size, n_folds=kind.n_folds
        )
        n_folds = len(splits.search.folds)
        space = kind.shaped(self.space)
        scored = OBJECTIVES[objective](splits.search, self.settings)
        per_fold = self.training_seconds * OBJECTIVES[objective].cost
        per_trial = per_fold * (1 if strategy == "fast-autoaugment" else n_folds)
        n_trials = int(SEARCH_SHARE * cost / per_trial)
        n_trials = min(max(n_trials, 4), MAX_TRIALS.get(strategy, 200))
        warm = {"none": self.arms["none"]}
        seed = derive_seed(self.draw, "search") % 2**31
        replicates = tuple(Replicate(fold, seed) for fold in range(n_folds))
        started = time.process_time()
        known = Known()
        if kind.is_calibrated:
            calibration = self._calibration(splits.search, replicates)
            is_cheap = len(self.arms) * per_trial <= BEST_SHARE * cost
            best = self._best_arm(scored, replicates) if is_cheap else None
            known = Known(calibration, best=best)
            if best:
                n_trials = max(4, n_trials - len(self.arms))
        plan = Plan(space, warm, n_trials, n_folds, self.draw, "tpe", known)
        sampler = kind.make(plan)
        trials: list[Trial] = []
        for number in range(n_trials):
            spent = time.process_time() - started
            if spent > SEARCH_SHARE * cost and any(map(is_candidate, trials)):
                break
            suggestion = sampler.suggest(number, trials)
            chosen = tuple(
                r for r in replicates if not suggestion.folds or r.fold in suggestion.folds
            )
            task = Task(f"trial/{number}", suggestion.policy, chosen, self.n_epochs)
            trials.append(Trial(number, suggestion, scored.evaluate(task)))
        candidates = pick_candidates(trials, MAX_CANDIDATES, warm.values())
        confirmed = FromScratch(splits.search, self.settings)

        def left() -> float:
            return cost - (time.process_time() - started)

        name, n_confirmed = self._confirm(confirmed, candidates, n_folds, left)
        seconds = time.process_time() - started
        return {
            "trials": len(trials),
            "confirmations": n_confirmed,
            "seconds": round(seconds, 2),
            "cost": round(seconds / self.comparison_seconds, 3),
            "accuracies": self.accuracies(candidates[name]),
        }

    def _calibration(
        self, data: SearchData, replicates: tuple[Replicate, ...]
    ) -> Calibration | None:
        """What networks without augmentation say of the ops; its cost is part of the search's."""
        probes = probes_of(self.space)
        task = Task(
            "baselines/none/0", self.arms["none"], replicates, self.n_epochs, probes=probes
        )
        return calibration_of(FromScratch(data, self.settings).evaluate(task).metrics)

    def _best_arm(
        self, scored: Objective, replicates: tuple[Replicate, ...]
    ) -> tuple[str, Policy]:
        """Name and policy of the search-free policy with the best score."""
        tasks = {
            name: Task(f"baselines/{name}", policy, replicates, self.n_epochs)
            for name, policy in self.arms.items()
        }
        values = {name: scored.evaluate(task).score for name, task in tasks.items()}
        name = min(values, key=lambda name: np.inf if values[name] is None else values[name])
        return name, self.arms[name]

    def _confirm(
        self, objective: FromScratch, arms: Mapping[str, Policy], n_folds: int, left: Any
    ) -> tuple[str, int]:
        """The best by trainings from scratch; the worse half drops out after every pass."""
        names, n_done = list(arms), 0
        told: dict[str, list[float]] = {name: [] for name in names}
        for i in range(4 * n_folds):
            per_training = self.training_seconds
            if len(names) == 1 or left() < len(names) * per_training:
                if i or len(names) < 2 or left() < 2 * per_training:
                    break
                names = names[: max(2, int(left() / per_training))]
            seed = derive_seed(self.draw, "confirm", i // n_folds) % 2**31
            replicate = Replicate(n_folds + i % n_folds, seed)
            for name in names:
                task = Task(f"confirm/{name}/{i}", arms[name], (replicate,), self.n_epochs)
                score = objective.evaluate(task).score
                told[name].append(np.inf if score is None else score)
                n_done += 1
            if i % n_folds == n_folds - 1:
                rest = {name: told[name] for name in names}
                names = survivors(rest, max(2, len(names) // 2))
        if not n_done:
            return names[0], 0
        left_out = 1 / n_folds if n_folds > 1 else DEFAULT_VAL_SHARE
        return best_candidate({name: arms[name] for name in names}, told, left_out), n_done


def is_candidate(trial: Trial) -> bool:
    """Whether a trial could be what was found."""
    return trial.score is not None and not trial.suggestion.origin.startswith("warm:")


def measure(arguments: argparse.Namespace) -> None:
    """Fills the result file cell by cell."""
    out: Path = arguments.out
    results = json.loads(out.read_text()) if out.exists() else {"cells": [], "draws": {}}
    results["command"] = (
        f"python benchmarks/search_costs.py --data {arguments.data} "
        f"--train-size {arguments.train_size} --draws {' '.join(map(str, arguments.draws))} "
        f"--levels {' '.join(f'{level:g}' for level in arguments.levels)} "
        f"--contestants {arguments.contestants}"
    )
    for draw in arguments.draws:
        bench = Bench(arguments.data, arguments.train_size, draw, arguments.epochs)
        if str(draw) not in results["draws"]:
            arms = {name: bench.accuracies(policy) for name, policy in bench.arms.items()}
            results["draws"][str(draw)] = {
                "training_seconds": round(bench.training_seconds, 3),
                "arms": arms,
            }
        for level in arguments.levels:
            for objective, strategy in CONTESTANTS[: arguments.contestants]:
                key = {
                    "draw": draw,
                    "level": level,
                    "objective": objective,
                    "strategy": strategy,
                }
                if any(key.items() <= cell.items() for cell in results["cells"]):
                    continue
                cell = bench.search(objective, strategy, level * bench.comparison_seconds)
                results["cells"].append(key | cell)
                write_atomic(out, json_text(results))
    print(table(results))


def table(results: Mapping[str, Any]) -> str:
    """Mean test accuracy in percent by contestant and level; the cost that was really paid."""
    levels = sorted({cell["level"] for cell in results["cells"]})
    lines = [
        "| objective, strategy | " + " | ".join(f"{level:g} x" for level in levels) + " |",
        "|---|" + "---:|" * len(levels),
    ]
    for objective, strategy in CONTESTANTS:
        row = [f"{objective}, {strategy}"]
        for level in levels:
            key = {"level": level, "objective": objective, "strategy": strategy}
            cells = [cell for cell in results["cells"] if key.items() <= cell.items()]
            row.append(_cell(cells))
        if any(row[1:]):
            lines.append("| " + " | ".join(row) + " |")
    for arm in next(iter(results["draws"].values()))["arms"]:
        values = [np.mean(draw["arms"][arm]) for draw in results["draws"].values()]
        lines.append(f"| *{arm}* | {100 * np.mean(values):.2f}" + " |" * len(levels))
    return "\n".join(lines)


def _cell(cells: Sequence[Mapping[str, Any]]) -> str:
    if not cells:
        return ""
    accuracy = 100 * np.mean([np.mean(cell["accuracies"]) for cell in cells])
    cost = np.mean([cell["cost"] for cell in cells])
    return f"{accuracy:.2f} ({len(cells)} draws, paid {cost:.2f})"


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--train-size", type=int, default=100)
    parser.add_argument("--draws", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--levels", type=float, nargs="+", default=list(LEVELS))
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--contestants", type=int, default=len(CONTESTANTS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    torch.set_num_threads(1)
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
