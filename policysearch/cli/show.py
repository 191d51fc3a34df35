"""`policysearch show`: a policy or a run in words, and as pictures or sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from policysearch.cli.commands import examples

_MAX_SHOWN = 400  # characters of a text

if TYPE_CHECKING:
    from policysearch.policy_json import PolicyDocument
    from policysearch.report.op_lists import OpLists
    from policysearch.report.run_summary import RunSummary


@click.command(
    epilog=examples(
        "policysearch show run                       # what a search found",
        "policysearch show run --follow              # while it goes on, elsewhere",
        "policysearch show trivialaugment-wide       # a policy that ships",
        "policysearch show run --sheet sheet.png --images photos/",
        "policysearch show run/policy.json --json | jq .summary",
        "policysearch show eda --texts reviews.csv   # what it makes of sentences",
    )
)
@click.argument("policy", metavar="POLICY_OR_RUN")
@click.option("--sheet", metavar="FILE.png", help="Draw what it does to sample images.")
@click.option(
    "--images",
    metavar="DATA",
    default="digits",
    show_default=True,
    help="Where the sheet takes images from: a folder, an .npz, as for `search`.",
)
@click.option(
    "--texts", metavar="DATA", help="Where a text policy takes its examples from: as for `search`."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the draws shown.")
@click.option("--follow", "is_followed", is_flag=True, help="Tell a run's progress till its end.")
@click.option("--json", "is_json", is_flag=True, help="Write JSON.")
def command(
    policy: str,
    sheet: str | None,
    images: str,
    texts: str | None,
    seed: int,
    is_followed: bool,
    is_json: bool,
) -> None:
    """Explain a policy: a file, a shipped name, or the directory of a run.

    Says what happens to a sample, how often and how strongly, where the policy comes from, and
    its verdict. Of a run it also shows how the trials ended and the best of them.
    """
    from policysearch.cli.calibration_table import emit_calibration, read_calibration
    from policysearch.cli.output import emit_json, say

    if sheet is not None:
        _check_sheet_path(Path(sheet))
    if is_followed:
        _follow(policy, is_json=is_json)
        return
    run, document = _load(policy)
    if sheet is not None and document is not None:
        from policysearch.cli.sheet_file import write_sheet

        write_sheet(Path(sheet), document, policy, images, seed)
        say(f"Drawn: {sheet}")
    shown = _examples(document, texts, seed)
    calibration = {} if run is None else read_calibration(Path(policy))
    if is_json:
        told = {"examples": shown, "calibration": calibration}
        emit_json(_as_dict(document, run) | {k: v for k, v in told.items() if v})
        return
    if document is not None:
        _show_policy(document, policy, shown)
    if run is not None:
        emit_calibration(calibration)
        _show_run(run, policy, is_finished=document is not None)


def _follow(text: str, *, is_json: bool) -> None:
    from policysearch.cli.follow import follow_run
    from policysearch.errors import InvalidValueError
    from policysearch.report.run_summary import LEDGER, is_run

    if not is_run(Path(text)):
        raise InvalidValueError(f"`--follow` needs a run: '{text}' holds no {LEDGER}.")
    follow_run(Path(text), is_json=is_json)


def _examples(
    document: PolicyDocument | None, texts: str | None, seed: int
) -> list[dict[str, str]]:
    """What a text policy makes of sentences; none for another one."""
    import dataclasses

    if document is None or document.policy.modality != "text":
        if texts is not None and document is not None:
            from policysearch.errors import InvalidValueError

            raise InvalidValueError(
                f"`--texts` is for text policies, this one is for {document.policy.modality} data."
            )
        return []
    if not document.policy.sub_policies:
        return []
    from policysearch.report.text_examples import SENTENCES, text_examples

    sentences = SENTENCES if texts is None else _few_texts(texts)
    found = text_examples(document.policy, sentences, seed)
    return [dataclasses.asdict(example) for example in found]


def _few_texts(data: str) -> list[str]:
    """The first texts of each class in turn."""
    from policysearch.data import load_source

    train = load_source(data, modality="text").train
    firsts = [(train.y == label).nonzero()[0][:2] for label in range(train.n_classes)][:3]
    return [train.x[i] for rows in firsts for i in rows]


def _check_sheet_path(path: Path) -> None:
    from policysearch.errors import InvalidValueError

    if path.suffix.lower() != ".png":
        raise InvalidValueError(f"`--sheet` must name a .png file, got '{path}'.")
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidValueError(f"`--sheet` must name a file in an existing folder, got '{path}'.")


def _load(text: str) -> tuple[RunSummary | None, PolicyDocument | None]:
    """The run, if it is one, and the policy, unless the run has none yet."""
    from policysearch.errors import InvalidValueError
    from policysearch.named import resolve_policy
    from policysearch.report.run_summary import LEDGER, POLICY, is_run, summarize_run
    from policysearch.resources import policy_files

    path = Path(text)
    if text in policy_files() or not path.is_dir():
        return None, resolve_policy(text)
    has_policy = (path / POLICY).exists()
    if not is_run(path) and not has_policy:
        raise InvalidValueError(
            f"The folder '{text}' is not a run: it holds neither {POLICY} nor {LEDGER}."
        )
    run = summarize_run(path) if is_run(path) else None
    return run, resolve_policy(path) if has_policy else None


def _as_dict(document: PolicyDocument | None, run: RunSummary | None) -> dict[str, Any]:
    import dataclasses

    result: dict[str, Any] = {"name": None, "policy": None}
    if document is not None:
        from policysearch.policy_json import policy_to_dict
        from policysearch.report.words import (
            class_sentence,
            describe,
            mix_sentence,
            schedule_sentence,
            summarize,
            summary_sentence,
        )

        result = {
            "name": document.name,
            "digest": document.policy.digest(),
            "summary": dataclasses.asdict(summarize(document.policy)),
            "sentence": summary_sentence(document.policy),
            "mixing": mix_sentence(document.policy),
            "schedule": schedule_sentence(document.policy),
            "classes": class_sentence(document.policy),
            "blocks": [dataclasses.asdict(block) for block in describe(document.policy)],
            "policy": policy_to_dict(document),
        }
    if run is not None:
        result["run"] = dataclasses.asdict(run)
    return result


def _show_policy(document: PolicyDocument, text: str, shown: list[dict[str, str]]) -> None:
    from policysearch.cli.output import emit, emit_paragraph, escaped_line
    from policysearch.report.words import (
        class_sentence,
        generator_sentence,
        mix_sentence,
        schedule_sentence,
        summary_sentence,
    )

    policy = document.policy
    emit(f"Policy '{escaped_line(document.name or text)}'")
    emit_paragraph(summary_sentence(policy), "  ")
    for sentence in (
        mix_sentence(policy),
        schedule_sentence(policy),
        class_sentence(policy),
        generator_sentence(document),
    ):
        if sentence:
            emit_paragraph(sentence, "  ")
    _show_blocks(document)
    if policy.modality == "image" and policy.sub_policies:
        fill = "black" if policy.fill == 0 else f"{policy.fill:.0%} of the range"
        emit()
        emit_paragraph(
            f"Geometric operations use {policy.interpolation} interpolation; what comes from "
            f"outside the image is {fill}. Operations as in {policy.ops_version}; "
            f"digest {policy.digest()}."
        )
    _show_examples(shown)
    _show_provenance(document)
    _show_verdict(document)


def _show_examples(shown: list[dict[str, str]]) -> None:
    from policysearch.cli.output import emit, emit_paragraph, escaped_line

    if not shown:
        return
    emit()
    emit("What it makes of sentences")
    for example in shown:
        emit_paragraph(escaped_line(example["before"])[:_MAX_SHOWN], "  - ", "    ")
        emit_paragraph(escaped_line(example["after"])[:_MAX_SHOWN], "    > ", "      ")


def _show_blocks(document: PolicyDocument) -> None:
    from policysearch.cli.output import emit, emit_paragraph, emit_table
    from policysearch.report.op_lists import op_lists
    from policysearch.report.words import describe

    lists = op_lists(document.policy)
    if lists is not None:
        _show_lists(document, lists)
        return
    shown = None
    for block in describe(document.policy):
        emit()
        emit(block.title)
        for step in block.steps:
            emit_paragraph(step.text, "  - ", "    ")
            if step.choices and step.choices == shown:
                emit("      the same operations as above")
            elif step.choices:
                shown = step.choices
                rows = [[f"{row.share:.1%}", row.op, row.text] for row in step.choices]
                emit_table(["share", "op", "what it does"], rows, right=(0,), indent=6)


def _show_lists(document: PolicyDocument, lists: OpLists) -> None:
    from policysearch.cli.output import emit, emit_paragraph, emit_table
    from policysearch.report.words import drawn_for

    one, many = drawn_for(document.policy)
    emit()
    emit(f"One sub-policy is drawn for each {one}:")
    for share, steps in lists.sub_policies:
        emit_paragraph(f"{share} of the {many}: {steps}", "  - ", "    ")
    emit()
    emit_paragraph(
        "The lists that these letters stand for, all operations of a list equally likely. A "
        "strength is drawn from the weakest to the one told here, or is always it (=). What an "
        f"operation does: policysearch ops NAME --modality {document.policy.modality}"
    )
    rows = [[row.op, row.lists, *row.amounts] for row in lists.rows]
    emit_table(["op", "in", *lists.columns], rows, indent=2)


def _show_provenance(document: PolicyDocument) -> None:
    import json

    from policysearch.cli.output import emit, emit_paragraph, escaped_line

    if not document.provenance:
        return
    emit()
    emit("Where it comes from")
    for key, value in document.provenance.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        shown = shown if len(shown) <= 300 else shown[:297] + "..."
        title = escaped_line(key.replace("_", " "))
        emit_paragraph(f"{title}: {escaped_line(shown)}", "  ", "    ")


def _show_verdict(document: PolicyDocument) -> None:
    from policysearch.cli.output import emit, emit_paragraph, escaped_line
    from policysearch.cli.verdict_table import emit_verdict

    emit()
    if not document.verdict:
        emit("No verdict: it was not compared with other policies on any data.")
        emit("  To do so: policysearch compare DATA POLICY")
        return
    emit("Verdict")
    if isinstance(sentence := document.verdict.get("sentence"), str):
        emit_paragraph(escaped_line(sentence), "  ")
    emit()
    emit_verdict(document.verdict, "exported")


def _show_run(run: RunSummary, text: str, *, is_finished: bool) -> None:
    from policysearch.cli.output import emit, emit_table, escaped_line

    counts = ", ".join(f"{n:,} {state}" for state, n in run.counts.items())
    if is_finished:
        emit()
    emit(f"Run '{escaped_line(text)}'")
    without = "no search was made" if is_finished else "no trial has ended yet"
    emit(f"  {run.n_trials:,} trials: {counts}" if counts else f"  {without}")
    if run.best:
        emit()
        better = "higher" if run.direction == "maximize" else "lower"
        emit(f"The best trials (score: {better} is better)")
        rows = [[str(t.number), f"{t.value:.4f}", t.origin] for t in run.best]
        emit_table(["trial", "score", "origin"], rows, right=(0, 1), indent=2)
    if not is_finished:
        emit()
        emit("It has no policy yet. To go on with it: policysearch resume " + escaped_line(text))
