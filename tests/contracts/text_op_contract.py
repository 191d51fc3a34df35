"""What every operation on text must keep beside the contract of all modalities.

A new entry in the table is covered without a new line here. The texts have what real ones have:
nothing, one word, signs only, emoji, combining marks, scripts from right to left and without
spaces, line breaks, undecodable bytes, ten thousand words.
"""

import itertools
import unicodedata

import numpy as np
import pytest

from policysearch.ops.lexicon import Lexicon
from policysearch.ops.registry import op_table
from policysearch.ops.text_kernels import TextKernels, count_words
from policysearch.ops.text_words import is_negation, parts, pieces
from policysearch.ops.thesaurus import shipped_thesaurus

NAMES = list(op_table("text"))
PLAIN = [
    "the quick brown fox jumps over the lazy dog near a big old house",
    "a sad superior human comedy played out on the back roads of life",
    "this camera takes great pictures and the battery lasts a long time",
    "i would not buy this player again because the screen broke after a week",
    "never a dull moment in this smart funny film about a family of thieves",
    "the plot is thin but the actors make the most of every little scene",
]
EDGES = [
    "",
    " ",
    "good",
    "not",
    "?!...",
    "😀 👨‍👩‍👧 👍🏽 🇩🇪",
    "great😀 film 👍🏽👍🏽",
    "cafe\u0301 nai\u0308ve re\u0301sume\u0301 good",
    "הסרט הזה היה טוב מאוד בעיניי",
    "كان هذا الفيلم جيدا جدا في رأيي",
    "这部电影很好看，我非常喜欢。",
    "हिन्दी में एक वाक्य लिखा गया है",
    'He said: "It\'s (really) great!"\n\n\tBUT I don’t  agree...  ',
    "\udcff broken \udcfe bytes here",
    "zero\u200bwidth and\u00a0hard spaces \x1e and separators",
    "word " * 9_999 + "word",
]
TEXTS = PLAIN + EDGES


@pytest.fixture(scope="module")
def kernels():
    lexicon = Lexicon(shipped_thesaurus())
    return TextKernels(lexicon, count_words(PLAIN))


def run(kernels, name, texts, level, seed=0, rows=None):
    """One operation on texts; the draws of a text are those of its place, or of `rows`."""
    spec = op_table("text")[name]
    n = len(texts)
    draws = np.random.default_rng(seed).random((64, 1, 1))[:n] if rows is None else rows
    magnitude = np.full((n, 1), spec.magnitude(level) if spec.has_magnitude else 0.0)
    return kernels.apply(texts, [name], np.zeros((n, 1), int), magnitude, draws)


def words_of(text):
    return [word for word in (parts(p)[1] for p in pieces(text)[0]) if any(map(str.isalnum, word))]


@pytest.mark.parametrize("name", NAMES)
class TextOpContract:
    """Inherit and name the class `Test...` to have it collected."""

    def test_a_text_without_the_op_comes_back_itself(self, kernels, name):
        spec = op_table("text")[name]
        index = np.array([[0], [-1]] * 3)
        magnitude = np.full((6, 1), spec.high if spec.has_magnitude else 0.0)
        draws = np.random.default_rng(1).random((6, 1, 1))
        after = kernels.apply(PLAIN, [name], index, magnitude, draws)
        assert all(after[i] is PLAIN[i] for i in (1, 3, 5))

    def test_a_text_does_not_depend_on_its_batch(self, kernels, name):
        draws = np.random.default_rng(5).random((len(TEXTS), 1, 1))
        batch = run(kernels, name, TEXTS, 0.8, rows=draws)
        for i, text in enumerate(TEXTS):
            assert run(kernels, name, [text], 0.8, rows=draws[i : i + 1]) == [batch[i]]

    def test_a_new_lexicon_gives_the_same_texts(self, kernels, name):
        lexicon = Lexicon(shipped_thesaurus())
        lexicon.encode(EDGES)  # numbers words in another order
        other = TextKernels(lexicon, count_words(PLAIN))
        assert run(other, name, PLAIN, 0.9) == run(kernels, name, PLAIN, 0.9)

    def test_a_text_without_words_stays_as_it_is(self, kernels, name):
        texts = ["", " \n", "?!...", "😀 👨‍👩‍👧 👍🏽 🇩🇪"]
        assert run(kernels, name, texts, 1.0) == texts

    def test_a_text_with_a_word_keeps_one(self, kernels, name):
        texts = [text for text in TEXTS if words_of(text)]
        for seed in range(20):
            assert all(map(words_of, run(kernels, name, texts, 1.0, seed)))

    def test_keeps_negations_in_their_order(self, kernels, name):
        text = "I do not think nobody ever said it isn’t good, no, I DON'T, nor could we never go"
        kept = [word for word in words_of(text) if is_negation(word)]
        assert len(kept) == 7
        for after in run(kernels, name, [text] * 60, 1.0):
            assert [word for word in words_of(after) if is_negation(word)] == kept

    def test_does_not_tear_characters_from_their_marks(self, kernels, name):
        text = "cafe\u0301 हिन्दी 👍🏽great 👨‍👩‍👧 nai\u0308ve résumé"
        allowed = set(clusters(text))
        for after in run(kernels, name, [text] * 60, 1.0):
            torn = [c for c in clusters(after) if len(c) > 1 and c not in allowed]
            assert not torn

    def test_ten_thousand_words_stay_in_bounds(self, kernels, name):
        (after,) = run(kernels, name, [EDGES[-1]], 1.0)
        assert 1 <= len(after.split()) <= 15_001

    def test_word_numbers_give_what_strings_give(self, kernels, name):
        """Texts without signs, whose pieces are words: what the proxy computes with."""
        spec = op_table("text")[name]
        n = len(PLAIN)
        draws = np.random.default_rng(7).random((n, 1, 1))
        m = np.full((n, 1), spec.magnitude(0.7) if spec.has_magnitude else 0.0)
        words = kernels.lexicon.encode(PLAIN).words
        edited = kernels.edit(words, [name], np.zeros((n, 1), int), m, draws)
        known = kernels.lexicon.texts
        written = [*known, *edited.made_words()]
        ids, edges = edited.words.ids.tolist(), edited.words.edges.tolist()
        by_number = [" ".join(written[i] for i in ids[a:b]) for a, b in itertools.pairwise(edges)]
        assert by_number == run(kernels, name, PLAIN, 0.7, rows=draws)


def clusters(text):
    """Characters with the marks that belong to them."""
    found = []
    for character in text:
        is_mark = unicodedata.category(character)[0] == "M" or character in "\u200c\u200d"
        is_skin = 0x1F3FB <= ord(character) <= 0x1F3FF
        if found and (is_mark or is_skin or found[-1].endswith("\u200d")):
            found[-1] += character
        else:
            found.append(character)
    return found
