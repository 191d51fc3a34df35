"""Builds the synonym table that ships with the package from WordNet 3.0.

    apt-get install wordnet-base
    python scripts/build_synonyms.py /usr/share/wordnet policysearch/ops/data/synonyms.tsv.gz

WordNet lists the senses of a word by how often they were tagged in a corpus. A synonym of a rare
sense is mostly a wrong word ("quick": "warm"), so of every word only the senses are taken that
occur at least a quarter as often as its commonest one, at most three; and of a word without any
count the first sense of each part of speech, at most two. Single words of lower-case letters only.
The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

POS = ("noun", "verb", "adj", "adv")
POS_OF_TYPE = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
WORD = re.compile(r"[a-z]{2,}(-[a-z]{2,})*")
MAX_SENSES = 3
MAX_UNCOUNTED = 2
MAX_SYNONYMS = 8
MIN_SHARE = 0.25

Sense = tuple[int, int, str, int]  # minus the count, number of the sense, part of speech, offset


def data_lines(path: Path) -> Iterator[list[str]]:
    """Fields of every line but those of the licence, which are indented."""
    with path.open(encoding="ascii") as file:
        for line in file:
            if not line.startswith(" "):
                yield line.split("|")[0].split()


def read_synsets(folder: Path) -> dict[tuple[str, int], list[str]]:
    """Words of every synset by part of speech and offset, those that the table can hold."""
    synsets = {}
    for pos in POS:
        for fields in data_lines(folder / f"data.{pos}"):
            n_words = int(fields[3], 16)
            words = [w.split("(")[0] for w in fields[4 : 4 + 2 * n_words : 2]]
            synsets[pos, int(fields[0])] = [w for w in words if WORD.fullmatch(w)]
    return synsets


def read_counts(folder: Path) -> dict[tuple[str, str, int], int]:
    """How often a sense was tagged, by word, part of speech and number of the sense."""
    counts = {}
    for key, number, count in data_lines(folder / "cntlist.rev"):
        lemma, rest = key.split("%")
        counts[lemma, POS_OF_TYPE[rest[0]], int(number)] = int(count)
    return counts


def read_senses(folder: Path, counts: dict[tuple[str, str, int], int]) -> dict[str, list[Sense]]:
    """Senses of every word, the commonest first."""
    senses = defaultdict(list)
    for pos in POS:
        for fields in data_lines(folder / f"index.{pos}"):
            lemma, offsets = fields[0], fields[-int(fields[2]) :]
            if WORD.fullmatch(lemma):
                for number, offset in enumerate(offsets, 1):
                    count = counts.get((lemma, pos, number), 0)
                    senses[lemma].append((-count, number, pos, int(offset)))
    return {word: sorted(found) for word, found in senses.items()}


def common(senses: list[Sense]) -> list[Sense]:
    """The senses that the table takes."""
    most = -senses[0][0]
    if most == 0:
        return [sense for sense in senses if sense[1] == 1][:MAX_UNCOUNTED]
    return [sense for sense in senses if -sense[0] >= MIN_SHARE * most][:MAX_SENSES]


def table_lines(folder: Path) -> Iterator[str]:
    """One line for every word that has synonyms: the word and they, between tabs."""
    synsets = read_synsets(folder)
    for word, senses in sorted(read_senses(folder, read_counts(folder)).items()):
        found: dict[str, None] = {}
        for _, _, pos, offset in common(senses):
            found |= dict.fromkeys(w for w in synsets[pos, offset] if w != word)
        if found:
            yield "\t".join([word, *list(found)[:MAX_SYNONYMS]]) + "\n"


def main() -> None:
    """Writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wordnet", type=Path, help="folder with data.noun, index.noun, ...")
    parser.add_argument("table", type=Path)
    arguments = parser.parse_args()
    lines = list(table_lines(arguments.wordnet))
    raw = "".join(lines).encode("ascii")
    arguments.table.write_bytes(gzip.compress(raw, 9, mtime=0))
    size = arguments.table.stat().st_size
    print(f"{len(lines):,} words, {len(raw):,} bytes, {size:,} compressed")


if __name__ == "__main__":
    main()
