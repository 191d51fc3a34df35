"""Words as numbers: what text kernels compute with, and the way back to strings.

A lexicon numbers words as they are written. The words of a thesaurus come first, in lower case,
capitalised and in capitals, so that a synonym in the case of the word it replaces is one addition
away. Words met later are added at the end.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.ops.text_words import (
    MARKS,
    is_negation,
    is_stop_word,
    parts,
    pieces,
    simple_characters,
)
from policysearch.ops.thesaurus import Thesaurus

UNKNOWN = 0  # number of the sign for an unknown word
FIRST_MARK = 1
FIRST_WORD = FIRST_MARK + len(MARKS)
#: Flags of a word: it holds a letter or digit; it is a negation; it is a stop word.
IS_WORD, IS_NEGATION, IS_STOP_WORD = 1, 2, 4
#: Set in a character that stands by itself (see `simple_characters`).
SIMPLE = 1 << 31
#: Words met in texts that a lexicon keeps before it starts over.
MAX_MET = 500_000

#: Stands between texts that are cut together; white space, so that it is no piece of any.
_BOUND, _BOUND_NUMBER = "\x1e", -1

_ASCII_SIMPLE = np.array([chr(i).isalnum() for i in range(128)])


@dataclass(frozen=True, eq=False)
class Words:
    """Texts as word numbers, one after the other.

    Attributes:
      ids: int32, all words of all texts.
      edges: int64, shape `(n + 1,)`: text `i` is `ids[edges[i]:edges[i + 1]]`.
    """

    ids: NDArray[np.int32]
    edges: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.edges) - 1

    def take(self, rows: NDArray[np.int64]) -> Words:
        """The texts at `rows`, in that order."""
        counts = np.diff(self.edges)[rows]
        edges = np.concatenate([[0], np.cumsum(counts)])
        inside = np.arange(edges[-1]) - np.repeat(edges[:-1], counts)
        return Words(self.ids[inside + np.repeat(self.edges[rows], counts)], edges)


class _Column:
    """A numpy array that grows at its end."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values
        self._n = len(values)

    def extend(self, values: NDArray[Any]) -> None:
        n = self._n + len(values)
        if n > len(self._values):
            grown = np.zeros(max(2 * len(self._values), n, 1024), self._values.dtype)
            grown[: self._n] = self._values[: self._n]
            self._values = grown
        self._values[self._n : n] = values
        self._n = n

    def cut(self, n: int) -> None:
        self._n = n

    def all(self) -> NDArray[Any]:
        return self._values[: self._n]


class _Start:
    """What every lexicon of a thesaurus begins with."""

    def __init__(self, thesaurus: Thesaurus | None, unknown: str) -> None:
        base = thesaurus.words if thesaurus else ()
        cased = (base, map(_capitalised, base), map(str.upper, base))
        self.texts = [unknown, *MARKS, *itertools.chain.from_iterable(cased)]
        self.number: dict[str, int] = {}
        for i, text in enumerate(self.texts):
            self.number.setdefault(text, i)
        self.flags, self.points, self.ends = describe(self.texts)
        self.flags[UNKNOWN] = IS_WORD


def _capitalised(word: str) -> str:
    return word[:1].upper() + word[1:]


@functools.lru_cache(maxsize=4)
def _start(thesaurus: Thesaurus | None, unknown: str) -> _Start:
    return _Start(thesaurus, unknown)


def describe(
    words: Sequence[str],
) -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.int64]]:
    """Flags of words; their characters with the bit `SIMPLE`; where each of them ends."""
    flags = np.fromiter(map(_flags, words), np.uint8, len(words))
    ends = np.cumsum(np.fromiter(map(len, words), np.int64, len(words)))
    raw = "".join(words).encode("utf-32-le", "surrogatepass")
    points = np.frombuffer(raw, np.uint32).copy()
    is_simple = np.zeros(len(points), np.bool_)
    is_ascii = points < 128
    is_simple[is_ascii] = _ASCII_SIMPLE[points[is_ascii]]
    if not is_ascii.all():
        others = np.unique(np.searchsorted(ends, np.flatnonzero(~is_ascii), side="right"))
        for i in others.tolist():
            is_simple[ends[i] - len(words[i]) : ends[i]] = simple_characters(words[i])
    points[is_simple] |= np.uint32(SIMPLE)
    return flags, points, ends


