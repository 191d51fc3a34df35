"""Text: strings, before any tokenizer.

Operations look words up in a thesaurus and, one of them, draw words from the training texts;
both come with the transform, never with the policy file.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policysearch.draws import Drawn
from policysearch.errors import InvalidValueError, shortened
from policysearch.modalities.base import Batch, Modality, Restore, no_lengths
from policysearch.ops.lexicon import Lexicon
from policysearch.ops.text_kernels import NEEDS_FIT, TextKernels, WordCounts, count_words
from policysearch.ops.thesaurus import Thesaurus, load_thesaurus, shipped_thesaurus
from policysearch.policy import Policy

MAX_UNKNOWN_LENGTH = 64


@dataclass(frozen=True, eq=False)
class TextSettings:
    """What text operations need to know besides the text.

    Attributes:
      thesaurus: Synonyms; `None`: those that ship.
      unknown: How the sign for an unknown word is written.
      counts: Words of the training texts; `None`: not fitted.
    """

    thesaurus: Thesaurus | None = None
    unknown: str = "[UNK]"
    counts: WordCounts | None = None

    @functools.cached_property
    def kernels(self) -> TextKernels:
        """Kernels with these settings, made once."""
        return TextKernels(
            Lexicon(self.thesaurus or shipped_thesaurus(), self.unknown), self.counts
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "kernels"}


_SHIPPED = TextSettings()


class TextModality(Modality):
    """A string, or a list, tuple or one-dimensional numpy array of strings."""

    def take_in(
        self,
        x: Any,
        lengths: Any = None,
        y: Any = None,  # noqa: ARG002 -- no operation on text needs classes
    ) -> tuple[Batch, Restore]:
        """See `Modality`."""
        no_lengths(lengths, "texts")
        if isinstance(x, str):
            return Batch([x]), lambda out: out[0]
        texts, restore = _texts(x)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidValueError(
                    f"A text must be a string, got {shortened(text)} (text {i}). Augment before "
                    "tokenizing."
                )
        return Batch(texts), restore

    def apply(self, batch: Batch, drawn: Drawn, policy: Policy) -> Any:  # noqa: ARG002
        """See `Modality`."""
        settings = _SHIPPED if batch.settings is None else batch.settings
        needing = sorted(NEEDS_FIT.intersection(drawn.ops))
        if needing and settings.counts is None:
            raise InvalidValueError(
                f"Op '{needing[0]}' draws from the words of the training texts, which it has not "
                "seen. Call transform.fit(texts) first."
            )
        if (drawn.op_index < 0).all():
            return batch.x
        return settings.kernels.apply(
            batch.x, drawn.ops, drawn.op_index, drawn.magnitude, drawn.extra
        )

    def each(self, batches: Sequence[Batch], drawn: Drawn, policy: Policy) -> list[Any]:
        """All at once, which is ten times as fast (see `Modality`)."""
        if not batches:
            return []
        together = Batch([batch.x[0] for batch in batches], settings=batches[0].settings)
        return [[text] for text in self.apply(together, drawn, policy)]

    def settings(
        self, told: Any, thesaurus: Any = None, unknown: Any = None, **said: Any
    ) -> TextSettings:
        """Reads the thesaurus and checks the sign for an unknown word (see `Modality`)."""
        super().settings(told, **said)
        known = told if isinstance(told, TextSettings) else _SHIPPED
        if unknown is not None:
            _check_unknown(unknown)
            known = dataclasses.replace(known, unknown=unknown)
        if thesaurus is not None:
            is_read = isinstance(thesaurus, Thesaurus)
            read = thesaurus if is_read else load_thesaurus(thesaurus)
            known = dataclasses.replace(known, thesaurus=read)
        return known

    def fitted(self, told: Any, x: Any, y: Any = None) -> TextSettings:  # noqa: ARG002
        """Counts the words of training texts (see `Modality`)."""
        batch, _ = self.take_in(x)
        known = told if isinstance(told, TextSettings) else _SHIPPED
        return dataclasses.replace(known, counts=count_words(batch.x))


MODALITY = TextModality()


def _texts(x: Any) -> tuple[list[Any], Restore]:
    if isinstance(x, list):
        return x, lambda out: out
    if isinstance(x, tuple):
        return list(x), tuple
    if isinstance(x, np.ndarray) and x.ndim == 1 and x.dtype.kind in "UOT":
        dtype = object if x.dtype.kind == "O" else str
        return x.tolist(), lambda out: np.array(out, dtype=dtype)
    got = f"an array of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
    raise InvalidValueError(
        f"Texts must be a string, or a list, tuple or array (n,) of strings, got {got}. Augment "
        "before tokenizing."
    )


def _check_unknown(unknown: Any) -> None:
    is_word = isinstance(unknown, str) and len(unknown.split()) == 1
    if not is_word or len(unknown) > MAX_UNKNOWN_LENGTH:
        raise InvalidValueError(
            f"`unknown` must be one word of at most {MAX_UNKNOWN_LENGTH} characters, got "
            f"{shortened(unknown)}."
        )
