"""The search rung: ask the sampler, run the trial, write it down, within a look-back window.

Trial n is asked for when all trials up to n - lookback are finished, and the sampler is shown
exactly those. What it suggests then depends on the seed and the outcomes, not on which worker was
faster. The threshold for pruning is computed from the same visible trials and travels with the
task, so that pruning is as reproducible as the suggestions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policysearch.engines.base import Engine
from policysearch.ledger import trial_key
from policysearch.policy import Policy
from policysearch.policy_json import PolicyDocument, policy_from_dict, policy_to_dict
from policysearch.run import FailuresInARow, Interrupted, Progress, Run, StopRequest
from policysearch.samplers.base import Sampler
from policysearch.samplers.optuna_backed import OptunaSampler
from policysearch.samplers.staged import StagedSampler
from policysearch.space import SearchSpace
from policysearch.trial import Outcome, Replicate, Suggestion, Task, Trial

#: Trials that must be visible before any trial is pruned.
MIN_TRIALS_TO_PRUNE = 10


class SearchLoop:
    """Runs the trials of a search.

    Args:
      run: Gives settings and ledger.
      space: What is searched.
      baselines: Tried first, by name.
      replicates: Trainings of every trial.
      n_epochs: Length of each.
      n_planned: Trials that the time is expected to hold: how the sampler divides its stages.
    """

    def __init__(
        self,
        run: Run,
        space: SearchSpace,
        baselines: Mapping[str, Policy],
        replicates: tuple[Replicate, ...],
        n_epochs: int,
        n_planned: int,
    ) -> None:
        self._run = run
        self._config = run.config
        self._space = space
        self._replicates = replicates
        self._n_epochs = n_epochs
        inner = OptunaSampler(space, run.config.seed, run.config.sampler)
        self._sampler: Sampler = StagedSampler(space, baselines, n_planned, inner, run.config.seed)
        self._n_trials = self._config.trials
        self._asked: dict[int, Suggestion] = {}
        recorded = run.records("trial")
        self._trials = {t.number: t for t in map(self._restored, recorded)}
        self._spent_before = max((r.get("rung_seconds", 0.0) for r in recorded), default=0.0)
        self._started = time.monotonic()

    def run(
        self, engine: Engine, stop: StopRequest, progress: Progress, seconds: float | None
    ) -> list[Trial]:
        """Runs trials until their number or the time is reached; returns all in order.

        `seconds` is the wall time of this rung over all sessions; `None`: no limit. The rung ends
        with a record, so that a run that goes on later does not find time left for more trials.
        A search without a single scored policy of its own goes on beyond its time.
        """
        for trial in self._in_order():
            progress(_event(trial, self._trials))
        if self._run.records("search_end"):
            return self._in_order()
        waiting = [n for n in range(self._n_trials) if n not in self._trials]
        n_running, failures = 0, FailuresInARow(self._run)
        while waiting or n_running:
            is_stopping = stop.is_asked()
            is_over = is_stopping or (
                seconds is not None and self._spent() >= seconds and self._has_candidate()
            )
            while waiting and not is_over and n_running < engine.n_slots:
                if not self._is_askable(waiting[0]):
                    break
                engine.submit(self._task(waiting.pop(0)))
                n_running += 1
            if is_over and not n_running:
                break
            for finished in engine.wait(0.5):
                n_running -= 1
                trial = self._finish(finished.task, finished.outcome)
                failures.count(finished.task.key, trial.outcome)
                progress(_event(trial, self._trials))
        if waiting and stop.is_asked():
            raise Interrupted
        reason = "budget" if waiting else "trials"
        self._run.record("search_end", {"reason": reason, "trials": len(self._trials)})
        return self._in_order()

    def _spent(self) -> float:
        """Wall seconds of this rung, over all sessions; known up to the last trial of each."""
        return self._spent_before + time.monotonic() - self._started

    def _has_candidate(self) -> bool:
        return any(
            trial.score is not None and not trial.suggestion.origin.startswith("warm:")
            for trial in self._trials.values()
        )

    def _in_order(self) -> list[Trial]:
        return [self._trials[n] for n in sorted(self._trials)]

    def _is_askable(self, number: int) -> bool:
        return all(n in self._trials for n in range(number - self._config.lookback + 1))

    def _visible(self, number: int) -> list[Trial]:
        return [self._trials[n] for n in range(number - self._config.lookback + 1)]

    def _task(self, number: int) -> Task:
        visible = self._visible(number)
        suggestion = self._sampler.suggest(number, visible)
        self._asked[number] = suggestion
        is_reference = suggestion.origin.startswith("warm:")
        thresholds = () if is_reference or not self._config.prune else prune_thresholds(visible)
        return Task(
            trial_key(number), suggestion.policy, self._replicates, self._n_epochs, thresholds
        )

    def _finish(self, task: Task, outcome: Outcome) -> Trial:
        number = int(task.key.removeprefix("trial/"))
        trial = Trial(number, self._asked.pop(number), outcome)
        suggestion = trial.suggestion
        fields: dict[str, Any] = {"number": number, "origin": suggestion.origin}
        if suggestion.params is not None:
            fields["params"] = dict(suggestion.params)
        else:
            fields["policy"] = policy_to_dict(PolicyDocument(suggestion.policy))
        if suggestion.state:
            fields["sampler_state"] = dict(suggestion.state)
        fields["rung_seconds"] = round(self._spent(), 3)
        self._run.record("trial", fields | outcome.to_dict())
        self._trials[number] = trial
        return trial

    def _restored(self, record: Mapping[str, Any]) -> Trial:
        params = record.get("params")
        policy = (
            self._space.decode(params)
            if params is not None
            else policy_from_dict(record["policy"]).policy
        )
        suggestion = Suggestion(policy, record["origin"], params, record.get("sampler_state", {}))
        return Trial(record["number"], suggestion, Outcome.from_dict(record))


def prune_thresholds(history: Sequence[Trial]) -> tuple[float, ...]:
    """Median running mean of earlier trials after each replicate but the last.

    Trials are compared after the same number of full-length trainings on the same folds and
    seeds, so pruning does not prefer the weak augmentation that short trainings like.
    """
    means = [trial.running_means() for trial in history]
    if len(means) < MIN_TRIALS_TO_PRUNE:
        return ()
    longest = max((len(m) for m in means), default=0)
    return tuple(
        float(np.median([m[step] for m in means if len(m) > step])) for step in range(longest - 1)
    )


def _event(trial: Trial, trials: Mapping[int, Trial]) -> dict[str, Any]:
    scored = [t for t in trials.values() if t.score is not None]
    best = min(scored, key=lambda t: t.score or 0.0, default=None)
    return {
        "event": "trial",
        "number": trial.number,
        "origin": trial.suggestion.origin,
        "state": trial.outcome.state,
        "score": trial.outcome.score,
        "seconds": trial.outcome.seconds,
        "message": trial.outcome.message,
        "done": len(trials),
        "best_number": best.number if best else None,
        "best_score": best.score if best else None,
        "best_origin": best.suggestion.origin if best else None,
    }
