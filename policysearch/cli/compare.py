"""`policysearch compare`: the statistics of a verdict for any policies, without a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from policysearch.cli.commands import examples
from policysearch.cli.run_options import (
    config_from,
    data_options,
    network_options,
    run_options,
    training_options,
)
from policysearch.cli.search import carry_out


@click.command(
    epilog=examples(
        "policysearch compare digits trivialaugment-wide none --train-size 100",
        "policysearch compare digits randaugment none --train-size 100 --subsets 9",
        "policysearch compare photos/ runs/photos/policy.json none --verdict-seeds 10",
        "policysearch compare my.training:train none augmix --objective function",
    )
)
@click.argument("data")
@click.argument("policies", nargs=-1, required=True, metavar="POLICY...")
@click.option(
    "--subsets",
    type=int,
    metavar="K",
    help="Draw K training sets of --train-size and train on each with a seed of its own, in place "
    "of --verdict-seeds on one: the intervals then hold for new training sets as well.",
)
@network_options
@training_options
@data_options
@run_options
def command(
    policies: tuple[str, ...],
    out: Path | None,
    is_json: bool,
    is_quiet: bool,
    has_scalars: bool,
    **words: Any,
) -> None:
    """Train with each POLICY on DATA, with paired seeds, and compare the first with the others.

    A POLICY is a file, a run directory, or a name such as none, trivialaugment-wide, randaugment,
    augmix, autoaugment-cifar10. The result goes to OUT/verdict.json. With --objective command
    there is no DATA.
    """
    from policysearch.comparison import compare
    from policysearch.run import free_directory

    if words["objective"] == "command":  # there is no DATA, so the first word is a policy
        policies, words["data"] = (words["data"], *policies), ""
    config = config_from(words, policies=policies)
    where = out or free_directory(config.data or "command", "compare-")
    carry_out(
        lambda progress: compare(config, where, progress),
        where,
        is_json=is_json,
        is_quiet=is_quiet,
        has_scalars=has_scalars,
    )
