"""What a policy makes of sentences: the contact sheet of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policysearch.modalities.text import MODALITY
from policysearch.policy import Policy
from policysearch.transform import PolicyTransform

#: Sentences to show a policy on where no data are named.
SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "This little camera takes great pictures, but its battery never lasts a whole day.",
    "A warm and funny film about a family of thieves; I would gladly watch it again!",
    "We waited two hours for a cold meal. Nobody said sorry.",
    "Shipping was fast, the box was fine, and everything works as they promised.",
)
_N_TRIES = 20  # draws for a text until one changes it


@dataclass(frozen=True, slots=True)
class Example:
    """A text and what a policy made of it."""

    before: str
    after: str


def text_examples(policy: Policy, texts: Sequence[str], seed: int) -> list[Example]:
    """Draws for each text, again where the draw leaves it as it is, a few times.

    Operations that draw from training texts draw from these.
    """
    transform = PolicyTransform(policy.at_full_strength(), seed, MODALITY.settings(None))
    transform.fit(list(texts))
    found = []
    for i, text in enumerate(texts):
        tries = transform([text] * _N_TRIES, index=np.arange(_N_TRIES) + i * _N_TRIES)
        after = next((result for result in tries if result != text), text)
        found.append(Example(text, after))
    return found
