"""Texts on the command line: `show` with sentences, `apply` on tables, a search on a CSV file."""

import csv
import json

import pytest

from policysearch import cli
from policysearch.report.text_examples import SENTENCES


@pytest.fixture
def table(tmp_path):
    rows = [("text", "label")] + [
        (f"{'good fine' if i % 2 else 'bad poor'} thing number {i} here", str(i % 2))
        for i in range(60)
    ]
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


class Done:
    """What a command printed, and how it ended."""

    def __init__(self, exit_code, captured):
        self.exit_code = exit_code
        self.output = captured.out
        self.error = captured.err


@pytest.fixture
def run(capsys):
    def call(*words):
        return Done(cli.main([str(word) for word in words]), capsys.readouterr())

    return call


def read(path, delimiter=","):
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_show_tells_ops_in_words_and_by_sentences(run):
    done = run("show", "eda")
    assert done.exit_code == 0, done.error
    assert "replace 5% of its words by synonyms" in done.output
    assert "What it makes of sentences" in done.output
    assert "We waited two hours for a cold meal. Nobody said sorry." in done.output


def test_show_gives_examples_as_json_and_of_own_texts(run, table):
    shown = json.loads(run("show", "aeda", "--json").output)["examples"]
    assert [example["before"] for example in shown] == list(SENTENCES)
    assert all(example["after"] != example["before"] for example in shown)
    own = json.loads(run("show", "aeda", "--json", "--texts", table).output)["examples"]
    assert [example["before"].split()[0] for example in own] == ["bad", "bad", "good", "good"]


def test_show_has_no_sentences_for_images(run):
    assert "sentences" not in run("show", "randaugment").output
    done = run("show", "randaugment", "--texts", "x.csv")
    assert done.exit_code == 2
    assert "`--texts` is for text policies" in done.error


def test_apply_writes_texts_and_keeps_the_other_columns(run, table, tmp_path):
    out = tmp_path / "out.tsv"
    done = run("apply", "eda", table, out, "--copies", 3, "--seed", 5)
    assert done.exit_code == 0, done.error
    assert "Wrote 180 texts" in done.output
    before, after = read(table), read(out, "\t")
    assert after[0] == ["text", "label"]
    assert [row[1] for row in after[1:]] == [row[1] for row in before[1:] for _ in range(3)]
    assert after[1:] != [row for row in before[1:] for _ in range(3)]
    again = tmp_path / "again.tsv"
    run("apply", "eda", table, again, "--copies", 3, "--seed", 5)
    assert again.read_bytes() == out.read_bytes()


def test_apply_does_not_write_over_files(run, table, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("mine")
    for target, text in ((out, "add --force"), (table, "DST must not be SRC")):
        done = (
            run("apply", "eda", table, target, "--force")
            if target is table
            else run("apply", "eda", table, target)
        )
        assert done.exit_code == 2
        assert text in done.error
    assert out.read_text() == "mine"
    assert run("apply", "eda", table, out, "--force", "-q").exit_code == 0


@pytest.mark.parametrize(
    ("src", "dst", "text"),
    [
        ("reviews.csv", "out.json", "DST must be a .csv or .tsv file"),
        ("none.csv", "out.csv", "none.csv' does not exist"),
        ("reviews.csv", "nowhere/out.csv", "existing folder"),
    ],
)
def test_apply_says_what_is_wrong_with_its_files(run, table, src, dst, text):
    done = run("apply", "eda", table.parent / src, table.parent / dst)
    assert done.exit_code == 2
    assert text in " ".join(done.error.split())


def test_a_csv_file_is_searched_to_a_verdict(run, table, tmp_path):
    options = {"trials": 8, "folds": 2, "epochs": 1, "candidates": 1, "confirm-seeds": 1}
    options |= {"verdict-seeds": 2, "workers": 1, "out": tmp_path / "run"}
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    done = run("search", table, *words)
    assert done.exit_code == 0, done.error
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())
    assert {"none", "default", "aeda", "uniformaugment", "random", "found"} <= {
        arm["name"] for arm in verdict["arms"]
    }
    shown = json.loads(run("show", tmp_path / "run", "--json").output)
    assert shown["policy"]["modality"] == "text"
    assert "--sheet" not in done.output
