"""Whole runs around a training of the user's own, in real worker processes."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from faults.driver import silent
from faults.sessions import recorded, result_of
from own_trainings import SETTINGS, command, noted, write_training

import policysearch
from policysearch import cli, study
from policysearch.baselines import BASELINES
from policysearch.comparison import compare
from policysearch.config import make_config
from policysearch.errors import FormatError, InvalidValueError, RunError
from policysearch.ledger import read_ledger
from policysearch.policy_json import read_policy_file
from policysearch.problems.choose import make_problem

LEAST = 5 + 9 + 2 + 7 * 2  # baselines, trials, confirmation, verdict


def function(**more):
    return {"data": "my_training.py:train", "objective": "function", **SETTINGS, **more}


def program(**more):
    return {"objective": "command", "command": command(), **SETTINGS, **more}


def ran(folder, settings, run="run"):
    """A run in a folder that holds the training, as the current directory."""
    write_training(folder)
    before = os.getcwd()
    os.chdir(folder)
    try:
        study.search(make_config(settings), folder / run, silent)
    finally:
        os.chdir(before)
    return folder / run


@pytest.fixture(scope="module", params=[function, program], ids=["function", "command"])
def finished(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    settings = request.param()
    return settings, ran(folder, settings)


def test_a_search_trains_in_every_rung_and_says_whose_figures_they_are(finished):
    settings, out = finished
    assert len(noted(out.parent)) == len(recorded(out)) >= LEAST
    verdict = json.loads((out / "verdict.json").read_text())
    assert (verdict["metric"], verdict["direction"]) == ("value", "maximize")
    assert "In your own training it reaches a score of 0.8" in verdict["sentence"]
    assert "which data it read for them only you know" in verdict["sentence"]
    assert "test split" not in verdict["sentence"] + verdict["holds_for"]
    assert all(0.8 <= s <= 0.9 for arm in verdict["arms"] for s in arm["scores"])
    assert all(0.8 <= s <= 0.9 for s in verdict["validation"]["scores"].values())
    provenance = read_policy_file(out / "policy.json").provenance
    assert provenance["objective"] == settings["objective"]
    assert provenance["training"] == settings.get("data", settings.get("command"))


def test_the_highest_confirmed_score_is_exported(finished):
    _, out = finished
    verdict = json.loads((out / "verdict.json").read_text())
    scores = verdict["validation"]["scores"]
    best = max(scores, key=scores.get)
    assert verdict["chosen"] == ("found" if best == verdict["validation"]["origin"] else best)


def cut(out, n):
    """Leaves the first records of a run, as if it had been killed there."""
    raw = (out / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (out / "ledger.jsonl").write_bytes(b"".join(raw[:n]))
    for name in ("policy.json", "verdict.json"):
        (out / name).unlink(missing_ok=True)


def test_an_interrupted_run_goes_on_and_a_changed_training_is_refused(
    tmp_path, monkeypatch, finished
):
    settings, out = finished
    is_function = settings["objective"] == "function"
    shutil.copytree(out.parent, tmp_path, dirs_exist_ok=True)
    out = tmp_path / out.name
    whole, n_before = result_of(out), len(noted(tmp_path))
    cut(out, 12)
    n_kept = len(recorded(out))
    assert 5 < n_kept < 12  # in the search
    monkeypatch.chdir(tmp_path)
    if is_function:
        source = (tmp_path / "my_training.py").read_text()
        (tmp_path / "my_training.py").write_text(source + "# changed\n")
        forget_training(tmp_path)
        what = "code"
    else:
        settings = yaml.safe_load((out / "config.yaml").read_text())
        changed = settings | {"command": settings["command"] + " --more"}
        (out / "config.yaml").write_text(yaml.safe_dump(changed))
        what = "command"
    with pytest.raises(RunError, match=f"cannot go on: .*{what}"):
        study.resume(out, silent)
    if is_function:
        (tmp_path / "my_training.py").write_text(source)
        forget_training(tmp_path)
    else:
        (out / "config.yaml").write_text(yaml.safe_dump(settings))
    study.resume(out, silent)
    assert result_of(out) == whole
    assert len(noted(tmp_path)) - n_before == n_before - n_kept


def forget_training(folder):
    """A file is imported once per process; a new run is a new process."""
    path = str(folder / "my_training.py")
    for name in [n for n, m in sys.modules.items() if getattr(m, "__file__", None) == path]:
        del sys.modules[name]


def test_lower_scores_win_when_they_are_to_be_minimised(tmp_path):
    out = ran(tmp_path, program(direction="minimize"))
    verdict = json.loads((out / "verdict.json").read_text())
    scores = verdict["validation"]["scores"]
    best = min(scores, key=scores.get)
    assert verdict["chosen"] == ("found" if best == verdict["validation"]["origin"] else best)
    assert verdict["direction"] == "minimize"


def test_policies_are_compared_by_a_program(tmp_path, monkeypatch):
    write_training(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = program(policies=("trivialaugment-wide", "none"))
    verdict = compare(make_config(settings), tmp_path / "run", silent)
    assert [arm["name"] for arm in verdict["arms"]] == ["trivialaugment-wide", "none"]
    assert "In your own training 'trivialaugment-wide' reaches a score of" in verdict["sentence"]


def test_a_training_that_needs_more_than_the_budget_is_told_when_it_is_known(tmp_path):
    """By the trainings of the search-free policies, which every run begins with."""
    events = []
    write_training(tmp_path)
    settings = program(command=command(0.5), budget_seconds=12.0)
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        with pytest.raises(RunError, match=r"too small to finish one trial.*Give at least"):
            study.search(make_config(settings), tmp_path / "run", events.append)
    finally:
        os.chdir(before)
    assert sorted(name for name, _ in noted(tmp_path)) == sorted(
        f"baselines/{name}/0" for name in BASELINES
    )
    assert "is known when the first has ended" in events[0]["text"]


def test_a_budget_is_planned_from_the_first_trainings(tmp_path):
    out = ran(tmp_path, program(budget_seconds=60.0))
    (budget,) = [r for r in read_ledger(out / "ledger.jsonl") if r.get("event") == "budget"]
    assert budget["trials"] == SETTINGS["trials"]
    assert 0 < budget["search_seconds"] < 60
    keys = recorded(out)
    assert len(set(keys)) == len(keys) == len(noted(tmp_path)) >= LEAST


@pytest.mark.parametrize(
    ("settings", "problems"),
    [
        ({"objective": "command"}, ["`command` is missing: `objective` is 'command'."]),
        ({}, ["`data` is missing."]),
        ({"objective": "function"}, ["`data` is missing."]),
        (
            {"data": "digits", "objective": "command", "command": "x {policy}"},
            ["`data` must be left out: the command finds its own data, got 'digits'."],
        ),
        (
            {"data": "a:b", "objective": "function", "folds": 3, "epochs": 4},
            ["`epochs` must be left out: your training decides", "`folds` must be left out: your"],
        ),
        (
            {"data": "a:b", "objective": "function", "metric": "log_loss", "device": "cuda"},
            ["`device` must be left out", "`metric` must be left out"],
        ),
        (
            {"data": "digits", "direction": "minimize", "score_key": "x"},
            ["`direction` needs `objective` 'function' or", "`score_key` needs `objective` 'com"],
        ),
        (
            {"data": "a:b", "objective": "function", "command": "x {policy}"},
            ["`command` needs `objective` 'command', got 'function'."],
        ),
    ],
)
def test_settings_that_mean_nothing_together_are_refused_with_the_reason(settings, problems):
    with pytest.raises(FormatError) as caught:
        make_config(settings)
    found = caught.value.problems
    assert len(found) == len(problems), found
    assert all(text.startswith(start) for text, start in zip(found, problems, strict=True))


def test_the_kind_of_data_is_that_of_the_space():
    own = {"objective": "command", "command": "true {policy}", "space": "series/opwise"}
    problem = make_problem(make_config(own), silent)
    assert problem.modality == "series"


def takes_nothing():
    return 0.5


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"data": f"{__file__}:takes_nothing", "objective": "function"}, "train.policy, trial."),
        ({"data": f"{__file__}:gone", "objective": "function"}, "Unknown function 'gone'"),
        ({"objective": "command", "command": "no-such-x {policy}"}, "'no-such-x' of `command`"),
        (
            {"objective": "command", "command": "true {policy}", "score_file": "{ut}/x"},
            "Unknown placeholder 'ut'",
        ),
    ],
)
def test_a_training_that_cannot_work_is_refused_before_anything_is_written(
    tmp_path, settings, text
):
    with pytest.raises(InvalidValueError, match=text):
        study.search(make_config(settings), tmp_path / "run", silent)
    assert not (tmp_path / "run").exists()


def test_a_command_without_a_seed_is_noticed():
    events = []
    make_problem(make_config({"objective": "command", "command": "true {policy}"}), events.append)
    assert "cannot be paired" in events[0]["notices"][0]


SCRIPT = """
import policysearch

