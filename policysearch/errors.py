"""The exceptions of the package, on one page.

Every error that a user can cause is a `PolicySearchError`; the command line prints its text and
nothing else. A text names the thing, the rule, the value and the place, and suggests what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class PolicySearchError(Exception):
    """Base of all errors raised on purpose by this package."""


class InvalidValueError(PolicySearchError, ValueError):
    """A value breaks a stated rule."""


class GeneratorError(InvalidValueError):
    """A generator of samples cannot be fitted, asked or used."""


class UnknownNameError(PolicySearchError, LookupError):
    """A name is not known; the text suggests the nearest one."""


class DataError(PolicySearchError, ValueError):
    """A dataset cannot be read or cannot serve the purpose."""


class FormatError(PolicySearchError, ValueError):
    """A policy, space or ledger file is malformed; carries every problem found in it."""

    def __init__(self, what: str, problems: Sequence[str]) -> None:
        self.what = what
        self.problems = tuple(problems)
        count = "" if len(self.problems) == 1 else f" ({len(self.problems)} problems)"
        super().__init__(
            "\n".join([f"{what} is not valid{count}:", *(f"  {p}" for p in problems)])
        )

    def __reduce__(self) -> tuple[type[FormatError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.what, self.problems)


class RunError(PolicySearchError, RuntimeError):
    """A run cannot start, go on or finish."""


class MissingDependencyError(PolicySearchError, ImportError):
    """An optional package is needed; the text says how to install it."""


def shortened(value: object, limit: int = 80) -> str:
    """`repr` of a value, fit for a message: cut to `limit` characters, never an error.

    Examples:
      >>> shortened("x" * 100, limit=10)
      "'xxxxxx..."
    """
    if isinstance(value, int) and value.bit_length() > 512:  # long ones refuse to be written
        return f"a whole number of {value.bit_length()} bits"
    try:
        text = repr(value)
    except ValueError:  # such a number within a list
        text = f"a {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def unknown_name(kind: str, name: object, known: Iterable[str], where: str = "") -> str:
    """Says that `name` is not a known `kind`, with the nearest known name and the whole list.

    Examples:
      >>> unknown_name("op", "rotat", ["rotate", "scale"])
      "Unknown op 'rotat'. Did you mean 'rotate'? Known: rotate, scale."
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    place = f" ({where})" if where else ""
    return f"Unknown {kind} {str(name)[:80]!r}{place}.{hint} Known: {', '.join(names)}."
