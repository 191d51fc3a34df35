"""`policysearch export-study`: a run as a study of Optuna."""

from __future__ import annotations

from pathlib import Path

import click

from policysearch.cli.commands import examples


@click.command(
    epilog=examples(
        "policysearch export-study run --storage study.db",
        "policysearch export-study run --storage study.journal",
        "policysearch export-study run --storage postgresql+psycopg://host/optuna",
        "optuna-dashboard sqlite:///study.db",
    )
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--storage",
    required=True,
    metavar="URL",
    help="A URL that Optuna takes, or a file: study.db, study.journal.",
)
@click.option("--name", help="Of the study.  [default: that of the directory]")
def command(run: Path, storage: str, name: str | None) -> None:
    """Write the trials of a search into a study of Optuna.

    Every trial with its parameters, score, folds, state and times; its policy's digest, origin and
    seconds as attributes. Exporting again, also while the run goes on, adds what is new.
    """
    from policysearch.cli.output import emit, say
    from policysearch.cli.runs import check_is_run
    from policysearch.exporters.optuna_study import export_study

    check_is_run(run)
    named, added, n = export_study(run, storage, name)
    say(f"{added:,} trials added to the study '{named}', which holds {n:,}.")
    emit(named)
