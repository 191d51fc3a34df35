"""The process that talks to Ray: connects, checks, and runs Tune for a `RayEngine`.

Tune asks a thin searcher for trials. It has no thoughts of its own: what to try comes from the
search loop and its ledger, through the socket; what came of it goes back the same way. There is no
`Tuner.restore`: after any interruption a fresh Tuner runs what the ledger does not hold yet.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from policysearch.engines.guardian import begin_guarded

if TYPE_CHECKING:
    from policysearch.engines.ray_engine import RaySettings


class RefusedError(Exception):
    """The cluster cannot do what is asked; the text says why and what to do."""


def main(descriptor: str, parent: str, objective: str, folder: str, settings: str) -> None:
    """Runs trials until the search is gone.

    Args:
      descriptor: Socket to the engine.
      parent: Process id of the search.
      objective: File with the pickled objective.
      folder: Holds what Ray and Tune write; removed at the end.
      settings: `RaySettings` as JSON.
    """
    begin_guarded(
        int(parent),
        (int(descriptor), int(objective)),
        lambda: shutil.rmtree(folder, ignore_errors=True),
    )
    from policysearch.engines.ray_engine import RaySettings

    line = Line(Connection(int(descriptor)))
    try:
        _run(line, int(objective), folder, RaySettings(**json.loads(settings)))
    except RefusedError as refusal:
        line.say(refused=str(refusal))


class Line:
    """The socket to the engine; several threads may speak."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._lock = threading.Lock()

    def say(self, **fields: Any) -> None:
        """Sends a message; that nobody is there any more is the guardian's business."""
        with self._lock:
            try:
                self.connection.send_bytes(json.dumps(fields).encode())
            except OSError:
                sys.exit(0)


def _run(line: Line, objective: int, folder: str, settings: RaySettings) -> None:
    try:
        import ray
        from ray import tune

        from policysearch.engines.ray_tune import Desk, run_trials
    except ImportError as error:
        raise RefusedError(
            f"The engine 'ray' needs Ray with Tune, which does not import ({error}): "
            "pip install 'policysearch[ray]'"
        ) from error
    del tune
    n_bytes = os.fstat(objective).st_size
    _connect(ray, folder, settings, n_bytes)
    n_at_a_time = _room(ray.nodes(), settings)  # type: ignore[no-untyped-call,unused-ignore]
    free = ray.available_resources()  # type: ignore[no-untyped-call,unused-ignore]
    desk = Desk(line, settings.n_workers)
    desk.listen()
    line.say(n_at_a_time=n_at_a_time, has_room_now=_fits(free, settings) > 0)
    run_trials(desk, objective, folder, settings)


def _connect(ray: Any, folder: str, settings: RaySettings, n_bytes: int) -> None:
    # Ray would kill the guardians of our workers with their actors, and so set the workers free.
    lets_guard = {"env_vars": {"RAY_kill_child_processes_on_worker_exit": "false"}}
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    quiet["runtime_env"] = lets_guard
    if settings.address is not None:
        try:
            _knock(settings.address)
            ray.init(address=settings.address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise RefusedError(
                f"No Ray cluster answers at '{settings.address}': {error}\nStart one with: "
                "ray start --head --port 6379. One that wants a token, as Ray does by default, "
                "lets in who has its ~/.ray/auth_token and sets RAY_AUTH_MODE=token."
            ) from error
        return
    from policysearch.config import usable_cores

    n_cores = usable_cores()
    if settings.cpus_per_trial > n_cores:
        raise RefusedError(
            f"`cpus_per_trial` of {settings.cpus_per_trial:g} can never be met: this machine has "
            f"{n_cores} usable cores. Give at most that many, or name a cluster by --ray-address."
        )
    ray.init(
        address="local",
        num_cpus=max(n_cores, -int(-settings.n_workers * settings.cpus_per_trial // 1)),
        include_dashboard=False,
        object_store_memory=max(128 << 20, 2 * n_bytes + (64 << 20)),
        _temp_dir=folder,
        **quiet,
    )


def _knock(address: str) -> None:
    """Raises when nobody listens at `HOST:PORT`: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _room(nodes: list[dict[str, Any]], settings: RaySettings) -> int:
    """How many trials the nodes hold at a time; raises `RefusedError` when it is none."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    room = sum(_fits(node, settings) for node in alive)
    if room:
        return room
    asked = " and ".join(f"{amount:g} {name}" for name, amount in _wanted(settings).items())
    held = "; ".join(
        ", ".join(f"{node.get(name, 0):g} {name}" for name in ("CPU", "GPU")) for node in alive
    )
    raise RefusedError(
        f"A trial asks for {asked}, which no node of the Ray cluster has. Its nodes: {held}. "
        "Give a smaller --cpus-per-trial or --gpus-per-trial, or add a node that has them."
    )


def _wanted(settings: RaySettings) -> dict[str, float]:
    wanted = {"CPU": settings.cpus_per_trial, "GPU": settings.gpus_per_trial}
    return {name: amount for name, amount in wanted.items() if amount > 0}


def _fits(resources: dict[str, float], settings: RaySettings) -> int:
    """How many trials go into these resources."""
    wanted = _wanted(settings).items()
    return min(int(resources.get(name, 0) / amount + 1e-9) for name, amount in wanted)
