"""A user's command line with placeholders: checked once, filled in for every training."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping

from policysearch.errors import InvalidValueError, unknown_name

PLACEHOLDERS = {
    "policy": "the policy file",
    "seed": "the seed of the training",
    "rung": "search, confirm or verdict",
    "out": "a folder for what the training writes",
}
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def split_command(text: str) -> tuple[str, ...]:
    """The arguments of a command line, with their placeholders.

    No shell: quotes group words as in a shell, and nothing else has a meaning.

    Raises:
      InvalidValueError: For an empty line, open quotes, a program that is not there, unknown
        placeholders, or a line without {policy}.
    """
    try:
        arguments = tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidValueError(f"`command` cannot be split into words: {error}.") from None
    if not arguments:
        raise InvalidValueError("`command` must name a program.")
    check_placeholders(text, "command")
    if "{policy}" not in text:
        raise InvalidValueError(
            f"`command` must hold {{policy}}: without the policy file every training is the same, "
            f"got {text!r}."
        )
    if not _PLACEHOLDER.search(arguments[0]) and shutil.which(arguments[0]) is None:
        raise InvalidValueError(
            f"The program '{arguments[0]}' of `command` was not found, or may not be executed. "
            "Is it on the PATH, or does it need `python` or `sh` before it?"
        )
    return arguments


def check_placeholders(text: str, name: str) -> None:
    """Raises `InvalidValueError` for the first placeholder that is not known."""
    for found in _PLACEHOLDER.findall(text):
        if found not in PLACEHOLDERS:
            where = f"in `{name}`"
            raise InvalidValueError(unknown_name("placeholder", found, PLACEHOLDERS, where))


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with values in place of its placeholders; what is put in is not looked at again."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)
