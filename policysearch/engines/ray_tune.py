"""Ray Tune's side of the engine: its searcher, its trials, and what an error of Ray means."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import queue
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import cloudpickle, tune
from ray.exceptions import OutOfMemoryError, RayActorError, RayError
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.tune.search import Searcher

from policysearch.engines.local import LocalEngine
from policysearch.engines.packing import Packed, mapped
from policysearch.engines.worker import MAX_MESSAGE_LENGTH
from policysearch.errors import RunError
from policysearch.trial import FailureKind, Outcome, State, Task

if TYPE_CHECKING:
    from policysearch.engines.ray_driver import Line
    from policysearch.engines.ray_engine import RaySettings

#: When a trial has ended, the search needs this long at most to suggest the next one: Tune waits
#: for it, because it looks for new trials only ten times a second and lets idle actors go.
_SUGGESTION_SECONDS = 0.3


_ASHA = {
    "time_attr": "training_iteration",
    "metric": "score",
    "mode": "min",
    "grace_period": 1,
    "reduction_factor": 2,
    "max_t": 1 << 20,  # no task has more replicates
}


@dataclass(frozen=True, repr=False)
class Ticket:
    """A task on its way through Tune; short where Tune makes names of it."""

    number: int
    task: Task

    def __repr__(self) -> str:
        return f"Ticket({self.number})"


class Desk:
    """Tickets that wait for Tune, and the line back to the engine."""

    def __init__(self, line: Line, n_slots: int) -> None:
        self._line = line
        self._n_slots = n_slots
        self._waiting: queue.SimpleQueue[Ticket] = queue.SimpleQueue()
        self._open: dict[int, Ticket] = {}
        self._ended_at = -1.0

    def listen(self) -> None:
        """Takes tickets in from now on."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                number, task = pickle.loads(self._line.connection.recv_bytes())
                self._waiting.put(Ticket(number, task))
        except (EOFError, OSError):
            return

    def next(self) -> Ticket | None:
        """The next ticket; waits for one only while the search is about to suggest it."""
        patience = self._ended_at + _SUGGESTION_SECONDS - time.monotonic()
        try:
            if len(self._open) < self._n_slots and patience > 0:
                ticket = self._waiting.get(timeout=patience)
            else:
                ticket = self._waiting.get_nowait()
        except queue.Empty:
            return None
        self._open[ticket.number] = ticket
        return ticket

    def end(self, number: int, outcome: dict[str, Any]) -> None:
        """Tells what came of a ticket, once."""
        if self._open.pop(number, None) is not None:
            self._ended_at = time.monotonic()
            self._line.say(ticket=number, outcome=outcome)

    def lose(self, number: int, reason: str) -> None:
        """Tells that a ticket was lost before its trial began."""
        if self._open.pop(number, None) is not None:
            self._line.say(ticket=number, lost=reason)

    def give_up(self, reason: str) -> None:
        """Tells that no ticket will ever end well."""
        self._line.say(fatal=reason)