def _flags(word: str) -> int:
    if not any(map(str.isalnum, word)):
        return 0
    return IS_WORD | IS_NEGATION * is_negation(word) | IS_STOP_WORD * is_stop_word(word)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Texts as word numbers, with what is needed to write them again.

    Attributes:
      words: The texts.
      pieces: int32, like `words.ids`: number of the piece of text that each word stands in.
      between: For each text what stands before each piece and after the last, or `None` where
        that is a single space between neighbours.
    """

    words: Words
    pieces: NDArray[np.int32]
    between: list[list[str] | None]


class Lexicon:
    """Numbers words and writes them again.

    Args:
      thesaurus: Gives synonyms; `None`: there are none.
      unknown: How the sign for an unknown word is written.
    """

    def __init__(self, thesaurus: Thesaurus | None = None, unknown: str = "[UNK]") -> None:
        start = _start(thesaurus, unknown)
        self.thesaurus = thesaurus
        self.n_base = len(thesaurus.words) if thesaurus else 0
        self._n_start = len(start.texts)
        self._number = start.number.copy()
        self.texts = start.texts.copy()
        self._flags = _Column(start.flags)
        self._points = _Column(start.points)
        self._ends = _Column(np.concatenate([[0], start.ends]))
        self._forget_pieces()

    def _forget_pieces(self) -> None:
        self._piece_number: dict[str, int] = {_BOUND: _BOUND_NUMBER}
        self._piece_texts: list[str] = []
        self._piece_signs: list[tuple[str, str] | None] = []
        self._piece_word = _Column(np.zeros(0, np.int32))
        self._piece_is_odd = _Column(np.zeros(0, np.bool_))

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def flags(self) -> NDArray[np.uint8]:
        """Flags of every word: `IS_WORD`, `IS_NEGATION`, `IS_STOP_WORD`."""
        return self._flags.all()

    @property
    def points(self) -> NDArray[np.uint32]:
        """Characters of all words, one after the other, with the bit `SIMPLE`."""
        return self._points.all()

    @property
    def edges(self) -> NDArray[np.int64]:
        """Shape `(len + 1,)`: word `i` has the characters `points[edges[i]:edges[i + 1]]`."""
        return self._ends.all()

    def keep(self) -> None:
        """Keeps all words met so far for good."""
        self._n_start = len(self.texts)

    def numbers(self, words: Iterable[str]) -> NDArray[np.int32]:
        """Numbers of words; those that are new are added."""
        known = self._number
        new: dict[str, int] = {}
        found = []
        for word in words:
            i = known.get(word)
            if i is None:
                i = new.setdefault(word, len(self.texts) + len(new))
            found.append(i)
        if new:
            self._add(new)
        return np.array(found, np.int32)

    def find(self, word: str) -> int:
        """Number of a word, `UNKNOWN` for one that is not known."""
        return self._number.get(word, UNKNOWN)

    def _add(self, new: dict[str, int]) -> None:
        words = list(new)
        flags, points, ends = describe(words)
        self._ends.extend(ends + self.edges[-1])
        self._flags.extend(flags)
        self._points.extend(points)
        self._number.update(new)
        self.texts += words

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Numbers the words of texts; new ones are added."""
        if len(self.texts) - self._n_start > MAX_MET:
            self._start_over()
        # One long string is cut in half the time. What single spaces cannot cut is cut again.
        flat = f" {_BOUND} ".join(texts).split(" ")
        numbers = self._piece_numbers(flat)
        bounds = np.flatnonzero(numbers == _BOUND_NUMBER)
        if len(bounds) != max(len(texts) - 1, 0):  # one of the texts holds the sign itself
            return self._encoded([pieces(text) for text in texts])
        edges = np.array([0, *(bounds - np.arange(len(bounds))), len(flat) - len(bounds)])
        piece = np.delete(numbers, bounds)
        is_odd = self._piece_is_odd.all()[piece]
        if not texts or is_odd.any():
            return self._encoded([pieces(text) for text in texts])
        return Encoded(Words(self._piece_word.all()[piece], edges), piece, [None] * len(texts))

    def _encoded(self, cut: list[tuple[list[str], list[str] | None]]) -> Encoded:
        """Texts that are cut into pieces."""
        piece = self._piece_numbers([piece for found, _ in cut for piece in found])
        edges = np.zeros(len(cut) + 1, np.int64)
        np.cumsum([len(found) for found, _ in cut], out=edges[1:])
        words = Words(self._piece_word.all()[piece], edges)
        return Encoded(words, piece, [between for _, between in cut])

    def _piece_numbers(self, flat: list[str]) -> NDArray[np.int32]:
        known = self._piece_number
        try:
            numbers = list(map(known.__getitem__, flat))
        except KeyError:
            self._add_pieces(dict.fromkeys(piece for piece in flat if piece not in known))
            numbers = list(map(known.__getitem__, flat))
        return np.array(numbers, np.int32)

    def _add_pieces(self, new: Iterable[str]) -> None:
        found = [(piece, *parts(piece)) for piece in new]
        self._piece_word.extend(self.numbers(word for _, _, word, _ in found))
        is_odd = [pieces(piece) != ([piece], None) for piece, *_ in found]
        self._piece_is_odd.extend(np.array(is_odd, np.bool_))
        for piece, before, _, after in found:
            self._piece_number[piece] = len(self._piece_texts)
            self._piece_texts.append(piece)
            self._piece_signs.append((before, after) if before or after else None)

    def _start_over(self) -> None:
        for word in self.texts[self._n_start :]:
            del self._number[word]
        del self.texts[self._n_start :]
        n_points = int(self.edges[self._n_start])
        self._points.cut(n_points)
        self._flags.cut(self._n_start)
        self._ends.cut(self._n_start + 1)
        self._forget_pieces()

    def decode(self, texts: Sequence[str], encoded: Encoded, edited: Edited) -> list[str]:
        """Writes edited words; a text whose words are as before comes back as it is.

        Args:
          texts: What was encoded.
          encoded: From `encode`, in the same order.
          edited: What the kernels made of it.
        """
        ids, places = edited.words.ids, edited.places
        piece = np.where(places >= 0, encoded.pieces[places], -1)
        is_whole = (piece >= 0) & (self._piece_word.all()[piece] == ids)
        texts_of = self._piece_texts or [""]
        written = [texts_of[i] for i in piece.tolist()]
        changed = np.flatnonzero(~is_whole)
        made, n_known = edited.made_words(), len(self.texts)
        for t, i, p in zip(
            changed.tolist(), ids[changed].tolist(), piece[changed].tolist(), strict=True
        ):
            word = self.texts[i] if i < n_known else made[i - n_known]
            signs = self._piece_signs[p] if p >= 0 else None
            written[t] = word if signs is None else signs[0] + word + signs[1]
        return self._lines(texts, encoded, edited, written)

    @staticmethod
    def _lines(
        texts: Sequence[str], encoded: Encoded, edited: Edited, written: list[str]
    ) -> list[str]:
        """Words, as they are written, put together to texts."""
        limits, firsts = edited.words.edges.tolist(), encoded.words.edges.tolist()
        result = list(texts)
        for row in np.flatnonzero(~_are_same(encoded.words, edited)).tolist():
            first, last = limits[row], limits[row + 1]
            between = encoded.between[row]
            if between is None:
                result[row] = " ".join(written[first:last])
            else:
                places = [p - firsts[row] for p in edited.places[first:last].tolist()]
                result[row] = _joined(written[first:last], places, between)
        return result


