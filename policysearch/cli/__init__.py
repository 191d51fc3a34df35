"""The command line: translates between words and calls, and decides nothing.

`main` is the entry point of the `policysearch` command. Each command lives in a file of its own,
which is read when the command is asked for: help answers at once and loads no heavy library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      arguments: Words after the program's name; `None` takes them from `sys.argv`.

    Returns:
      0: done. 1: it failed, or the machine refused. 2: wrong input. 130: interrupted.
      141: the reader of the output went away.
    """
    from policysearch.cli.commands import State, group
    from policysearch.cli.failures import explain

    state = State()
    words = sys.argv[1:] if arguments is None else list(arguments)
    _tolerate_narrow_encodings()
    try:
        result = group.main(args=words, prog_name="policysearch", standalone_mode=False, obj=state)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except SystemExit as error:
        return _code_of(error)
    except BrokenPipeError:
        return _drop_output()
    except BaseException as error:
        return explain(error, is_debug=state.is_debug)


def _tolerate_narrow_encodings() -> None:
    """A terminal that cannot show a sign gets `?`, not a crash."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _code_of(error: SystemExit) -> int:
    """Click leaves this way when the reader of a pipe went away."""
    if isinstance(error.__context__, BrokenPipeError):
        return _drop_output()
    return error.code if isinstance(error.code, int) else 1


def _drop_output() -> int:
    """Points stdout to nowhere, so that the last flush of the interpreter is quiet too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return 141
