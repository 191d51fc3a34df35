"""The one contract of all samplers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from policysearch.trial import Suggestion, Trial


class Sampler(Protocol):
    """Suggests policies. Holds no state of its own: what it says depends on its arguments only.

    `suggest` is called once per trial, in order of number. `history` holds trials in order of
    number, finished ones only; the last few before `number` may be missing because they still
    run. The same arguments give the same suggestion in every process, which is what makes a run
    resumable and independent of timing.
    """

    def suggest(self, number: int, history: Sequence[Trial]) -> Suggestion:
        """Suggests the policy of trial `number`."""
        ...


@runtime_checkable
class Generational(Sampler, Protocol):
    """A sampler that wants to see more than the look-back window shows."""

    def n_needed(self, number: int) -> int:
        """Trials, from the first on, that must have ended before trial `number` is suggested."""
        ...
