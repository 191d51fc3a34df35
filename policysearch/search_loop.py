"""The search rung: ask the sampler, run the trial, write it down, within a look-back window.

Trial n is asked for when all trials up to n - lookback are finished, and the sampler is shown
exactly those. What it suggests then depends on the seed and the outcomes, not on which worker was
faster. The threshold for pruning is computed from the same visible trials and travels with the
task, so that pruning is as reproducible as the suggestions.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from policysearch.engines.base import Engine, Finished
from policysearch.ledger import trial_key
from policysearch.policy import Policy
from policysearch.policy_json import PolicyDocument, policy_from_dict, policy_to_dict
from policysearch.pruning import MedianPruning, ReportPruning
from policysearch.remembered import Packing
from policysearch.run import FailuresInARow, Interrupted, Progress, Run, StopRequest
from policysearch.samplers.base import Generational, Sampler
from policysearch.samplers.known import NOTHING_KNOWN, Known
from policysearch.samplers.strategies import STRATEGIES, Plan
from policysearch.space import SearchSpace
from policysearch.trial import Outcome, Replicate, Suggestion, Task, Trial


class SearchLoop:
    """Runs the trials of a search.

    Args:
      run: Gives settings and ledger.
      space: What is searched.
      baselines: Tried first, by name.
      replicates: Trainings of every trial.
      n_epochs: Length of each.
      n_planned: Trials that the time is expected to hold: how the sampler divides its stages.
      clock: Seconds that a budget is measured by; that of an engine in virtual time is its own.
      known: Before the first trial. Where cost is an objective nothing is stopped early, because
        a cheap policy may be worse than most.

    Attributes:
      sampler: Makes the suggestions.
    """

    def __init__(
        self,
        run: Run,
        space: SearchSpace,
        baselines: Mapping[str, Policy],
        replicates: tuple[Replicate, ...],
        n_epochs: int,
        n_planned: int,
        clock: Callable[[], float] = time.monotonic,
        known: Known = NOTHING_KNOWN,
    ) -> None:
        self._run = run
        self._config = run.config
        self._space = space
        self._packing = Packing(space)
        self._cost = known.cost
        self._replicates = replicates
        self._n_epochs = n_epochs
        plan = Plan(
            space=space,
            warm_start=baselines,
            n_trials=n_planned,
            n_folds=len({replicate.fold for replicate in replicates}),
            seed=run.config.seed,
            algorithm=run.config.sampler,
            known=known,
        )
        self.sampler: Sampler = STRATEGIES[run.config.strategy].make(plan)
        self._pruning = MedianPruning()
        self._report_pruning = ReportPruning()
        self._n_trials = self._config.trials
        self._asked: dict[int, Suggestion] = {}
        self._trials: dict[int, Trial] = {}
        self._without_gap: list[Trial] = []
        self._best: Trial | None = None
        recorded = run.records("trial")
        for record in recorded:
            self._take_in(self._restored(record))
        self._spent_before = max((r.get("rung_seconds", 0.0) for r in recorded), default=0.0)
        self._clock = clock
        self._started = clock()

    def run(
        self, engine: Engine, stop: StopRequest, progress: Progress, seconds: float | None
    ) -> list[Trial]:
        """Runs trials until their number or the time is reached; returns all in order.

        `seconds` is the wall time of this rung over all sessions; `None`: no limit. The rung ends
        with a record, so that a run that goes on later does not find time left for more trials.
        A search without a single scored policy of its own goes on beyond its time.
        """
        for trial in self._in_order():
            progress(self._event(trial))
        if self._run.records("search_end"):
            return self._in_order()
        waiting = deque(n for n in range(self._n_trials) if n not in self._trials)
        n_running, failures = 0, FailuresInARow(self._run)
        while waiting or n_running:
            is_stopping = stop.is_asked()
            is_over = is_stopping or (
                seconds is not None and self._spent() >= seconds and self._has_candidate()
            )
            while waiting and not is_over and n_running < engine.n_slots:
                if not self._is_askable(waiting[0]):
                    break
                engine.submit(self._task(waiting.popleft()))
                n_running += 1
            if is_over and not n_running:
                break
            ended = self._finish(engine.wait(0.5))
            for trial in ended:
                n_running -= 1
                self._take_in(trial)
                progress(self._event(trial))
            failures.count((trial_key(trial.number), trial.outcome) for trial in ended)
        if waiting and stop.is_asked():
            raise Interrupted
        reason = "budget" if waiting else "trials"
        self._run.record("search_end", {"reason": reason, "trials": len(self._trials)})
        return self._in_order()

    def _spent(self) -> float:
        """Wall seconds of this rung, over all sessions; known up to the last trial of each."""
        return self._spent_before + self._clock() - self._started

    def _has_candidate(self) -> bool:
        return any(
            trial.score is not None and not trial.suggestion.origin.startswith("warm:")
            for trial in self._trials.values()
        )

    def _in_order(self) -> list[Trial]:
        return [self._trials[n] for n in sorted(self._trials)]

    def _is_askable(self, number: int) -> bool:
        return self._n_visible(number) <= len(self._without_gap)

    def _n_visible(self, number: int) -> int:
        """Trials that the sampler is shown, neither more nor fewer."""
        n = max(0, number - self._config.lookback + 1)
        if isinstance(self.sampler, Generational):
            return max(n, self.sampler.n_needed(number))
        return n

    def _task(self, number: int) -> Task:
        visible = self._without_gap[: self._n_visible(number)]
        suggestion = self.sampler.suggest(number, visible)
        self._asked[number] = suggestion
        is_reference = suggestion.origin.startswith("warm:")
        prunes = self._config.prune and not is_reference and not suggestion.segments
        prunes = prunes and self._cost is None
        prunes_by_median = prunes and self._config.pruner == "median"
        thresholds = self._pruning.thresholds(visible) if prunes_by_median else ()
        return Task(
            trial_key(number),
            suggestion.policy,
            tuple(r for r in self._replicates if r.fold in (suggestion.folds or (r.fold,))),
            self._n_epochs,
            thresholds,
            is_prunable=prunes and not prunes_by_median,
            prune_reports_above=(
                self._report_pruning.thresholds(visible) if prunes_by_median else {}
            ),
            segments=suggestion.segments,
        )

    def _finish(self, ended: Sequence[Finished]) -> list[Trial]:
        """Writes down what ended together, with one write to the disk."""
        trials = [self._trial(finished) for finished in ended]
        self._run.record("trial", *map(self._fields, trials))
        return trials

    def _trial(self, finished: Finished) -> Trial:
        number = int(finished.task.key.removeprefix("trial/"))
        return self._with_cost(Trial(number, self._asked.pop(number), finished.outcome))

    def _with_cost(self, trial: Trial) -> Trial:
        if self._cost is None:
            return trial
        return dataclasses.replace(trial, cost=self._cost(trial.suggestion.policy))

    def _take_in(self, trial: Trial) -> None:
        self._trials[trial.number] = trial = self._packing.packed(trial)
        while len(self._without_gap) in self._trials:
            self._without_gap.append(self._trials[len(self._without_gap)])
        best = None if self._best is None else self._best.score
        if trial.score is not None and (best is None or trial.score < best):
            self._best = trial

    def _fields(self, trial: Trial) -> dict[str, Any]:
        suggestion = trial.suggestion
        fields: dict[str, Any] = {"number": trial.number, "origin": suggestion.origin}
        if suggestion.params is not None:
            fields["params"] = dict(suggestion.params)
        else:
            fields["policy"] = policy_to_dict(PolicyDocument(suggestion.policy))
        if suggestion.state:
            fields["sampler_state"] = dict(suggestion.state)
        if trial.cost is not None:
            fields["cost"] = trial.cost
        fields["rung_seconds"] = round(self._spent(), 3)
        return fields | trial.outcome.to_dict()

    def _restored(self, record: Mapping[str, Any]) -> Trial:
        params = record.get("params")
        policy = (
            self._space.decode(params)
            if params is not None
            else policy_from_dict(record["policy"]).policy
        )
        suggestion = Suggestion(policy, record["origin"], params, record.get("sampler_state", {}))
        return self._with_cost(Trial(record["number"], suggestion, Outcome.from_dict(record)))

    def _event(self, trial: Trial) -> dict[str, Any]:
        best, told = self._best, self._told
        return {
            "event": "trial",
            "number": trial.number,
            "origin": trial.suggestion.origin,
            "state": trial.outcome.state,
            "score": told(trial.outcome.score),
            "seconds": trial.outcome.seconds,
            "message": trial.outcome.message,
            "done": len(self._trials),
            "best_number": best.number if best else None,
            "best_score": told(best.score) if best else None,
            "best_origin": best.suggestion.origin if best else None,
        }

    def _told(self, score: float | None) -> float | None:
        return None if score is None else self._config.scale.value_of(score)