def train(policy, trial):
    return 0.5 + (trial.seed % 1000) / 10_000 + int(policy.policy.digest()[:4], 16) / 10**6

{guard}
    verdict = policysearch.compare(
        train, ["randaugment", "none"], objective="function", verdict_seeds=2, workers=1, out="run"
    )
    print(verdict["sentence"])
"""


def run_script(folder, guard):
    (folder / "script.py").write_text(SCRIPT.format(guard=guard))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def test_a_function_of_the_script_that_runs_is_trained_with_in_workers(tmp_path, monkeypatch):
    done = run_script(tmp_path, 'if __name__ == "__main__":')
    assert done.returncode == 0, done.stderr
    assert "In your own training RandAugment reaches a score of 0.5" in done.stdout
    monkeypatch.chdir(tmp_path)
    assert cli.main(["resume", "run", "--quiet"]) == 0


def test_a_script_without_a_guard_is_told_so_and_starts_no_runs_without_end(tmp_path):
    done = run_script(tmp_path, "if True:")
    assert done.returncode == 1
    assert 'under `if __name__ == "__main__":`' in done.stderr


def test_the_command_line_searches_and_compares(tmp_path, monkeypatch, capsys):
    write_training(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["--objective", "command", "--command", command(), "--verdict-seeds", "2"]
    search = ["search", "--trials", "6", "--candidates", "1", "--search-anyway"]
    for more in (search, ["compare", "none", "augmix"]):
        assert cli.main([*more, *words, "--workers", "2"]) == 0
        told = capsys.readouterr()
        assert "In your own training" in told.out
        assert "Training: the command" in told.err
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"command-1", "command-compare-1"}


def test_public_names_are_there():
    assert issubclass(policysearch.TrialPruned, Exception)
    assert policysearch.TrainingTrial.should_prune
