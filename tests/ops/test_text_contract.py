"""The contract of all text operations: that of every modality, and their own."""

import functools

import numpy as np
from contracts.modality_contract import ModalityContract
from contracts.text_op_contract import EDGES, PLAIN, TextOpContract, kernels

from policysearch.modalities import Batch
from policysearch.modalities.text import TextSettings
from policysearch.ops.registry import OPS_VERSIONS
from policysearch.ops.text_kernels import count_words
from policysearch.policy import Policy
from policysearch.transform import apply_drawn

__all__ = ["kernels"]


@functools.cache
def settings():
    return TextSettings(counts=count_words(PLAIN))


class TestTexts(ModalityContract):
    """A change is measured in words that differ from those in the same place."""

    modality = "text"

    def samples(self, n):
        return Batch([PLAIN[i % len(PLAIN)] for i in range(n)])

    def edges(self):
        return {repr(text[:20]): Batch([text] * 4) for text in EDGES[:-1]}

    def apply(self, batch, drawn):
        policy = Policy((), self.modality, OPS_VERSIONS[self.modality][-1])
        return apply_drawn(batch.x, drawn, policy, settings=settings())

    def form(self, x):
        return len(x), {type(text) for text in x}

    def entries(self, x, index):
        return [x[i] for i in np.asarray(index)]

    def distance(self, a, b):
        return float(np.mean([n_changes(s.split(), t.split()) for s, t in zip(a, b, strict=True)]))

    def assert_same(self, a, b):
        assert a == b

    assert_identical = assert_same


def n_changes(a, b):
    """Places in which two lists of words differ, and words that one has more."""
    return sum(s != t for s, t in zip(a, b, strict=False)) + abs(len(a) - len(b))


class TestTextOps(TextOpContract):
    pass
