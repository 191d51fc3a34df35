"""What commands write: data on stdout, talk on stderr, tables that suit a terminal and a pipe.

Names of files, classes and ops come from outside. Whatever reaches a terminal passes `escaped`
first, so that a name cannot move the cursor or forge a line.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import click


def escaped(text: str) -> str:
    r"""The text with control, format and undecodable characters spelled out; newlines stay.

    Examples:
      >>> escaped("a\x1b[31mb")
      'a\\x1b[31mb'
    """
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def escaped_line(text: object) -> str:
    """Like `escaped`, for a name that must stay on its line."""
    return escaped(str(text)).replace("\n", "\\n")


def emit(text: str = "") -> None:
    """Writes a line of data to stdout."""
    click.echo(escaped(text))


def emit_json(value: Any) -> None:
    """Writes a value as JSON to stdout; stays ASCII, so that it survives every pipe."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


def say(text: str) -> None:
    """Tells the person something, on stderr."""
    click.echo(escaped(text), err=True)


def say_wrapped(text: str) -> None:
    """Tells a long text, broken between words where stderr is a terminal."""
    if sys.stderr.isatty():
        columns = max(40, shutil.get_terminal_size().columns)
        text = "\n".join(_wrapped_line(line, columns) for line in text.split("\n"))
    say(text)


def _wrapped_line(line: str, columns: int) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line,
        columns,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def width() -> int:
    """Columns to write in: those of the terminal up to 100, or 80 in a pipe."""
    if not sys.stdout.isatty():
        return 80
    return max(40, min(100, shutil.get_terminal_size().columns))


def emit_paragraph(text: str, indent: str = "", hanging: str | None = None) -> None:
    """Writes a text wrapped to the width; further lines begin with `hanging`."""
    emit(
        textwrap.fill(
            text,
            width(),
            initial_indent=indent,
            subsequent_indent=indent if hanging is None else hanging,
            break_on_hyphens=False,
            break_long_words=False,
        )
    )


def emit_table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    indent: int = 0,
) -> None:
    """Writes a table.

    On a terminal long cells of the last column wrap inside the column; in a pipe every row is
    one line, so that `grep` and `cut` can work on it.

    Args:
      titles: One per column.
      rows: Cells; escaped here.
      right: Columns that are aligned to the right, such as numbers.
      indent: Spaces before each line.
    """
    cells = [[escaped_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(titles, cells, right, indent)
    else:
        _plain_table(titles, cells, right, indent)


def _plain_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int], indent: int
) -> None:
    lines = [titles, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    for line in lines:
        padded = [
            cell.rjust(n) if i in right else cell.ljust(n)
            for i, (cell, n) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo((" " * indent + "  ".join(padded)).rstrip())


def _rich_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int], indent: int
) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    last = len(titles) - 1
    for i, title in enumerate(titles):
        justify: Any = "right" if i in right else "left"
        table.add_column(title, justify=justify, no_wrap=i != last, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=width(), highlight=False).print(Padding(table, (0, 0, 0, indent)))
