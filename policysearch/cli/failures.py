"""From an exception to a text a person can act on, and the exit code that scripts rely on."""

from __future__ import annotations

import errno
import sys
import traceback

import click

from policysearch.cli.output import escaped, say, say_wrapped
from policysearch.errors import MissingDependencyError, PolicySearchError, RunError

_FAILED, _WRONG_INPUT, _INTERRUPTED = 1, 2, 130

_ADVICE = {
    errno.ENOSPC: "Free some space or write elsewhere.",
    errno.EDQUOT: "Your quota is used up: free some space or write elsewhere.",
    errno.EROFS: "Write to another place.",
    errno.EACCES: "Check who owns it, or choose another place.",
    errno.EPERM: "Check who owns it, or choose another place.",
    errno.EMFILE: "Raise the limit of open files: ulimit -n 4096",
}


def explain(error: BaseException, *, is_debug: bool) -> int:
    """Says on stderr what went wrong and returns the exit code."""
    if is_debug and not isinstance(error, (click.ClickException, click.Abort)):
        sys.stderr.write("".join(traceback.format_exception(error)))
    if isinstance(error, click.UsageError):
        return _explain_usage(error)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        say("Interrupted.")
        return _INTERRUPTED
    text, code = _text_and_code(error)
    say_wrapped(f"Error: {text}")
    return code


def _explain_usage(error: click.UsageError) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # its text is the whole help; click >= 8.2
        click.echo(error.format_message(), err=True)
        return _WRONG_INPUT
    if error.ctx is not None:
        say(error.ctx.get_usage())
    say(f"Error: {error.format_message()}")
    if error.ctx is not None:
        say(f"Help and examples: {error.ctx.command_path} --help")
    return _WRONG_INPUT


def _text_and_code(error: BaseException) -> tuple[str, int]:
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, (RunError, MissingDependencyError)):
        return str(error), _FAILED
    if isinstance(error, PolicySearchError):
        return str(error), _WRONG_INPUT
    if isinstance(error, MemoryError):
        return "The machine has not enough free memory for this.", _FAILED
    if isinstance(error, OSError) and error.strerror:
        return _machine_text(error), _FAILED
    what = escaped(f"{type(error).__name__}: {error}").rstrip(": ")
    return f"internal error: {what}\nRun again with --debug to see where.", _FAILED


def _machine_text(error: OSError) -> str:
    place = f": '{error.filename}'" if error.filename else ""
    advice = _ADVICE.get(error.errno or 0, "")
    return f"{error.strerror}{place}. {advice}".rstrip()
