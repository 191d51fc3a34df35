"""The way into the text kernels: the stages of a policy on texts, as strings or as word numbers.

Strings are numbered, edited as numbers and written again, so both ways have one meaning. Kernels
know no policy, no level and no probability.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policysearch.errors import InvalidValueError
from policysearch.ops.lexicon import (
    IS_NEGATION,
    IS_WORD,
    Edited,
    Lexicon,
    Words,
)
from policysearch.ops.registry import get_spec

__all__ = ["NEEDS_FIT", "TextKernels", "WordCounts", "count_words"]

NEEDS_FIT = frozenset({"tfidf_substitute"})

_KIND = {
    "synonym_replace": 1,
    "random_insert": 2,
    "random_swap": 3,
    "random_delete": 4,
    "unk_dropout": 5,
    "punctuation_insert": 6,
    "tfidf_substitute": 7,
    "keyboard_typo": 8,
    "char_swap": 9,
    "char_delete": 10,
    "span_crop": 11,
}
# Neighbours of each letter on a US keyboard, all of them letters.
_KEYS = {
    "q": "wa", "w": "qeas", "e": "wrsd", "r": "etdf", "t": "ryfg", "y": "tugh", "u": "yihj",
    "i": "uojk", "o": "ipkl", "p": "ol", "a": "qwsz", "s": "weadzx", "d": "ersfxc", "f": "rtdgcv",
    "g": "tyfhvb", "h": "yugjbn", "j": "uihknm", "k": "iojlm", "l": "opk", "z": "asx", "x": "sdzc",
    "c": "dfxv", "v": "fgcb", "b": "ghvn", "n": "hjbm", "m": "jkn",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class WordCounts:
    """What `tfidf_substitute` knows of training texts, as `count_words` finds it.

    Attributes:
      words: Words as they are written, sorted.
      count: How often each occurs, `(len(words),)` int64.
      n_texts: In how many texts each occurs, likewise.
      n: Number of texts.
    """

    words: tuple[str, ...]
    count: NDArray[np.int64]
    n_texts: NDArray[np.int64]
    n: int


def count_words(texts: Sequence[str]) -> WordCounts:
    """Counts the words of training texts; signs count as words, negations among them."""
    lexicon = Lexicon()
    words = lexicon.encode(texts).words
    size = len(lexicon)
    row = np.repeat(np.arange(len(texts), dtype=np.int64), np.diff(words.edges))
    count = np.bincount(words.ids, minlength=size)
    n_texts = np.bincount(np.unique(row * size + words.ids) % size, minlength=size)
    found = sorted(np.flatnonzero(count).tolist(), key=lexicon.texts.__getitem__)
    names = tuple(lexicon.texts[i] for i in found)
    return WordCounts(names, count[found], n_texts[found], len(texts))


@dataclass(frozen=True, eq=False)
class _Substitution:
    """Word counts as kernels read them (see `text_native`)."""

    weights: NDArray[np.float64]
    substitutes: NDArray[np.int32]
    substitute_edges: NDArray[np.float64]


def _substitution(counts: WordCounts | None, lexicon: Lexicon) -> _Substitution:
    """The words of the counts, which the lexicon keeps for good, by number.

    The inverse document frequency of a word is log(n / texts with it), that of an unknown word
    log n. A word is put in with a chance in proportion to max S - S, where S is its frequency
    times that.

    References:
      Xie et al., UDA, 2020 (arXiv:1904.12848), appendix on TF-IDF word replacement.
    """
    if counts is None:
        return _Substitution(np.zeros(0), np.zeros(0, np.int32), np.zeros(0))
    numbers = lexicon.numbers(counts.words)
    lexicon.keep()
    weights = np.full(len(lexicon), np.log(max(counts.n, 1)))
    idf = np.log(max(counts.n, 1) / np.maximum(counts.n_texts, 1))
    weights[numbers] = idf
    is_free = lexicon.flags[numbers] & (IS_WORD | IS_NEGATION) == IS_WORD
    says = (counts.count * idf)[is_free]
    chance = says.max(initial=0.0) - says
    if not chance.any():
        chance = np.ones(len(says))
    return _Substitution(weights, numbers[is_free], np.cumsum(chance))


class TextKernels:
    """Text operations with one lexicon; threads take turns.

    Args:
      lexicon: Numbers words; its thesaurus gives the synonyms.
      counts: For `tfidf_substitute`, which leaves texts alone without.
    """

    def __init__(self, lexicon: Lexicon, counts: WordCounts | None = None) -> None:
        self.lexicon = lexicon
        self._substitution = _substitution(counts, lexicon)
        self._lock = threading.Lock()

    def edit(
        self,
        words: Words,
        ops: Sequence[str],
        op_index: ArrayLike,
        magnitude: ArrayLike,
        draws: ArrayLike,
    ) -> Edited:
        """Applies to every text its own operations, one per stage, as `text-1` defines them.

        Args:
          words: Texts as numbers of the lexicon.
          ops: Names of operations.
          op_index: Shape `(n, n_stages)`, integers: entry of `ops`, -1 to leave the text alone.
          magnitude: Shape `(n, n_stages)`: fraction of words or characters.
          draws: Shape `(n, n_stages, k)`: uniform numbers in [0, 1), of which the first is used.

        Returns:
          New texts; see `Edited`. The result of a text does not depend on the others.

        Raises:
          UnknownNameError: An operation is not in the table.
          InvalidValueError: A shape or value breaks the rules above.
        """
        from policysearch.ops.text_native import machine_code

        kinds, m, keys = _stages(len(words), ops, op_index, magnitude, draws)
        lexicon, substitution = self.lexicon, self._substitution
        thesaurus = lexicon.thesaurus
        result = machine_code()(
            words.ids,
            words.edges,
            kinds,
            m,
            keys,
            lexicon.flags,
            lexicon.n_base,
            np.zeros(1, np.int32) if thesaurus is None else thesaurus.first,
            np.zeros(0, np.int32) if thesaurus is None else thesaurus.synonyms,
            substitution.weights,
            substitution.substitutes,
            substitution.substitute_edges,
            lexicon.edges,
            lexicon.points,
            _neighbours(),
        )
        ids, places, edges, made, made_edges = result
        return Edited(Words(ids, edges), places, made, made_edges)

    def apply(
        self,
        texts: Sequence[str],
        ops: Sequence[str],
        op_index: ArrayLike,
        magnitude: ArrayLike,
        draws: ArrayLike,
    ) -> list[str]:
        """Applies to every text its own operations; see `edit`.

        A text that no operation changes comes back as it is, the same object.
        """
        index = np.asarray(op_index)
        rows = np.flatnonzero((index >= 0).any(axis=1)) if index.size else np.zeros(0, np.int64)
        if len(index) != len(texts):
            raise InvalidValueError(f"`op_index` must have {len(texts)} rows, got {len(index)}.")
        result = list(texts)
        if not len(rows):
            return result
        chosen = [texts[row] for row in rows.tolist()]
        mine = (np.asarray(values)[rows] for values in (index, magnitude, draws))
        with self._lock:  # numbers of words are valid until the next texts are numbered
            encoded = self.lexicon.encode(chosen)
            edited = self.edit(encoded.words, ops, *mine)
            written = self.lexicon.decode(chosen, encoded, edited)
        for row, text in zip(rows.tolist(), written, strict=True):
            result[row] = text
        return result


def _stages(
    n: int, ops: Sequence[str], op_index: ArrayLike, magnitude: ArrayLike, draws: ArrayLike
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.uint64]]:
    """Stages as kernels read them, checked."""
    index = np.asarray(op_index)
    m, u = np.asarray(magnitude, np.float64), np.asarray(draws, np.float64)
    if index.ndim != 2 or len(index) != n or m.shape != index.shape:
        raise InvalidValueError(
            f"`op_index` and `magnitude` must have shape ({n}, n_stages), "
            f"got {index.shape} and {m.shape}."
        )
    if u.ndim != 3 or u.shape[:2] != index.shape:
        raise InvalidValueError(
            f"`draws` must have shape ({n}, {index.shape[1]}, k), got {u.shape}."
        )
    if index.size and not -1 <= index.min() <= index.max() < len(ops):
        raise InvalidValueError(f"`op_index` must be in [-1, {len(ops) - 1}].")
    if u.size and not (u.min() >= 0 and u.max() < 1):
        raise InvalidValueError("`draws` must be in [0, 1).")
    kind, limit = _codes(tuple(ops))
    # The slack is for magnitudes that went through a decimal number.
    if not ((m >= 0) & (m <= limit[index]) | (index < 0)).all():
        raise InvalidValueError(
            "`magnitude` must be finite and within the range of its operation."
        )
    kinds = np.where(m == 0, np.int8(0), kind[index])
    seeds = u[:, :, 0] if u.shape[2] else np.zeros(index.shape)
    return kinds, np.ascontiguousarray(m), (seeds * 2.0**53).astype(np.uint64)


@functools.lru_cache(maxsize=64)
def _codes(ops: tuple[str, ...]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Kind and largest magnitude of each op, and of none."""
    specs = [get_spec("text", name) for name in ops]
    kind = np.array([_KIND.get(spec.name, 0) for spec in specs] + [0], np.int8)
    limit = [spec.maximum * (1 + 1e-9) if spec.has_magnitude else np.inf for spec in specs]
    return kind, np.array([*limit, np.inf])


@functools.cache
def _neighbours() -> NDArray[np.uint8]:
    table = np.zeros((128, 9), np.uint8)
    for key, near in _KEYS.items():
        table[ord(key), 0] = len(near)
        table[ord(key), 1 : 1 + len(near)] = [ord(letter) for letter in near]
    return table
