"""Words that text operations treat with care, and how a text is cut into words.

A text is cut at white space. Signs around a word ("great!", "(sic)") belong to its place and stay
there when the word is replaced or swapped; what holds no letter or digit is no word. Scripts that
are written without spaces are cut into characters.
"""

from __future__ import annotations

import re
import unicodedata


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: English words without which the words around them keep their meaning: not replaced by synonyms.
STOP_WORDS = _words(
    """
    a about above after again against all also am an and any are as at be because been before
    being below between both but by can could did do does doing down during each every few for
    from further had has have having he her here hers herself him himself his how i if in into
    is it its itself just let me might more most must my myself now of off on once one only or
    other ought our ours ourselves out over own same shall she should so some such than that the
    their theirs them themselves then there these they this those through to too under until up
    upon us very was we were what when where which while who whom whose why will with would yet
    you your yours yourself yourselves i'm i've i'd i'll you're you've you'd you'll he's he'd
    he'll she's she'd she'll it's it'd it'll we're we've we'd we'll they're they've they'd
    they'll that's there's what's who's let's s t d m ve re ll
    """
)
#: Words that turn what is said around: left where and as they are.
NEGATIONS = _words(
    """
    no not never none nobody nothing nowhere neither nor cannot without hardly barely scarcely
    rarely seldom nt n't aint arent cant couldnt didnt doesnt dont hadnt hasnt havent isnt
    mightnt mustnt neednt shant shouldnt wasnt werent wont wouldnt
    """
)
#: Marks that `punctuation_insert` draws from (AEDA).
MARKS = (".", ";", "?", ":", "!", ",")

_APOSTROPHES = str.maketrans("’ʼ＇", "'''")
_CJK = (  # ideographs and kana
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_HAS_CJK = re.compile(f"[{_CJK}]")
# A character of these scripts with its combining marks and variation selectors, or a run of
# anything else but white space.
_PIECES = re.compile(
    f"[{_CJK}][\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef]*|[^\\s{_CJK}]+"
)


def is_negation(word: str) -> bool:
    """Whether a word turns what is said around, such as "never" or "Don't"."""
    lower = word.lower().translate(_APOSTROPHES)
    return lower in NEGATIONS or lower.endswith("n't")


def is_stop_word(word: str) -> bool:
    """Whether a word says little by itself, such as "the"."""
    return word.lower().translate(_APOSTROPHES) in STOP_WORDS


def pieces(text: str) -> tuple[list[str], list[str] | None]:
    """Cuts a text into pieces.

    Returns:
      The pieces, and what stands before each of them and after the last; `None` where that is a
      single space between neighbours and nothing else.
    """
    if text.isascii() or not _HAS_CJK.search(text):
        found = text.split()
        if " ".join(found) == text:
            return found, None
        spans = [match.span() for match in re.finditer(r"\S+", text)]
    else:
        spans = [match.span() for match in _PIECES.finditer(text)]
        found = [text[first:last] for first, last in spans]
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    between = [text[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2)]
    return found, between


def parts(piece: str) -> tuple[str, str, str]:
    """Signs before a word, the word, signs after it; a piece without a word is a word of signs.

    Examples:
      >>> parts('"great!"'), parts("rock'n'roll"), parts("...")
      (('"', 'great', '!"'), ('', "rock'n'roll", ''), ('', '...', ''))
    """
    kept = [i for i, character in enumerate(piece) if character.isalnum()]
    if not kept:
        return "", piece, ""
    first, last = kept[0], kept[-1] + 1
    while last < len(piece) and joins(piece[last]):
        last += 1
    return piece[:first], piece[first:last], piece[last:]


def joins(character: str) -> bool:
    """Whether a character is drawn together with the one before it."""
    return unicodedata.category(character)[0] == "M" or character in "\u200c\u200d"


def simple_characters(word: str) -> list[bool]:
    """For each character whether it is a letter or digit that stands by itself."""
    flags = [c.isalnum() for c in word]
    for i in range(1, len(word)):
        if joins(word[i]):
            flags[i] = flags[i - 1] = False
        elif word[i - 1] == "\u200d":  # a joiner binds what follows, too
            flags[i] = False
    return flags
