"""`policysearch dashboard`: Optuna's dashboard on a run."""

from __future__ import annotations

from pathlib import Path

import click

from policysearch.cli.commands import examples


@click.command(
    epilog=examples(
        "policysearch dashboard runs/photos-1",
        "policysearch dashboard runs/photos-1 --port 8081",
    )
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
def command(run: Path, port: int, host: str) -> None:
    """Look at the trials of a search in a browser, also while it goes on.

    Needs an extra: pip install 'policysearch[dashboard]'. Reads the run and writes nothing; Ctrl-C
    closes the dashboard.
    """
    from policysearch.cli.output import emit, say
    from policysearch.cli.runs import check_is_run
    from policysearch.exporters.dashboard import serve_dashboard

    check_is_run(run)
    say("Ctrl-C closes the dashboard; the run does not notice.")
    serve_dashboard(run, host, port, tell=emit, problem=say)
