"""`policysearch resume`: goes on with a run after any interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from policysearch.cli.commands import examples
from policysearch.cli.run_options import TENSORBOARD, Command, engine_options, with_options
from policysearch.cli.search import carry_out


def _engine_options(command: Command) -> Command:
    return with_options(command, engine_options(None, None, None))


@click.command(
    epilog=examples(
        "policysearch resume runs/photos-1",
        "policysearch resume runs/photos-1 --engine ray --ray-address head:6379",
    )
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--search-anyway", is_flag=True, help="Search also where no head-room was found.")
@TENSORBOARD
@click.option("--json", "is_json", is_flag=True, help="Write events as JSON lines.")
@click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Only the result.")
@_engine_options
def command(
    run: Path,
    search_anyway: bool,
    has_scalars: bool,
    is_json: bool,
    is_quiet: bool,
    **words: Any,
) -> None:
    """Go on with the search or comparison in directory RUN.

    Finished trainings are never repeated. The result is the one that an undisturbed run would
    have had. Where the trainings run may change: --engine and the options of Ray.
    """
    from policysearch.engines.choose import engine_with
    from policysearch.study import resume

    make_engine = engine_with({name: value for name, value in words.items() if value is not None})
    carry_out(
        lambda progress: resume(run, progress, make_engine, search_anyway=search_anyway),
        run,
        is_json=is_json,
        is_quiet=is_quiet,
        has_scalars=has_scalars,
    )
