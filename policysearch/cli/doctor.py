"""`policysearch doctor`: what is installed, what the machine can do, and how to mend the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from policysearch.cli.commands import examples

if TYPE_CHECKING:
    from policysearch.cli.checks import Finding


@click.command(
    epilog=examples(
        "policysearch doctor",
        "policysearch doctor --json > machine.json   # for a bug report",
    )
)
@click.option("--json", "is_json", is_flag=True, help="Write JSON.")
def command(is_json: bool) -> None:
    """Say what is installed and what this machine can do.

    Takes some seconds: packages are really imported and a small augmentation and training are
    timed. Exits with 1 when something that is needed is broken, and says how to mend it.
    """
    from policysearch.cli.checks import all_findings
    from policysearch.cli.output import emit_json

    findings = all_findings()
    problems = [finding for finding in findings if finding.is_problem]
    if is_json:
        emit_json(
            {
                "ok": not problems,
                "findings": [
                    {
                        "topic": f.topic,
                        "name": f.name,
                        "ok": not f.is_problem,
                        "value": f.value,
                        "text": f.text,
                        "mend": f.mend,
                    }
                    for f in findings
                ],
            }
        )
    else:
        _show(findings, problems)
    if problems:
        click.get_current_context().exit(1)


def _show(findings: list[Finding], problems: list[Finding]) -> None:
    from policysearch.cli.output import emit, emit_paragraph, escaped_line

    longest = max(len(finding.name) for finding in findings) + 2
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            emit(("\n" if topic else "") + finding.topic)
            topic = finding.topic
        mark = "!" if finding.is_problem else " "
        text = escaped_line(finding.text)
        emit_paragraph(text, f"{mark} {finding.name:<{longest}}", " " * (longest + 2))
    emit()
    if not problems:
        emit("Everything that is needed works.")
        return
    emit(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}. To mend:")
    for finding in problems:
        emit(f"  {finding.name}: {finding.mend or 'see above'}")
