"""`policysearch apply`: a policy on files, for trainers that only read files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from policysearch.cli.commands import examples

if TYPE_CHECKING:
    from policysearch.cli.augment_folder import Found, Report, Store
    from policysearch.data.split_tables import TableColumns
    from policysearch.policy import Policy


def _folder(context: click.Context, option: click.Parameter, value: str) -> Path:
    """A path; an empty one (of an unset shell variable) would be the current folder."""
    if not value:
        raise click.BadParameter("it is empty.", context, option)
    return Path(value)


@click.command(
    epilog=examples(
        "policysearch apply run photos/ augmented/ --copies 4",
        "policysearch apply trivialaugment-wide photos/ out/ --seed 7",
        "policysearch apply run/policy.json photos/ out/ --skip-bad --json",
        "policysearch apply audiomentations words/ out/ --copies 4    # sounds",
        "policysearch apply eda reviews.csv augmented.csv --copies 4",
        "policysearch apply smote patients.csv more.csv --label-column outcome",
    )
)
@click.argument("policy")
@click.argument("src", callback=_folder)
@click.argument("dst", callback=_folder)
@click.option(
    "--copies",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Augmented copies of each sample.",
)
@click.option("--seed", default=0, show_default=True, help="Root seed.")
@click.option("--force", "is_forced", is_flag=True, help="Write into a DST that is there.")
@click.option("--text-column", help="Column of a table that holds the texts.")
@click.option("--label-column", help="Column of a table of rows that holds the classes.")
@click.option(
    "--categorical-column", "categorical", multiple=True, help="Column that holds categories."
)
@click.option("--skip-bad", is_flag=True, help="Leave damaged files out and list them.")
@click.option("--json", "is_json", is_flag=True, help="Write what was done as JSON.")
@click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Only problems.")
def command(
    policy: str,
    src: Path,
    dst: Path,
    copies: int,
    seed: int,
    is_forced: bool,
    text_column: str | None,
    label_column: str | None,
    categorical: tuple[str, ...],
    skip_bad: bool,
    is_json: bool,
    is_quiet: bool,
) -> None:
    """Augment images or sounds of folder SRC, or table SRC, with POLICY into DST.

    Sub-folders and formats stay; photos/cats/1.png becomes DST/cats/1.aug0.png. PNG, BMP, PPM and
    lossless WebP stay lossless, JPEG is written at quality 95; sounds keep their rate, depth and
    length. A file always becomes the same, whatever lies beside it: the result depends on the
    seed, its path below SRC, and the copy.

    A table is a .csv or .tsv file with a column of texts, or for a tabular policy of training
    rows; the other columns stay.
    """
    from policysearch.company import check_alone
    from policysearch.errors import DataError
    from policysearch.named import resolve_policy

    chosen = resolve_policy(policy).policy
    check_alone(chosen)
    chosen = _for_copies(chosen, is_quiet=is_quiet)
    if chosen.modality in ("text", "tabular"):
        from policysearch.data.split_tables import TableColumns

        columns = TableColumns(text_column, label_column, None, categorical)
        _apply_to_table(chosen, src, dst, columns, copies, seed, is_forced, is_json, is_quiet)
        return
    from policysearch.cli.augment_folder import (
        augment,
        bad_text,
        check_files,
        check_folders,
        find_files,
        store_for,
    )

    store = store_for(chosen.modality)
    kind = store.kind
    check_folders(src, dst, is_forced=is_forced)
    found = find_files(src, kind)
    if not found.samples and not found.outside:
        raise DataError(f"'{src}' holds no {kind.listing('or')} {kind.many}.")
    watch = _silent if is_quiet else _watched
    if not skip_bad:
        check_files(store, src, found, watch)
    report = augment(store, chosen, src, dst, found, n_copies=copies, seed=seed, watch=watch)
    if report.n_written == 0:
        raise DataError(f"No {kind.one} in '{src}' can be augmented:\n{bad_text(report.bad)}")
    _tell(report, found, store, dst, copies, is_json=is_json, is_quiet=is_quiet)


def _for_copies(policy: Policy, *, is_quiet: bool) -> Policy:
    """The policy without what only a training can give it: progress, and classes by number."""
    from policysearch.cli.output import say

    notices = []
    if policy.schedule is not None:
        notices.append(
            "The strength of this policy changes over a training; the copies get all of it."
        )
    if policy.class_probability is not None:
        notices.append(
            "This policy augments some classes less often in a training; here all are alike."
        )
    for notice in () if is_quiet else notices:
        say(notice)
    return policy.at_full_strength().for_all_classes()


def _apply_to_table(
    policy: Policy,
    src: Path,
    dst: Path,
    columns: TableColumns,
    copies: int,
    seed: int,
    is_forced: bool,
    is_json: bool,
    is_quiet: bool,
) -> None:
    from policysearch.cli.output import emit, emit_json, escaped_line

    if policy.modality == "text":
        from policysearch.cli.augment_table import augment_table

        n = augment_table(
            policy, src, dst, column=columns.text, n_copies=copies, seed=seed, is_forced=is_forced
        )
    else:
        from policysearch.cli.augment_rows import augment_rows

        n = augment_rows(
            policy, src, dst, columns=columns, n_copies=copies, seed=seed, is_forced=is_forced
        )
    if is_json:
        emit_json({"out": str(dst), "written": n, "copies": copies})
    elif not is_quiet:
        each = "" if copies == 1 else f", {copies} of each of {n // copies:,}"
        many = "texts" if policy.modality == "text" else "rows"
        emit(f"Wrote {n:,} {many} to {escaped_line(dst)}{each}.")


def _tell(
    report: Report,
    found: Found,
    store: Store,
    dst: Path,
    copies: int,
    *,
    is_json: bool,
    is_quiet: bool,
) -> None:
    from policysearch.cli.augment_folder import bad_text
    from policysearch.cli.output import emit, emit_json, escaped_line, say

    many = store.kind.many
    if report.bad:
        say(f"{len(report.bad):,} {many} were left out:\n{bad_text(report.bad)}")
    if is_json:
        bad = [{"file": name, "reason": why} for name, why in report.bad.items()]
        emit_json(
            {
                "out": str(dst),
                "written": report.n_written,
                "copies": copies,
                "skipped": bad,
                "ignored": found.other + found.links,
                "changes": dict(report.changes),
            }
        )
    if is_quiet or is_json:
        return
    for notice in _notices(report, found, store):
        say(notice)
    n = report.n_written // copies
    each = "" if copies == 1 else f", {copies} of each of {n:,}"
    emit(f"Wrote {report.n_written:,} {many} to {escaped_line(dst)}{each}.")


def _notices(report: Report, found: Found, store: Store) -> list[str]:
    from policysearch.data.dataset import listed

    many, changes = store.kind.many, store.changes
    notices = [f"{n:,} {many} {changes[kind]}." for kind, n in sorted(report.changes.items())]
    if found.other:
        notices.append(f"{len(found.other):,} other files were ignored: {listed(found.other, 5)}.")
    if found.links:
        notices.append(
            f"{len(found.links):,} links to folders were not followed: {listed(found.links, 5)}."
        )
    return notices


def _silent(names: Iterable[str], _what: str) -> Iterable[str]:
    return names


def _watched(names: Iterable[str], what: str) -> Iterator[str]:
    """The names with a progress bar, where a person is watching."""
    import sys

    if not sys.stderr.isatty():
        yield from names
        return
    from rich.console import Console
    from rich.progress import track

    known = list(names)
    yield from track(known, description=what, console=Console(file=sys.stderr), transient=True)
