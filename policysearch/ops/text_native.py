"""Text operations in machine code, text by text, on word numbers (see `lexicon`).

Every text passes through all its operations in two buffers. An operation gets one key of 64 random
bits and makes its numbers from it by counting, so its result depends on nothing else. What is
chosen is the beginning of a random order that does not depend on the magnitude: a stronger
magnitude changes the same words and more.

The loops live in one file because numba keeps compiled code by file: a change elsewhere would go
unnoticed.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_Array = Any  # the machine types are for numba to find
_Number = Any

# What a stage asks for; 0 leaves the text alone.
SYNONYM, INSERT, SWAP, DELETE, UNKNOWN_WORD, MARK = 1, 2, 3, 4, 5, 6
TFIDF, TYPO, CHAR_SWAP, CHAR_DELETE, CROP = 7, 8, 9, 10, 11

_N_MARKS = 6
_FEW = 16  # smallest of a row that are found faster without sorting it
_FIRST_MARK = 1
_FIRST_WORD = 7
_IS_WORD, _IS_NEGATION, _IS_STOP_WORD = 1, 2, 4
_SIMPLE = 1 << 31
_LETTERS = (1 << 31) - 1
_STEP = 0x9E3779B97F4A7C15

_compiled = numba.njit(nogil=True)  # a part of `run`, compiled into it


def _run(
    ids: _Array,
    edges: _Array,
    kinds: _Array,
    magnitude: _Array,
    keys: _Array,
    flags: _Array,
    n_base: int,
    first_synonym: _Array,
    synonyms: _Array,
    weights: _Array,
    substitutes: _Array,
    substitute_edges: _Array,
    point_edges: _Array,
    points: _Array,
    neighbours: _Array,
) -> tuple[_Array, _Array, _Array, _Array, _Array]:
    """Applies stages to texts.

    Args:
      ids: int32, words of all texts, one text after the other.
      edges: int64, shape `(n + 1,)`.
      kinds: int8, shape `(n, n_stages)`: what to do, see above.
      magnitude: float64, shape `(n, n_stages)`.
      keys: uint64, shape `(n, n_stages)`: random bits.
      flags: uint8 of every word.
      n_base: Words of the thesaurus.
      first_synonym: int32, shape `(n_base + 1,)`.
      synonyms: int32.
      weights: float64 of every word, inverse document frequency; empty where none is fitted.
      substitutes: int32, words that `tfidf_substitute` draws from.
      substitute_edges: float64, their chances, summed up.
      point_edges: int64, where the characters of every word begin.
      points: uint32, characters of all words.
      neighbours: uint8, shape `(128, 9)`: number of neighbours of a key, then these.

    Returns:
      Words and edges of the results, the place that each word stands in (index into `ids`, -1 for
      none), characters of words that were made and their edges.
    """
    n, n_stages = kinds.shape
    room = _room(edges, kinds, magnitude)
    word, place = np.empty(room, np.int32), np.empty(room, np.int32)
    word2, place2 = np.empty(room, np.int32), np.empty(room, np.int32)
    order, spare = np.empty(room + 2, np.int32), np.empty(room + 2, np.int32)
    seen = np.zeros(flags.shape[0] if (kinds == TFIDF).any() else 0, np.int32)
    out_word, out_place = np.empty(ids.shape[0] + room, np.int32), np.empty(0, np.int32)
    out_place = np.empty(out_word.shape[0], np.int32)
    out_edges = np.zeros(n + 1, np.int64)
    made, made_edges = np.empty(0, np.uint32), np.zeros(1, np.int64)
    text, draw, chosen = np.empty(0, np.uint32), np.empty(0), np.empty(0, np.int32)
    score = np.empty(room if (kinds == TFIDF).any() else 0)
    n_made = 0
    end = 0
    for i in range(n):
        size = edges[i + 1] - edges[i]
        for t in range(size):
            word[t] = ids[edges[i] + t]
            place[t] = edges[i] + t
        for stage in range(n_stages):
            kind, m, key = kinds[i, stage], magnitude[i, stage], keys[i, stage]
            if kind == 0 or size == 0:
                continue
            if kind == SYNONYM:
                _synonym(word, size, m, key, flags, n_base, first_synonym, synonyms, order)
            elif kind == SWAP:
                _swap(word, size, m, key, flags, order)
            elif kind == UNKNOWN_WORD:
                _unknown(word, size, m, key, flags, order)
            elif kind == TFIDF:
                _tfidf(
                    word,
                    size,
                    m,
                    key,
                    flags,
                    weights,
                    substitutes,
                    substitute_edges,
                    order,
                    seen,
                    score,
                )
            elif kind == DELETE:
                size = _delete(word, place, size, m, key, flags, order)
            elif kind == CROP:
                size = _crop(word, place, size, m, key, flags)
            elif kind in (INSERT, MARK):
                if kind == INSERT:
                    n_new = _insert(
                        word,
                        size,
                        m,
                        key,
                        flags,
                        n_base,
                        first_synonym,
                        synonyms,
                        order,
                        spare,
                        word2,
                    )
                else:
                    n_new = _marks(size, word, m, key, flags, order, spare, word2)
                _open(word, place, size, n_new, order, spare, word2, place2)
                size += n_new
                word, word2 = word2, word
                place, place2 = place2, place
            else:
                n_words = flags.shape[0]
                n_points = _n_points(word, size, n_words, point_edges, made_edges)
                made = _grown(made, made_edges[n_made] + n_points)
                made_edges = _grown(made_edges, n_made + size + 1)
                text, draw = _grown(text, n_points), _grown(draw, n_points)
                chosen = _grown(chosen, n_points)
                n_made = _characters(
                    word,
                    size,
                    kind,
                    m,
                    key,
                    flags,
                    point_edges,
                    points,
                    neighbours,
                    made,
                    made_edges,
                    n_made,
                    text,
                    draw,
                    chosen,
                    order,
                )
        if end + size > out_word.shape[0]:
            out_word = _grown_words(out_word, end, end + size)
            out_place = _grown_words(out_place, end, end + size)
        for t in range(size):
            out_word[end + t] = word[t]
            out_place[end + t] = place[t]
        end += size
        out_edges[i + 1] = end
    return (
        out_word[:end].copy(),
        out_place[:end].copy(),
        out_edges,
        made[: made_edges[n_made]].copy(),
        made_edges[: n_made + 1].copy(),
    )


@_compiled
def _room(edges: _Array, kinds: _Array, magnitude: _Array) -> int:
    """Words that the largest text may come to have."""
    most = 0
    for i in range(kinds.shape[0]):
        size = edges[i + 1] - edges[i]
        for stage in range(kinds.shape[1]):
            if kinds[i, stage] == INSERT or kinds[i, stage] == MARK:
                size += int(magnitude[i, stage] * size) + 1
        most = max(most, size)
    return most


@_compiled
def _grown(values: _Array, size: int) -> _Array:
    if size <= values.shape[0]:
        return values
    grown = np.empty(max(size, 2 * values.shape[0]), values.dtype)
    for i in range(values.shape[0]):
        grown[i] = values[i]
    return grown


@_compiled
def _grown_words(values: _Array, used: int, size: int) -> _Array:
    grown = np.empty(2 * size, np.int32)
    for i in range(used):
        grown[i] = values[i]
    return grown


@_compiled
def _random(key: int, stream: int, i: int) -> _Number:
    """Number `i` of a stream of a key, uniform in [0, 1): SplitMix64."""
    z = np.uint64(key) ^ (np.uint64(stream) * np.uint64(0xD1342543DE82EF95))
    z += np.uint64(i + 1) * np.uint64(_STEP)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@_compiled
def _count(m: float, n: int, key: int) -> int:
    """`m * n`: the whole part, and one more with the chance of the rest."""
    exact = m * n
    whole = int(exact)
    return whole + (1 if _random(key, 0, 0) < exact - whole else 0)


@_compiled
def _flag(word: int, flags: _Array) -> int:
    return flags[word] if word < flags.shape[0] else _IS_WORD


@_compiled
def _n_words(word: _Array, size: int, flags: _Array) -> int:
    n = 0
    for t in range(size):
        n += _flag(word[t], flags) & _IS_WORD
    return n


@_compiled
def _free(word: _Array, size: int, flags: _Array, order: _Array) -> int:
    """Places of words that are no negations, into `order`; returns how many."""
    n = 0
    for t in range(size):
        if _flag(word[t], flags) & (_IS_WORD | _IS_NEGATION) == _IS_WORD:
            order[n] = t
            n += 1
    return n


@_compiled
def _with_synonyms(
    word: _Array, size: int, flags: _Array, n_base: int, first_synonym: _Array, order: _Array
) -> int:
    """Places of words that have synonyms and are neither stop words nor negations."""
    n = 0
    for t in range(size):
        number = word[t] - _FIRST_WORD
        if number < 0 or number >= 3 * n_base:
            continue
        base = number % n_base
        if first_synonym[base + 1] > first_synonym[base] and flags[word[t]] == _IS_WORD:
            order[n] = t
            n += 1
    return n


@_compiled
def _shuffle_first(order: _Array, n: int, k: int, key: int) -> None:
    """Brings `k` random ones of the first `n` to the front; fewer are the first of more."""
    for i in range(k):
        j = i + int(_random(key, 1, i) * (n - i))
        order[i], order[j] = order[j], order[i]


@_compiled
def _synonym_of(
    word: int, u: float, n_base: int, first_synonym: _Array, synonyms: _Array
) -> _Number:
    """A synonym, in the case of the word."""
    number = word - _FIRST_WORD
    base = number % n_base
    first, last = first_synonym[base], first_synonym[base + 1]
    return _FIRST_WORD + number - base + synonyms[first + int(u * (last - first))]


@_compiled
def _synonym(
    word: _Array,
    size: int,
    m: float,
    key: int,
    flags: _Array,
    n_base: int,
    first_synonym: _Array,
    synonyms: _Array,
    order: _Array,
) -> None:
    n = _with_synonyms(word, size, flags, n_base, first_synonym, order)
    k = min(n, _count(m, _n_words(word, size, flags), key))
    _shuffle_first(order, n, k, key)
    for i in range(k):
        t = order[i]
        word[t] = _synonym_of(word[t], _random(key, 2, i), n_base, first_synonym, synonyms)


@_compiled
def _insert(
    word: _Array,
    size: int,
    m: float,
    key: int,
    flags: _Array,
    n_base: int,
    first_synonym: _Array,
    synonyms: _Array,
    order: _Array,
    gaps: _Array,
    new: _Array,
) -> int:
    """Synonyms to insert into `new`, the gaps for them into `gaps`; returns how many."""
    n = _with_synonyms(word, size, flags, n_base, first_synonym, order)
    if n == 0:
        return 0
    k = _count(m, _n_words(word, size, flags), key)
    for i in range(k):
        source = word[order[int(_random(key, 1, i) * n)]]
        lower = _FIRST_WORD + (source - _FIRST_WORD) % n_base
        new[i] = _synonym_of(lower, _random(key, 2, i), n_base, first_synonym, synonyms)
        gaps[i] = int(_random(key, 3, i) * (size + 1))
    return k


@_compiled
def _marks(
    size: int,
    word: _Array,
    m: float,
    key: int,
    flags: _Array,
    order: _Array,
    gaps: _Array,
    new: _Array,
) -> int:
    """Marks to insert into `new`, each before another word; returns how many."""
    n = 0
    for t in range(size):
        if _flag(word[t], flags) & _IS_WORD:
            order[n] = t
            n += 1
    k = min(n, _count(m, n, key))
    _shuffle_first(order, n, k, key)
    for i in range(k):
        gaps[i] = order[i]
        new[i] = _FIRST_MARK + int(_random(key, 2, i) * _N_MARKS)
    return k


@_compiled
def _open(
    word: _Array,
    place: _Array,
    size: int,
    n_new: int,
    first: _Array,
    gaps: _Array,
    word2: _Array,
    place2: _Array,
) -> None:
    """Writes the words with `n_new` new ones, which lie in `word2`, in the gaps before them."""
    new = word2[:n_new].copy()
    for gap in range(size + 1):
        first[gap] = 0
    for i in range(n_new):
        first[gaps[i]] += 1
    start = 0
    for gap in range(size + 1):  # where the new words of a gap begin
        n_here = first[gap]
        first[gap] = start + gap
        start += n_here
        if gap < size:
            t = start + gap
            word2[t], place2[t] = word[gap], place[gap]
    for i in range(n_new):
        t = first[gaps[i]]
        first[gaps[i]] += 1
        word2[t], place2[t] = new[i], -1


@_compiled
def _swap(word: _Array, size: int, m: float, key: int, flags: _Array, order: _Array) -> None:
    n = _free(word, size, flags, order)
    if n < 2:
        return
    for i in range(_count(m, _n_words(word, size, flags), key)):
        a = int(_random(key, 1, i) * n)
        b = int(_random(key, 2, i) * (n - 1))
        b += b >= a
        s, t = order[a], order[b]
        word[s], word[t] = word[t], word[s]


@_compiled
def _unknown(word: _Array, size: int, m: float, key: int, flags: _Array, order: _Array) -> None:
    n = _free(word, size, flags, order)
    k = min(n, _count(m, _n_words(word, size, flags), key))
    _shuffle_first(order, n, k, key)
    for i in range(k):
        word[order[i]] = 0


@_compiled
def _delete(
    word: _Array, place: _Array, size: int, m: float, key: int, flags: _Array, order: _Array
) -> int:
    n_words = _n_words(word, size, flags)
    n = _free(word, size, flags, order)
    k = min(n, n_words - 1, _count(m, n_words, key))
    if k <= 0:
        return size
    _shuffle_first(order, n, k, key)
    for i in range(k):
        word[order[i]] = -1
    kept = 0
    for t in range(size):
        if word[t] >= 0:
            word[kept], place[kept] = word[t], place[t]
            kept += 1
    return kept


@_compiled
def _crop(word: _Array, place: _Array, size: int, m: float, key: int, flags: _Array) -> int:
    """Removes words and signs from both ends, but no negation."""
    n_words = _n_words(word, size, flags)
    k = min(n_words - 1, _count(m, n_words, key))
    if k <= 0:
        return size
    n_left = int(_random(key, 1, 0) * (k + 1))
    n_right = k - n_left
    first, last = 0, size
    while n_left > 0 and _flag(word[first], flags) & _IS_NEGATION == 0:
        n_left -= _flag(word[first], flags) & _IS_WORD
        first += 1
    while n_right > 0 and _flag(word[last - 1], flags) & _IS_NEGATION == 0:
        n_right -= _flag(word[last - 1], flags) & _IS_WORD
        last -= 1
    for t in range(first, last):
        word[t - first], place[t - first] = word[t], place[t]
    return last - first


@_compiled
def _tfidf(
    word: _Array,
    size: int,
    m: float,
    key: int,
    flags: _Array,
    weights: _Array,
    substitutes: _Array,
    substitute_edges: _Array,
    order: _Array,
    seen: _Array,
    score: _Array,
) -> None:
    """UDA: words are chosen with a chance that falls with their TF-IDF within the text."""
    n = _free(word, size, flags, order)
    k = min(n, _count(m, _n_words(word, size, flags), key))
    if k == 0 or substitutes.shape[0] == 0:
        return
    n_known, top = weights.shape[0], 0.0
    for i in range(n):
        if word[order[i]] < n_known:
            seen[word[order[i]]] += 1
    for i in range(n):
        w = word[order[i]]
        score[i] = seen[w] * weights[w] if w < n_known else weights[0]
        top = max(top, score[i])
    for i in range(n):
        if word[order[i]] < n_known:
            seen[word[order[i]]] = 0
        # The smallest of exponential waiting times are a sample by weight without replacement.
        wait = -np.log1p(-_random(key, 1, i))
        score[i] = wait / (top - score[i] + 1e-6)
    chosen = np.argsort(score[:n]) if k > _FEW else np.empty(0, np.int64)
    for i in range(k):
        least = 0
        if k > _FEW:
            least = chosen[i]
        else:
            for j in range(n):
                if score[j] < score[least]:
                    least = j
            score[least] = np.inf
        u = _random(key, 2, i) * substitute_edges[-1]
        s = min(np.searchsorted(substitute_edges, u, side="right"), substitutes.shape[0] - 1)
        word[order[least]] = substitutes[s]


@_compiled
def _n_points(
    word: _Array, size: int, n_words: int, point_edges: _Array, made_edges: _Array
) -> int:
    n = 0
    for t in range(size):
        w = word[t]
        if w < n_words:
            n += point_edges[w + 1] - point_edges[w]
        else:
            n += made_edges[w - n_words + 1] - made_edges[w - n_words]
    return n


@_compiled
def _characters(
    word: _Array,
    size: int,
    kind: int,
    m: float,
    key: int,
    flags: _Array,
    point_edges: _Array,
    points: _Array,
    neighbours: _Array,
    made: _Array,
    made_edges: _Array,
    n_made: int,
    text: _Array,
    draw: _Array,
    chosen: _Array,
    ends: _Array,
) -> int:
    """Misspells words; those that change are made anew. Returns how many words are made."""
    n_words = flags.shape[0]
    end = n = 0  # of the characters of all words, which come into `text`, and of the free ones
    for t in range(size):
        w, begin = word[t], end
        if w < n_words:
            for i in range(point_edges[w], point_edges[w + 1]):
                text[end], draw[end] = points[i], -1.0
                end += 1
        else:
            for i in range(made_edges[w - n_words], made_edges[w - n_words + 1]):
                text[end], draw[end] = made[i], -1.0
                end += 1
        ends[t] = end
        is_edited = w != 0 and _flag(w, flags) & (_IS_WORD | _IS_NEGATION) == _IS_WORD
        if is_edited and (kind != CHAR_DELETE or end - begin > 1):
            for i in range(begin, end):
                if _is_free(text, i, end, kind):
                    chosen[n] = i
                    n += 1
    k = min(n, _count(m, n, key))
    if k == 0:
        return n_made
    _shuffle_first(chosen, n, k, key)
    for i in range(k):
        draw[chosen[i]] = _random(key, 2, i)
    begin = 0
    for t in range(size):
        end = ends[t]
        is_changed = False
        for i in range(begin, end):
            is_changed = is_changed or draw[i] >= 0
        if is_changed:
            start = made_edges[n_made]
            made_edges[n_made + 1] = _misspelt(
                text, draw, begin, end, kind, neighbours, made, start
            )
            word[t] = n_words + n_made
            n_made += 1
        begin = end
    return n_made


@_compiled
def _is_free(text: _Array, i: int, end: int, kind: int) -> _Number:
    """Whether a character may be edited."""
    if text[i] < _SIMPLE:
        return False
    if kind == TYPO:
        return 97 <= ((text[i] & _LETTERS) | 32) <= 122
    if kind == CHAR_SWAP:
        return i + 1 < end and text[i + 1] >= _SIMPLE and text[i] != text[i + 1]
    return True


@_compiled
def _misspelt(
    text: _Array,
    draw: _Array,
    begin: int,
    end: int,
    kind: int,
    neighbours: _Array,
    made: _Array,
    start: int,
) -> int:
    """Writes a word with its chosen characters edited; returns where it ends."""
    stop = start
    for i in range(begin, end):
        if draw[i] < 0 or (kind == CHAR_DELETE and i == end - 1 and stop == start):
            made[stop] = text[i]
        elif kind == TYPO:
            made[stop] = _neighbour(text[i], draw[i], neighbours)
        elif kind == CHAR_SWAP:
            made[stop] = text[i + 1]
            text[i + 1] = text[i]
        else:
            continue
        stop += 1
    return stop


@_compiled
def _neighbour(point: int, u: float, neighbours: _Array) -> _Number:
    """A neighbouring key of a letter, in its case."""
    letter = point & _LETTERS
    row = neighbours[letter | 32]
    typed = np.uint32(row[1 + int(u * row[0])])
    if letter < 97 and typed >= 97:
        typed -= np.uint32(32)
    return np.uint32(_SIMPLE) | typed


#: The machine types of `_run`: arrays are contiguous, numbers 64 bits wide.
_SIGNATURE = (
    "Tuple((i4[::1], i4[::1], i8[::1], u4[::1], i8[::1]))"
    "(i4[::1], i8[::1], i1[:, ::1], f8[:, ::1], u8[:, ::1], u1[::1], i8, i4[::1], i4[::1], "
    "f8[::1], i4[::1], f8[::1], i8[::1], u4[::1], u1[:, ::1])"
)


@functools.cache
def machine_code() -> Callable[..., Any]:
    """`_run`, compiled, or read from where an earlier process kept it.

    Compiles anew, for this process alone, where no folder can be written to or what is kept there
    is damaged.
    """
    try:
        code = numba.njit(nogil=True, cache=True)(_run)
        code.compile(_SIGNATURE)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError):
        code = numba.njit(nogil=True)(_run)
        code.compile(_SIGNATURE)
    return code
