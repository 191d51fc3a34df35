"""Pinned meanings: what every operation of `text-1` makes of fixed texts with fixed draws.

A failure here says that a policy file in somebody's hands now means something else. Do not mend
the texts: make a new `ops_version`, and keep these.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from policysearch.ops.lexicon import Lexicon
from policysearch.ops.registry import op_table
from policysearch.ops.text_kernels import TextKernels, count_words
from policysearch.ops.thesaurus import shipped_thesaurus
from policysearch.policy_json import policy_to_dict, read_policy_file
from policysearch.resources import policy_files

EXPECTED = json.loads((Path(__file__).parent / "golden" / "text_1.json").read_text())
TEXTS = [
    "This little camera takes great pictures, but its battery never lasts a whole day.",
    "A warm and FUNNY film about a family of thieves; I wouldn't miss it!",
    "  Shipping was fast,\n\nthe box was fine (and  everything works).",
    "Das Café ist schön 👍🏽, 这部电影很好看。",
]


def made(name):
    """Each text at three strengths; draws from integer arithmetic, which no library can change."""
    spec = op_table("text")[name]
    texts = [text for text in TEXTS for _ in range(3)]
    n = len(texts)
    levels = np.tile([0.3, 0.7, 1.0], len(TEXTS))
    m = spec.magnitude(levels) if spec.has_magnitude else np.zeros(n)
    draws = (np.arange(n) * 7_919 + 13) % 10_007 / 10_007
    kernels = TextKernels(Lexicon(shipped_thesaurus()), count_words(TEXTS))
    return kernels.apply(texts, [name], np.zeros((n, 1), int), m[:, None], draws[:, None, None])


def test_every_operation_is_pinned():
    assert list(EXPECTED) == list(op_table("text"))


@pytest.mark.parametrize("name", op_table("text"))
def test_an_operation_makes_of_texts_what_it_made(name):
    assert made(name) == EXPECTED[name]


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("eda", "f0302f44662e26df"),
        ("aeda", "656598238c19b5aa"),
        ("default-text", "f0302f44662e26df"),
    ],
)
def test_a_named_policy_has_the_digest_it_had(name, digest):
    document = read_policy_file(policy_files()[name])
    assert document.policy.digest() == digest
    assert policy_to_dict(document)["version"] == 1
