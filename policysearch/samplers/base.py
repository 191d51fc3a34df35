"""The one contract of all samplers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
