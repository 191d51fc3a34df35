"""Synonyms: the table that ships, and a user's own file in the same form.

The shipped table comes from WordNet 3.0 (see `data/WORDNET-LICENSE`, `scripts/build_synonyms.py`).
A file of synonyms comes from outside: it is bounded in size, read as plain text, and nothing in a
policy names a path to one. The digest of its content tells two files apart.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policysearch.errors import FormatError, InvalidValueError
from policysearch.files import parse_json, read_text

_SHIPPED = Path(__file__).resolve().parent / "data" / "synonyms.tsv.gz"
MAX_THESAURUS_BYTES = 64 * 1024 * 1024
MAX_WORD_LENGTH = 100
_MAX_PROBLEMS = 20


@dataclass(frozen=True, eq=False)
class Thesaurus:
    """Words and their synonyms.

    Attributes:
      words: All words that occur, those with synonyms first.
      first: Shape `(len(words) + 1,)`, int32: where the synonyms of each word begin in `synonyms`.
      synonyms: Index into `words`, int32.
      digest: 16 hexadecimal digits of the content; equal digests mean equal synonyms.
    """

    words: tuple[str, ...]
    first: NDArray[np.int32] = field(repr=False)
    synonyms: NDArray[np.int32] = field(repr=False)
    digest: str = ""

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def of(self, word: str) -> tuple[str, ...]:
        """Synonyms of a word; none when the word is not known."""
        i = self._numbers.get(word)
        if i is None:
            return ()
        return tuple(self.words[j] for j in self.synonyms[self.first[i] : self.first[i + 1]])


@functools.cache
def shipped_thesaurus() -> Thesaurus:
    """The table that ships with the package: 40,321 English words."""
    text = gzip.decompress(_SHIPPED.read_bytes()).decode()
    return _thesaurus(line.split("\t") for line in text.splitlines())


def load_thesaurus(path: str | os.PathLike[str]) -> Thesaurus:
    """Reads a file of synonyms.

    Args:
      path: `.tsv` or `.txt`: a word a line, then its synonyms, between tabs; or `.json`: an object
        of words, each with a list of its synonyms. UTF-8. A synonym may hold spaces. Words are
        looked up as they are written and in lower case.

    Raises:
      FormatError: Naming the lines or words that are wrong.
      InvalidValueError: When there is no such file.
    """
    place = Path(path)
    what = f"thesaurus '{place}'"
    text = read_text(place, "thesaurus", MAX_THESAURUS_BYTES)
    if place.suffix.lower() == ".json":
        entries = _json_entries(parse_json(text, what), what)
    else:
        entries = _tsv_entries(text, what)
    if not entries:
        raise FormatError(what, ["it must hold at least one word with a synonym."])
    return _thesaurus([word, *synonyms] for word, synonyms in entries.items())


def thesaurus_of(entries: Mapping[str, Iterable[str]]) -> Thesaurus:
    """Makes a thesaurus of words and their synonyms."""
    found = {word: list(synonyms) for word, synonyms in entries.items()}
    what = "thesaurus"
    problems = [p for w, s in found.items() for p in _entry_problems(w, s, f"word {w[:80]!r}")]
    if problems:
        raise FormatError(what, problems[:_MAX_PROBLEMS])
    if not found:
        raise InvalidValueError("A thesaurus must hold at least one word with a synonym.")
    return _thesaurus([word, *synonyms] for word, synonyms in found.items())


def _thesaurus(lines: Iterable[list[str]]) -> Thesaurus:
    rows = list(lines)
    heads = dict.fromkeys(row[0] for row in rows)
    number = dict(zip(heads, itertools.count()))
    for row in rows:
        for word in row[1:]:
            if word not in number:
                number[word] = len(number)
    counts = np.zeros(len(number) + 1, np.int32)
    counts[1 : len(rows) + 1] = [len(row) - 1 for row in rows]
    flat = [number[word] for row in rows for word in row[1:]]
    digest = hashlib.sha256("\n".join("\t".join(row) for row in rows).encode()).hexdigest()
    return Thesaurus(
        tuple(number),
        np.cumsum(counts, dtype=np.int32),
        np.array(flat, dtype=np.int32),
        digest[:16],
    )


def _tsv_entries(text: str, what: str) -> dict[str, list[str]]:
    entries: dict[str, list[str]] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, *synonyms = (part.strip() for part in line.split("\t"))
        place = f"line {number}"
        problems += _entry_problems(word, synonyms, place)
        if word in entries:
            problems.append(f"{place}: word {word[:80]!r} is given twice.")
        entries[word] = synonyms
        if len(problems) >= _MAX_PROBLEMS:
            break
    if problems:
        raise FormatError(what, problems[:_MAX_PROBLEMS])
    return entries


def _json_entries(data: object, what: str) -> dict[str, list[str]]:
    if not isinstance(data, dict):
        raise FormatError(
            what, ["it must be an object of words, each with a list of its synonyms."]
        )
    problems: list[str] = []
    for word, synonyms in data.items():
        place = f"word {word[:80]!r}"
        if not isinstance(synonyms, list) or not all(isinstance(s, str) for s in synonyms):
            problems.append(f"{place}: its synonyms must be a list of words.")
        else:
            problems += _entry_problems(word, synonyms, place)
    if problems:
        raise FormatError(what, problems[:_MAX_PROBLEMS])
    return data


def _entry_problems(word: str, synonyms: list[str], place: str) -> list[str]:
    if not word or len(word.split()) != 1:
        return [f"{place}: a word must be one word, got {word[:80]!r}."]
    if not synonyms:
        return [f"{place}: word {word[:80]!r} has no synonym; write them after tabs."]
    too_long = [w for w in (word, *synonyms) if len(w) > MAX_WORD_LENGTH]
    if too_long:
        return [f"{place}: a word must be at most {MAX_WORD_LENGTH} characters."]
    if not all(synonym.strip() for synonym in synonyms):
        return [f"{place}: a synonym must not be empty."]
    return []
