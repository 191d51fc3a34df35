"""`policysearch resume`: goes on with a run after any interruption."""

from __future__ import annotations

from pathlib import Path

import click

from policysearch.cli.commands import examples
from policysearch.cli.run_options import TENSORBOARD
from policysearch.cli.search import carry_out


@click.command(epilog=examples("policysearch resume runs/photos-1"))
@click.argument("run", type=click.Path(path_type=Path))
@TENSORBOARD
@click.option("--json", "is_json", is_flag=True, help="Write events as JSON lines.")
@click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Only the result.")
def command(run: Path, has_scalars: bool, is_json: bool, is_quiet: bool) -> None:
    """Go on with the search or comparison in directory RUN.

    Finished trainings are never repeated. The result is the one that an undisturbed run would
    have had.
    """
    from policysearch.study import resume

    carry_out(
        lambda progress: resume(run, progress),
        run,
        is_json=is_json,
        is_quiet=is_quiet,
        has_scalars=has_scalars,
    )
