"""`policysearch search`: from data to a policy with a verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from policysearch.cli.commands import examples
from policysearch.cli.run_options import (
    Duration,
    config_from,
    data_options,
    network_options,
    run_options,
    training_options,
)


@click.command(
    epilog=examples(
        "policysearch search digits --train-size 100",
        "policysearch search photos/ --budget 30m --out runs/photos",
        "policysearch search data.npz --space autoaugment --trials 500",
        "policysearch search my_package.data:load --seed 7",
        "policysearch search frames/ --group-pattern '(track\\d+)_'",
        "policysearch search photos/ --objectives score,cost",
        "policysearch search wine    # built in, like digits and breast_cancer",
        "policysearch search photos/ --engine ray --ray-address head:6379 --workers 8",
        "policysearch search reviews.csv    # columns text and label",
        "policysearch search photos/ --space full --generator vae",
        "policysearch search words/ --group-pattern '_([a-z]+)_'    # sounds",
        "policysearch search ArrowHead/    # time series, a folder of .ts files",
        "policysearch search my_package.training:train --objective function",
        "policysearch search --objective command \\",
        "    --command 'python train.py --policy {policy} --seed {seed}'",
    )
)
@click.argument("data", default="")
@click.option("--space", help="Name or YAML file.  [default: opwise for the kind of data]")
@click.option(
    "--strategy",
    type=click.Choice(
        ["screened", "calibrated", "pbt", "random", "fast-autoaugment", "deepaugment"]
    ),
    default="calibrated",
    show_default=True,
    help="How single operations are judged: by forward passes of networks trained without "
    "augmentation, or by trainings with each of them (give 120 trials). Population based training "
    "(pbt) finds a strength for each part of a training (give 49 trials: 8 members, 6 "
    "generations). The others are there to be compared with.",
)
@click.option(
    "--sampler",
    type=click.Choice(["tpe", "random", "nsga2"]),
    default="tpe",
    show_default=True,
    help="Refines what screening found.",
)
@click.option("--trials", type=int, default=16, show_default=True, help="Policies to try.")
@click.option("--budget", type=Duration(), help="Wall time of the whole run, such as 10m.")
@click.option("--search-epochs", type=int, help="Epochs of a training in the search.")
@click.option("--candidates", type=int, default=4, show_default=True, help="To be confirmed.")
@click.option("--confirm-seeds", type=int, help="Fresh seeds.  [default: for 6 trainings]")
@click.option("--lookback", type=int, help="Trials that may be unknown when one is suggested.")
@click.option(
    "--pruner",
    type=click.Choice(["median", "asha"]),
    default="median",
    show_default=True,
    help="What stops poor trials: the median of earlier ones, or Ray Tune's ASHA (with --engine "
    "ray), which depends on timing.",
)
@click.option(
    "--objectives",
    default="score",
    show_default=True,
    help="What is looked for: score, or score,cost for policies than which none is both better "
    "and cheaper to apply (with --sampler nsga2, NSGA-II refines).",
)
@click.option(
    "--search-anyway",
    is_flag=True,
    help="Search also where no head-room is found.",
)
@click.option(
    "--rare-classes",
    is_flag=True,
    help="Search also how much more often rare classes are augmented than frequent ones.",
)
@click.option(
    "--export-generators",
    is_flag=True,
    help="Write the generator beside a policy that needs one, with a report on what it has "
    "memorised. It can give training samples away: docs/privacy.md.",
)
@click.option("--no-prune", is_flag=True, help="Train every trial on every fold.")
@click.option(
    "--strength",
    type=float,
    help="Share of every magnitude range to search.  [default: 0.5 with --checkpoint, else 1]",
)
@network_options
@training_options
@data_options
@run_options
def command(
    out: Path | None,
    is_json: bool,
    is_quiet: bool,
    has_scalars: bool,
    no_prune: bool,
    **words: Any,
) -> None:
    """Find an augmentation policy for DATA and say honestly how much it helps.

    DATA is `digits`, `wine` or `breast_cancer` (built in), a folder of images or sound files by
    class (with train/ and test/ above the classes, or split by seed), an .npz file with x_train
    and y_train, texts or rows in a .csv, .tsv, .jsonl or .parquet table, time series in .ts files,
    or package.module:function. With --objective function it is the function that trains;
    with --objective command there is none.

    The policy goes to OUT/policy.json, the verdict to OUT/verdict.json. An interrupted search
    goes on with `policysearch resume OUT`.
    """
    from policysearch.run import free_directory
    from policysearch.study import search

    config = config_from(words, prune=not no_prune)
    where = out or free_directory(config.data or "command", "")
    carry_out(
        lambda progress: search(config, where, progress),
        where,
        is_json=is_json,
        is_quiet=is_quiet,
        has_scalars=has_scalars,
    )


def carry_out(
    run: Callable[[Any], Any], where: Path, *, is_json: bool, is_quiet: bool, has_scalars: bool
) -> None:
    """Runs with progress, then writes the verdict and what to do next."""
    from policysearch.cli.output import escaped_line, say
    from policysearch.cli.progress import progress_for, with_scalars

    try:
        with progress_for(is_json=is_json, is_quiet=is_quiet) as progress:
            if has_scalars:
                with with_scalars(where, progress) as told:
                    verdict = run(told)
            else:
                verdict = run(progress)
    except KeyboardInterrupt:
        if (where / "ledger.jsonl").exists():
            say(f"Everything finished is kept. Go on: policysearch resume {escaped_line(where)}")
        raise
    if not is_json:
        tell_result(verdict, where, is_quiet=is_quiet)


def tell_result(verdict: dict[str, Any], where: Path, *, is_quiet: bool) -> None:
    """Writes the table of arms, the sentence, the files and the next commands."""
    from policysearch.cli.output import emit, emit_paragraph, escaped_line, say
    from policysearch.cli.verdict_table import emit_verdict
    from policysearch.named import resolve_policy

    place = escaped_line(where)
    if not is_quiet and verdict["arms"]:
        has_choice = "validation" in verdict
        rung = "in the confirmation" if "direction" in verdict else "on validation data"
        emit()
        emit_verdict(verdict, f"chosen {rung}" if has_choice else "the first policy")
        emit()
    emit_paragraph(verdict["sentence"])
    reasons = verdict.get("left_out", {})
    for reason in dict.fromkeys(reasons.values()):
        ops = ", ".join(op for op, why in reasons.items() if why == reason)
        say(f"Left out of the search: {ops}: {escaped_line(reason)}")
    has_policy = (where / "policy.json").exists()
    if is_quiet:
        emit(f"{place}/policy.json" if has_policy else f"{place}/verdict.json")
        return
    emit()
    if has_policy:
        emit(f"Policy:  {place}/policy.json")
    emit(f"Verdict: {place}/verdict.json")
    if has_policy:
        emit()
        emit("Next:")
        emit(f"  policysearch show {place}                      # the policy in words")
        if resolve_policy(where).policy.modality == "image":
            emit(f"  policysearch show {place} --sheet sheet.png    # and in pictures")
        emit(f'  transform = policysearch.load_policy("{place}/policy.json")  # in Python')
