"""A training that takes no time, as a function and as a program, for tests of whole runs."""

import sys
from pathlib import Path

#: Its score depends on policy, seed and rung alone. Imports nothing heavy.
SOURCE = """
import hashlib, json, os, sys, time

def quality(text, seed, rung):
    digest = hashlib.sha256(f"{text} {seed} {rung}".encode()).digest()
    return 0.8 + int.from_bytes(digest[:2], "little") / 2**16 / 10

def note(word):
    with open("evaluated", "a") as file:
        file.write(f"{word} {os.getpid()}\\n")

def train(policy, trial):
    note(trial.key)
    score = quality(policy.policy.digest(), trial.seed, trial.rung)
    for step in range(4):
        trial.report(step, score * (step + 1) / 4)
        if trial.should_prune():
            return 0.0
    return score

if __name__ == "__main__":
    path, seed, rung, out, seconds = sys.argv[1:]
    content = json.load(open(path))
    name = content.pop("name")
    note(name)
    time.sleep(float(seconds))
    print(json.dumps({"score": quality(json.dumps(content), seed, rung)}))
"""

SETTINGS = {
    "trials": 9,
    "candidates": 2,
    "confirm_seeds": 1,
    "verdict_seeds": 2,
    "workers": 2,
    "lookback": 3,
    "search_anyway": True,
}


def write_training(folder: Path) -> Path:
    path = folder / "my_training.py"
    path.write_text(SOURCE)
    return path


def command(seconds: float = 0.0) -> str:
    """`-S` starts in no time."""
    words = "{policy} {seed} {rung} {out}"
    return f"'{sys.executable}' -S my_training.py {words} {seconds}"


def noted(folder: Path) -> list[tuple[str, int]]:
    """Trainings in the order they began, with their processes."""
    path = folder / "evaluated"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines if len(line.split()) == 2]
