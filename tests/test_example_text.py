"""The example for texts, run as a user runs it."""

import re
import subprocess
import sys
from pathlib import Path

import policysearch
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.policy_json import PolicyDocument, write_policy_file

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments):
    """Names and test accuracies that `train_text.py` prints."""
    command = [sys.executable, "-W", "error", "examples/train_text.py", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {name: float(value) for name, value in re.findall(r"(.+): ([\d.]+)%", done.stdout)}


def test_texts_are_augmented_in_an_ordinary_training(tmp_path):
    calls = ("tfidf_substitute", "synonym_replace", "char_swap")
    stages = tuple(Stage((OpCall(op, 0.0, 0.1, unit="fraction"),)) for op in calls)
    path = tmp_path / "policy.json"
    write_policy_file(path, PolicyDocument(Policy((SubPolicy(stages),), "text", "text-1")))
    found = run("--policy", path)
    assert list(found) == ["none", str(path)]
    assert min(found.values()) > 75  # half by guessing


def test_texts_come_from_a_file(tmp_path):
    rows = [f"{'good' if i % 2 else 'bad'} thing {i},{i % 2}" for i in range(40)]
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    found = run("--data", tmp_path / "a.csv", "--train-size", 20, "--epochs", 20)
    assert found["none"] > 80


def test_the_shipped_policies_of_texts_load():
    for name in ("eda", "aeda", "default-text"):
        assert policysearch.load_policy(name).policy.modality == "text"
