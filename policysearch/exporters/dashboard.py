"""Optuna's dashboard on a run: served from memory, kept up to date while the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna

from policysearch.errors import MissingDependencyError, PolicySearchError, RunError
from policysearch.exporters.optuna_study import StudyExporter

_REFRESH_SECONDS = 2.0


def serve_dashboard(
    run: Path, host: str, port: int, tell: Callable[[str], None], problem: Callable[[str], None]
) -> None:
    """Serves until the process is interrupted; writes no file.

    Args:
      run: Run directory of a search.
      host: Address to listen at.
      port: Port; 0 takes a free one.
      tell: Told the URL when it can be opened.
      problem: Told why the dashboard is not kept up to date any more, if that happens.

    Raises:
      MissingDependencyError: Without the package optuna-dashboard.
      RunError: When the port cannot be had.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise MissingDependencyError(
            "The dashboard is a package of its own: pip install 'policysearch[dashboard]'"
        ) from error
    exporter = StudyExporter(run)
    storage = optuna.storages.InMemoryStorage()
    study = exporter.open(storage, run.resolve().name)
    exporter.update(study)
    try:
        server = make_server(host, port, wsgi(storage), _Server, _QuietHandler)
    except OSError as error:
        raise RunError(
            f"The dashboard cannot listen at {host}:{port}: {error.strerror}. "
            "Choose another --port."
        ) from error
    is_over = threading.Event()
    arguments = (exporter, study, run / "ledger.jsonl", is_over, problem)
    refresher = threading.Thread(target=_refresh, args=arguments, daemon=True)
    refresher.start()
    try:
        tell(f"http://{host}:{server.server_port}/dashboard/")
        server.serve_forever(poll_interval=0.2)
    finally:
        is_over.set()
        server.server_close()
        refresher.join()


def _refresh(
    exporter: StudyExporter,
    study: optuna.Study,
    ledger: Path,
    is_over: threading.Event,
    problem: Callable[[str], None],
) -> None:
    n_bytes = -1
    while not is_over.wait(_REFRESH_SECONDS):
        try:
            if ledger.stat().st_size != n_bytes:
                n_bytes = ledger.stat().st_size
                exporter.update(study)
        except (OSError, PolicySearchError) as error:
            problem(f"The dashboard shows the run as it was: {error}")
            return


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *arguments: object) -> None:
        del arguments
