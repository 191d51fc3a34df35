"""A worker process: loads its objective once, then evaluates the tasks it is sent.

Started by `policysearch.engines.local`, under a guardian.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

from policysearch.engines.guardian import begin_guarded
from policysearch.engines.packing import mapped
from policysearch.errors import GeneratorError
from policysearch.trial import FailureKind, NotFiniteError, Outcome, Task

if TYPE_CHECKING:
    from policysearch.objectives.base import Objective

READY = b"ready"
#: A longer message, such as a traceback with a printed array in it, keeps its end.
MAX_MESSAGE_LENGTH = 10_000

_OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory"
    r"|(?:can(?:no|')t|unable to|failed to) allocate .{0,40}(?:memory|bytes|[KMGT]i?B)",
    re.IGNORECASE,
)


def main(descriptor: str, parent: str, objective: str, n_threads: str) -> None:
    """Serves tasks until the driver is gone.

    Args:
      descriptor: Socket to the driver.
      parent: Process id of the driver.
      objective: File with the pickled objective.
      n_threads: Compute threads.
    """
    begin_guarded(int(parent), (int(descriptor), int(objective)))
    connection = Connection(int(descriptor))
    try:
        _serve(connection, _load(int(objective)), int(n_threads))
    except (EOFError, ConnectionError):  # the driver is gone: nobody wants an outcome
        os.killpg(0, signal.SIGKILL)


def _load(descriptor: int) -> Objective:
    with mapped(descriptor) as packed:
        objective: Objective = pickle.loads(packed)
    os.close(descriptor)
    return objective


def _serve(connection: Connection, objective: Objective, n_threads: int) -> NoReturn:
    is_torch_set = _set_torch(n_threads)
    connection.send_bytes(READY)
    while True:
        task: Task = pickle.loads(connection.recv_bytes())
        is_torch_set = is_torch_set or _set_torch(n_threads)
        connection.send_bytes(evaluate(objective, task))


def _set_torch(n_threads: int) -> bool:
    """Pins threads and makes torch repeatable, if the objective uses torch."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return False
    torch.set_num_threads(n_threads)
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # All of it is written before it is read; filling it took 6 % of a training on 32-pixel images.
    torch.utils.deterministic.fill_uninitialized_memory = False
    return True


def evaluate(objective: Objective, task: Task) -> bytes:
    """The outcome of a task as JSON, whatever the objective returns or raises.

    Plain data and not a pickle: the driver need not know the classes that a user's objective
    puts into its outcome, and nothing that the ledger could not hold gets that far.
    """
    try:
        return _packed(_plain(objective.evaluate(task)))
    except NotFiniteError as error:
        return _failed("not_finite", str(error))
    except GeneratorError as error:
        return _failed("generator", str(error))
    except MemoryError:
        return _failed("memory", f"Out of memory.\n{_traceback()}")
    except (Exception, SystemExit):
        text = _traceback()
        is_memory = _OUT_OF_MEMORY.search(text[text.rstrip().rfind("\n") + 1 :])
        return _failed("memory" if is_memory else "error", text)


def _plain(outcome: Any) -> Outcome:
    """The outcome with plain numbers for those of numpy or torch."""
    if not isinstance(outcome, Outcome):
        raise TypeError(
            f"An objective must return an Outcome, got {type(outcome).__name__}: {outcome!r:.200}"
        )
    return Outcome(
        state=outcome.state,
        score=None if outcome.score is None else float(outcome.score),
        metrics=tuple({str(k): float(v) for k, v in m.items()} for m in outcome.metrics),
        seconds=float(outcome.seconds),
        failure=outcome.failure,
        message=str(outcome.message)[-MAX_MESSAGE_LENGTH:],
        resampled=tuple(map(float, outcome.resampled)),
        reports=tuple((int(step), float(value)) for step, value in outcome.reports),
    )


def _packed(outcome: Outcome) -> bytes:
    return json.dumps(outcome.to_dict(), allow_nan=False).encode()


def _failed(kind: FailureKind, message: str) -> bytes:
    return _packed(Outcome("failed", failure=kind, message=message[-MAX_MESSAGE_LENGTH:]))


def _traceback() -> str:
    return traceback.format_exc(limit=-20)  # the innermost calls
