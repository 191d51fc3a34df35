"""Sentences per second of every operation on text, beside nlpaug where it is installed.

    python benchmarks/modality_text.py                    # made-up sentences
    python benchmarks/modality_text.py --data train.csv   # a table with a column of texts
    python benchmarks/modality_text.py --peer-python nlpaug-env/bin/python

One thread, drawing included for neither side: magnitudes and random numbers are made beforehand.
Ours are measured twice: on word numbers in batches, as the proxy trains on them, and on strings,
as a trainer has them. nlpaug runs in an environment of its own (`pip install nlpaug`) on the same
strings of at least five words (it fails on shorter ones), one after the other, as it is made for;
its operations are the nearest ones it has.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from interleaved import Spread, interleaved
from machine import machine

from policysearch.data import load_source
from policysearch.ops.lexicon import Lexicon
from policysearch.ops.registry import op_table
from policysearch.ops.text_kernels import TextKernels, count_words
from policysearch.ops.thesaurus import shipped_thesaurus

HERE = Path(__file__).parent
LEVEL = 0.5
#: Which operation of nlpaug is the nearest, and how it is made.
PEERS = {
    "random_swap": "word.RandomWordAug(action='swap')",
    "random_delete": "word.RandomWordAug(action='delete')",
    "span_crop": "word.RandomWordAug(action='crop')",
    "unk_dropout": "word.RandomWordAug(action='substitute')",
    "keyboard_typo": "char.KeyboardAug(include_special_char=False, include_numeric=False)",
    "char_swap": "char.RandomCharAug(action='swap')",
    "char_delete": "char.RandomCharAug(action='delete')",
}
#: Run by the Python of the peer: sentences per second of each of its operations.
PEER_SCRIPT = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import nlpaug.augmenter.char as char
import nlpaug.augmenter.word as word
texts, peers = json.load(open(sys.argv[1]))
rates = {}
for name, made in peers.items():
    augmenter = eval(made)
    best = 0.0
    for _ in range(3):
        started = time.perf_counter()
        for text in texts:
            augmenter.augment(text)
        best = max(best, len(texts) / (time.perf_counter() - started))
    rates[name] = best
print(json.dumps(rates))
"""


def made_up(n: int) -> list[str]:
    """Sentences of 5 to 30 words that the thesaurus knows or not, as often as in reviews."""
    rng = np.random.default_rng(0)
    known = np.array(shipped_thesaurus().words)
    common = np.array(["the", "a", "of", "and", "to", "is", "it", "that", "this", "with", "not"])
    texts = []
    for length in rng.integers(5, 31, n):
        words = np.where(
            rng.random(length) < 0.5, rng.choice(common, length), rng.choice(known, length)
        )
        texts.append(" ".join(words.tolist()))
    return texts


def measure(texts: list[str], n_rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Sentences per second of each operation, on numbers and on strings."""
    lexicon = Lexicon(shipped_thesaurus())
    kernels = TextKernels(lexicon, count_words(texts))
    words = lexicon.encode(texts).words
    lexicon.keep()
    n = len(texts)
    index, draws = np.zeros((n, 1), int), np.random.default_rng(0).random((n, 1, 1))
    calls = {}
    for spec in op_table("text").values():
        if spec.name == "identity":
            continue
        m = np.full((n, 1), spec.magnitude(LEVEL))
        arguments = ([spec.name], index, m, draws)
        calls[f"{spec.name}/ids"] = lambda a=arguments: kernels.edit(words, *a)
        calls[f"{spec.name}/strings"] = lambda a=arguments: kernels.apply(texts, *a)
    taken = interleaved(calls, n_rounds, seconds)
    rates = {key: Spread.of([n / t for t in values]).to_dict(0) for key, values in taken.items()}
    result: dict[str, dict[str, Any]] = {}
    for key, rate in rates.items():
        name, way = key.split("/")
        result.setdefault(name, {})[way] = rate
    return result


def measure_peer(python: str, texts: list[str]) -> dict[str, float]:
    """Sentences per second of nlpaug's operations, best of three rounds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps([texts, PEERS]))
        command = [python, "-c", PEER_SCRIPT, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measures, prints a table and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="table with a column of texts")
    parser.add_argument("--n-texts", type=int, default=4096)
    parser.add_argument("--peer-python", help="Python of an environment with nlpaug")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few texts, one short round")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "modality_text.json")
    args = parser.parse_args()
    n = 256 if args.quick else args.n_texts
    source = load_source(args.data, modality="text").train.x.tolist() if args.data else made_up(n)
    texts = source[:n]
    ours = measure(texts, 1 if args.quick else args.rounds, 0.01 if args.quick else 0.3)
    long_enough = [text for text in texts if len(text.split()) >= 5]
    peer = measure_peer(args.peer_python, long_enough[:1000]) if args.peer_python else {}
    for name, rates in ours.items():
        if name in peer:
            rates["peer"] = {"operation": PEERS[name], "sentences": round(peer[name])}
        ratio = f"{rates['ids']['median'] / peer[name]:7.0f} x" if name in peer else ""
        nlpaug = f"{peer[name]:9,.0f}" if name in peer else ""
        print(
            f"{name:20} ids {rates['ids']['median']:12,.0f}  "
            f"strings {rates['strings']['median']:10,.0f}  nlpaug {nlpaug:>9} {ratio}"
        )
    result = {
        "claim": "sentences per second of operations on text, one thread",
        "n_texts": len(texts),
        "words_per_text": round(float(np.mean([len(text.split()) for text in texts])), 1),
        "level": LEVEL,
        "machine": machine(),
        "sentences_per_second": ours,
    }
    if not args.quick:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