def _joined(written: list[str], places: list[int], between: list[str]) -> str:
    """Words with what stood before their places; new ones after a space."""
    result = []
    for i, (word, place) in enumerate(zip(written, places, strict=True)):
        gap = between[place] if place > 0 else " "  # the first has only what begins the text
        if i == 0:
            gap = between[0]
        result += [gap, word]
    return "".join([*result, between[-1]]) if written else between[0]


@dataclass(frozen=True, eq=False)
class Edited:
    """What kernels made of texts.

    Attributes:
      words: The new texts. Numbers from the length of the lexicon on are words that were made.
      places: int32, like `words.ids`: which of the words of the input stood there; -1 for none.
      made: Characters of the words that were made, uint32, with the bit `SIMPLE`.
      made_edges: int64: where each of them begins, and the end of the last.
    """

    words: Words
    places: NDArray[np.int32]
    made: NDArray[np.uint32]
    made_edges: NDArray[np.int64]

    def made_words(self) -> list[str]:
        """The words that were made, as strings."""
        raw = (self.made & np.uint32(SIMPLE - 1)).astype("<u4").tobytes()
        text = raw.decode("utf-32-le", "surrogatepass")
        return [text[a:b] for a, b in itertools.pairwise(self.made_edges.tolist())]


def _are_same(before: Words, after: Edited) -> NDArray[np.bool_]:
    """For each text whether its words are the same in the same places."""
    n_before, n_after = np.diff(before.edges), np.diff(after.words.edges)
    is_same = n_before == n_after
    total = len(after.words.ids)
    if total:
        row = np.repeat(np.arange(len(after.words)), n_after)
        in_place = np.arange(total) - after.words.edges[row] + before.edges[row]
        fits = np.minimum(in_place, len(before.ids) - 1)
        differs = (after.places != in_place) | (after.words.ids != before.ids[fits])
        is_same &= np.bincount(row, differs, len(after.words)) == 0
    return np.asarray(is_same)
