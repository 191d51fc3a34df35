"""Suggestions that a long search keeps: small, and whole again when they are looked at.

A policy is a function of its parameters, and those are numbers: 0.4 KiB in a row instead of 5 KiB
as objects. One without parameters is compressed. Of ten thousand trials a sampler looks at the
policies of a few.
"""

from __future__ import annotations

import dataclasses
import pickle
import zlib
from array import array

from policysearch.policy import Policy
from policysearch.space import Choice, Params, SearchSpace
from policysearch.trial import Suggestion, Trial


class Packing:
    """Packs suggestions of policies of one space.

    Args:
      space: Gives the parameters and their order.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._parameters = space.parameters()

    def packed(self, trial: Trial) -> Trial:
        """The same trial in less memory."""
        return dataclasses.replace(trial, suggestion=Remembered(trial.suggestion, self))

    def numbers(self, params: Params) -> array[float]:
        """Parameters as float64; a choice is the place of its option."""
        return array(
            "d",
            (
                kind.options.index(str(params[name]))
                if isinstance(kind, Choice)
                else float(params[name])
                for name, kind in self._parameters.items()
            ),
        )

    def params(self, numbers: array[float]) -> dict[str, float | int | str]:
        """Inverse of `numbers`."""
        found: dict[str, float | int | str] = {}
        for (name, kind), number in zip(self._parameters.items(), numbers, strict=True):
            if isinstance(kind, Choice):
                found[name] = kind.options[int(number)]
            else:
                found[name] = int(number) if kind.is_integer else number
        return found


class Remembered(Suggestion):
    """A suggestion that is packed; parameters and policy are made anew when they are asked for.

    Args:
      suggestion: Its parameters are those of the space, or `None`.
      packing: That of the space.
    """

    __slots__ = ("_content", "_packing")

    _content: array[float] | bytes
    _packing: Packing

    def __init__(self, suggestion: Suggestion, packing: Packing) -> None:
        params = suggestion.params
        content = (
            zlib.compress(pickle.dumps(suggestion.policy), 1)
            if params is None
            else packing.numbers(params)
        )
        object.__setattr__(self, "_content", content)
        object.__setattr__(self, "_packing", packing)
        for name in ("origin", "state", "folds", "segments"):
            object.__setattr__(self, name, getattr(suggestion, name))

    @property
    def params(self) -> dict[str, float | int | str] | None:
        """See `Suggestion`."""
        content = self._content
        return None if isinstance(content, bytes) else self._packing.params(content)

    @property
    def policy(self) -> Policy:
        """See `Suggestion`."""
        content = self._content
        if isinstance(content, bytes):
            policy: Policy = pickle.loads(zlib.decompress(content))
            return policy
        return self._packing.space.decode(self._packing.params(content))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Suggestion):
            return NotImplemented
        ours, theirs = ((s.origin, s.state, s.params, s.policy) for s in (self, other))
        return ours == theirs

    __hash__ = None  # type: ignore[assignment]