class LedgerSearcher(Searcher):
    """Hands the search's tickets to Tune and the outcomes back."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._numbers: dict[str, int] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Searcher, ()  # Tune keeps a copy, which is never used

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next ticket as a configuration; `None` when there is none yet."""
        ticket = self._desk.next()
        if ticket is None:
            return None
        self._numbers[trial_id] = ticket.number
        return {"ticket": ticket}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells what came of a trial; of a lost one `Losses` knows more."""
        number = self._numbers.pop(trial_id, None)
        if number is None or error or result is None:
            return
        if "fatal" in result:
            self._desk.give_up(result["fatal"])
            return
        self._desk.end(number, json.loads(result["outcome"]))

    def save(self, checkpoint_path: str) -> None:
        """Keeps nothing: the ledger is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Has nothing to restore."""


class Losses(tune.Callback):
    """Tells of trials whose actor or node was lost."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._begun: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Takes note that the actor of a trial is there: what comes now is an attempt."""
        del iteration, trials, info
        self._begun.add(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Judges the error of a trial."""
        del iteration, trials, info
        kind, message = judged(_error_of(trial))
        number = trial.config["ticket"].number
        if trial.trial_id in self._begun:
            outcome = Outcome("failed", failure=kind, message=message[-MAX_MESSAGE_LENGTH:])
            self._desk.end(number, outcome.to_dict())
        else:
            self._desk.lose(number, message[-MAX_MESSAGE_LENGTH:])


def _error_of(trial: Any) -> Exception | None:
    """What Tune has written about the end of a trial; it gives the error to nobody."""
    try:
        with open(trial.pickled_error_file, "rb") as file:
            error: Exception = cloudpickle.load(file)
            return error
    except (OSError, TypeError):
        return None


def judged(error: Exception | None) -> tuple[FailureKind, str]:
    """Kind and message of what befell a trial outside of its worker process."""
    text = str(error or "unknown").strip()
    if isinstance(error, OutOfMemoryError) or "out of memory" in text.lower() or "OOM" in text:
        return "memory", f"Ray killed the trial for want of memory: {text}"
    if isinstance(error, RayActorError):
        return "crash", f"The Ray worker or its node was lost: {text}"
    if isinstance(error, RayError):
        return "crash", f"Ray lost the trial: {text}"
    return "crash", f"{type(error).__name__}: {text}"


class PolicyTrial(tune.Trainable):
    """One trial after the other on one slot of the cluster.

    The work is done by a local engine with one worker process, so that a hang in C, a crash or an
    allocation too large is met on the node exactly as it is on a laptop. This actor only watches,
    and hands the outcome of a single attempt back.
    """

    def setup(
        self,
        config: dict[str, Any],
        packed: np.ndarray[Any, Any] | None = None,
        settings: RaySettings | None = None,
        paths: tuple[str, ...] = (),
    ) -> None:
        """Starts a worker process when the first task comes."""
        del config
        assert packed is not None
        assert settings is not None
        sys.path += [path for path in paths if path not in sys.path]
        self._prunes = settings.pruner == "asha"
        self._parts: list[Outcome] = []
        self._engine = LocalEngine(
            Packed(lambda file: file.write(packed.data)),
            1,
            settings.n_threads,
            settings.timeout_seconds,
            max_attempts=1,
        )

    def step(self) -> dict[str, Any]:
        """Runs the task, or one replicate of it where Tune may stop it in between."""
        task: Task = self.config["ticket"].task
        is_stepwise = self._prunes and task.is_prunable
        try:
            outcome = self._next_part(task) if is_stepwise else self._evaluated(task)
        except RunError as error:
            return {"fatal": f"On {os.uname().nodename}: {error}", "done": True}
        said = {"outcome": json.dumps(outcome.to_dict()), "done": outcome.state != "pruned"}
        if is_stepwise and outcome.score is not None:
            said["score"] = outcome.score
        return said if is_stepwise else said | {"done": True}

    def _next_part(self, task: Task) -> Outcome:
        """What the task has come to after its next replicate: `pruned`, should it end here."""
        i = len(self._parts)
        part = dataclasses.replace(task, replicates=task.replicates[i : i + 1])
        self._parts.append(self._evaluated(part))
        return joined(self._parts, is_whole=i + 1 == len(task.replicates))

    def _evaluated(self, task: Task) -> Outcome:
        self._engine.submit(task)
        while not (ended := self._engine.wait(1.0)):
            pass
        return ended[0].outcome

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next task without starting anew."""
        del new_config
        self._parts = []
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Keeps nothing: a task that is lost is run again from its beginning."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Has nothing to load."""

    def cleanup(self) -> None:
        """Ends the worker process."""
        self._engine.close()


def joined(parts: Sequence[Outcome], *, is_whole: bool) -> Outcome:
    """The outcome of a task from those of its replicates so far; a failed one is its end."""
    seconds = sum(part.seconds for part in parts)
    if parts[-1].state == "failed":
        return dataclasses.replace(parts[-1], seconds=seconds)
    metrics = tuple(metrics for part in parts for metrics in part.metrics)
    scores = [part.score for part in parts if part.score is not None]
    state: State = "complete" if is_whole else "pruned"
    return Outcome(state, sum(scores) / len(scores), metrics, seconds)


def run_trials(desk: Desk, objective: int, folder: str, settings: RaySettings) -> None:
    """Runs tickets until this process is ended."""
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(settings.n_workers)
    packed = np.frombuffer(mapped(objective), np.uint8)
    trainable = tune.with_resources(
        tune.with_parameters(
            PolicyTrial,
            packed=packed,
            settings=settings,
            paths=tuple(map(os.path.abspath, sys.path)),
        ),
        {"cpu": settings.cpus_per_trial, "gpu": settings.gpus_per_trial},
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=LedgerSearcher(desk),
            scheduler=_scheduler(settings),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(Path(folder) / "tune"),
            verbose=0,
            callbacks=[Losses(desk)],
            failure_config=tune.FailureConfig(max_failures=0),
            # Nothing is kept, so that nodes need no storage in common.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    tuner.fit()


class KeepsActors:
    """Has Tune keep the actors of trials that have ended for trials that are still to come.

    Tune keeps one; a worker that has nothing to do for a moment, because the look-back window
    waits for another, would have to load its data anew. `_actor_cache` is not public: without it
    a search is slower at its rungs, and nothing else changes.
    """

    n_actors = 0
    _is_told = False

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Makes room for idle actors at the first trial."""
        super().on_trial_add(tune_controller, trial)  # type: ignore[misc]
        cache = getattr(tune_controller, "_actor_cache", None)
        if cache is not None and not self._is_told:
            self._is_told = True
            cache.increase_max(trial.placement_group_factory, self.n_actors)


class InOrder(KeepsActors, FIFOScheduler):
    """Stops no trial."""


class Halving(KeepsActors, AsyncHyperBandScheduler):
    """ASHA."""


def _scheduler(settings: RaySettings) -> Any:
    """ASHA compares running means after 1, 2, 4, ... replicates and keeps the better half."""
    kind: Any = Halving if settings.pruner == "asha" else InOrder
    scheduler = kind(**(_ASHA if kind is Halving else {}))
    scheduler.n_actors = settings.n_workers
    return scheduler
