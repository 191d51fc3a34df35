"""A whole study from data to policy: its files, its refusals, and what its workers can see."""

import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml
from faults.driver import SETTINGS, silent, with_formula
from faults.sessions import recorded, result_of

from policysearch import budget, study
from policysearch.baselines import BASELINES
from policysearch.comparison import compare
from policysearch.config import make_config, read_config
from policysearch.engines.choose import local_engine
from policysearch.engines.local import LocalEngine
from policysearch.errors import FormatError, InvalidValueError, PolicySearchError, RunError
from policysearch.ledger import read_ledger
from policysearch.objectives.from_scratch import FinalTraining, FromScratch
from policysearch.policy_json import read_policy_file
from policysearch.problems import dataset
from policysearch.selection import paired
from policysearch.trial import Outcome

TINY = SETTINGS | {"train_size": 40, "folds": 2, "trials": 6, "candidates": 1}


def search(folder, make_engine=None, **settings):
    config = make_config(SETTINGS | settings)
    study.search(config, folder / "run", silent, make_engine or with_formula(folder))
    return folder / "run"


def npz(path, seed=0, n=60):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    x = rng.integers(0, 256, (2 * n, 8, 8), dtype=np.uint8)
    np.savez(path, x_train=x[:n], y_train=labels, x_test=x[n:], y_test=labels)
    return str(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return search(tmp_path_factory.mktemp("finished"))


def test_a_run_leaves_its_four_files_and_no_other(finished):
    assert {p.name for p in finished.iterdir()} == {
        "config.yaml", "ledger.jsonl", ".ledger.jsonl.lock", "policy.json", "verdict.json",
    }  # fmt: skip


def test_the_ledger_holds_every_rung(finished):
    records = read_ledger(finished / "ledger.jsonl")
    header = records[0]
    assert header["format"] == "policysearch.ledger"
    assert {"space", "dataset", "test", "seed", "lookback", "versions", "at"} <= set(header)
    rungs = [key.split("/")[0] for key in recorded(finished)]
    order = ["baselines", "trial", "confirm", "verdict"]
    assert [rungs.count(name) for name in order] == [15, 9, 6, 14]
    assert rungs == sorted(rungs, key=order.index)


def test_the_policy_is_the_one_that_validation_chose(finished):
    verdict = json.loads((finished / "verdict.json").read_text())
    policy = read_policy_file(finished / "policy.json").policy
    records = {r.get("key"): r for r in read_ledger(finished / "ledger.jsonl")}
    assert records[f"verdict/{verdict['chosen']}/0"]["policy"] == policy.digest()
    scores = {}
    for key in recorded(finished):
        rung, name, *_ = key.split("/")
        if rung in {"baselines", "confirm"}:
            scores.setdefault(name, []).append(records[key]["score"])
    means = {name: np.mean(values) for name, values in scores.items()}
    assert verdict["validation"]["scores"] == pytest.approx(means, abs=1e-6)
    found = verdict["validation"]["origin"]
    best = min([*BASELINES, found], key=means.get)
    simple = [n for n in ("none", "default") if n != best]  # at most half as many operations
    tied = [n for n in simple if np.subtract(*paired(scores[n], scores[best], 1 / 2)) <= 0]
    chosen = tied[0] if tied else best
    assert verdict["chosen"] == ("found" if chosen == found else chosen)
    arms = {
        "none",
        "default",
        "trivialaugment",
        "randaugment",
        "uniformaugment",
        "random",
        "found",
    }
    assert {arm["name"] for arm in verdict["arms"]} == arms


def test_a_real_search_gives_the_same_with_other_workers(tmp_path):
    """The digits, the real network, two epochs."""
    results = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        out = search(folder, local_engine, **TINY | {"workers": workers})
        results.append(result_of(out))
    assert results[0] == results[1]
    assert len(results[0]["outcomes"]) == 10 + 6 + 2 + 14


def test_a_search_is_told_which_search_free_policy_is_best(tmp_path, monkeypatch):
    seen = []

    def loop(*_, known, **__):
        seen.append(known.best)
        raise RunError("seen")

    monkeypatch.setattr(study, "SearchLoop", loop)
    with pytest.raises(RunError, match="seen"):
        search(tmp_path, seed=1)
    scores = {}
    for record in read_ledger(tmp_path / "run" / "ledger.jsonl"):
        if record.get("event") == "task":
            scores.setdefault(record["key"].split("/")[1], []).append(record["score"])
    [(name, policy)] = seen
    assert sum(scores[name]) == min(map(sum, scores.values()))
    assert name != "none"
    assert policy == study.Study(make_config(SETTINGS | {"seed": 1}), silent).baselines[name]


def test_workers_of_the_search_hold_no_test_pixel(tmp_path):
    """Every image is unlike every other, so that a few of its rows betray it."""
    seen = {}

    def spying(objective, config):
        seen[type(objective)] = pickle.dumps(objective)
        return with_formula(tmp_path)(objective, config)

    path = npz(tmp_path / "data.npz")
    search(tmp_path, spying, data=path, train_size=None)
    with np.load(path) as data:
        train, test = data["x_train"], data["x_test"]
    assert all(image[:4].tobytes() in seen[FromScratch] for image in train)
    assert not any(image[:4].tobytes() in seen[FromScratch] for image in test)
    assert all(image[:4].tobytes() in seen[FinalTraining] for image in test)


def cut(out):
    """Leaves of a run what it held when its driver was lost after some trainings."""
    raw = (out / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (out / "ledger.jsonl").write_bytes(b"".join(raw[:6]))
    for name in ("policy.json", "verdict.json"):
        (out / name).unlink()
    return out


def interrupted(folder, **settings):
    return cut(search(folder, **settings))


def copied(finished, folder):
    return cut(shutil.copytree(finished, folder / "run"))


def refuses(out, folder, what):
    before = (out / "ledger.jsonl").read_bytes()
    with pytest.raises(RunError, match=f"cannot go on: .*{what}"):
        study.resume(out, silent, with_formula(folder))
    assert (out / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize("part", ["train", "test"])
def test_changed_data_are_refused(tmp_path, part):
    path = tmp_path / "data.npz"
    out = interrupted(tmp_path, data=npz(path), train_size=None)
    with np.load(path) as data:
        arrays = dict(data)
    arrays[f"x_{part}"][3, 2, 2] ^= 1
    np.savez(path, **arrays)
    refuses(out, tmp_path, "dataset" if part == "train" else "test")


def test_a_changed_space_is_refused(tmp_path):
    path = tmp_path / "space.yaml"
    text = (
        "format: policysearch.space\nversion: 1\nmethod: opwise\nn_ops: [1, 2]\n"
        "ops:\n  - {op: rotate, low: 0, high: 30, unit: deg}\n"
        "  - {op: scale, low: 0, high: 0.4, unit: fraction}\n"
    )
    path.write_text(text)
    out = interrupted(tmp_path, space=str(path))
    path.write_text(text.replace("high: 30", "high: 31"))
    refuses(out, tmp_path, "space")
    path.write_text(text + "# a remark\n")
    study.resume(out, silent, with_formula(tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trials", 12),
        ("sampler", "random"),
        ("epochs", 3),
        ("prune", False),
        ("seed", 1),
        ("metric", "macro_f1"),
    ],
)
def test_settings_changed_by_hand_are_refused(tmp_path, finished, name, value):
    out = copied(finished, tmp_path)
    settings = yaml.safe_load((out / "config.yaml").read_text())
    (out / "config.yaml").write_text(yaml.safe_dump(settings | {name: value}))
    refuses(out, tmp_path, name)


def test_workers_may_change_between_sessions(tmp_path, finished):
    out = copied(finished, tmp_path)
    settings = yaml.safe_load((out / "config.yaml").read_text())
    (out / "config.yaml").write_text(yaml.safe_dump(settings | {"workers": 3}))
    study.resume(out, silent, with_formula(tmp_path))
    assert result_of(out) == result_of(finished)


@pytest.mark.parametrize(
    ("key", "n_all"), [("verdict/none/1", 14), ("baselines/randaugment/1", 15)]
)
def test_a_comparison_that_failed_is_tried_again_by_resume(tmp_path, finished, key, n_all):
    """A run must not end, or say there is no head-room, without one of its arms."""

    class Flaky:
        def __init__(self, engine):
            self.engine, self.n_slots, self.close = engine, engine.n_slots, engine.close
            self.submit = engine.submit

        def wait(self, seconds):
            return [self.broken(f) for f in self.engine.wait(seconds)]

        def broken(self, finished):
            if finished.task.key != key:
                return finished
            outcome = Outcome("failed", failure="memory", message="none left")
            return type(finished)(finished.task, outcome)

    with pytest.raises(RunError, match=rf"1 of {n_all} trainings .*'{key}': none left"):
        search(tmp_path, lambda o, c: Flaky(with_formula(tmp_path)(o, c)))
    study.resume(tmp_path / "run", silent, with_formula(tmp_path))
    evaluated = (tmp_path / "evaluated").read_text().splitlines()
    assert sorted(set(evaluated)) == sorted(set(recorded(tmp_path / "run")))
    assert len(evaluated) == len(set(evaluated)) + 1
    assert (
        json.loads((tmp_path / "run" / "policy.json").read_text())["sub_policies"]
        == (json.loads((finished / "policy.json").read_text())["sub_policies"])
    )


def test_the_budget_ends_the_search_and_later_rungs_still_run(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "seconds_per_epoch", lambda *_: 0.001)
    monkeypatch.setattr(budget, "START_SECONDS", 0.0)
    out = search(tmp_path, with_formula(tmp_path, 0.05), budget_seconds=2.0, trials=1000)
    rungs = [key.split("/")[0] for key in recorded(out)]
    assert 6 <= rungs.count("trial") < 100
    assert rungs.count("verdict") == 14
    before = recorded(out)
    study.resume(out, silent, with_formula(tmp_path))
    assert recorded(out) == before


def test_a_budget_for_less_than_a_trial_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidValueError, match=r"too small to finish one trial.* at least"):
        search(tmp_path, budget_seconds=0.001)
    assert list(tmp_path.iterdir()) == []


def test_a_space_without_anything_to_search_is_refused(tmp_path):
    with pytest.raises(InvalidValueError, match=r"nothing to search.*policysearch compare"):
        search(tmp_path, space="image/trivialaugment_wide")
    assert list(tmp_path.iterdir()) == []


def test_another_run_or_a_filled_directory_is_refused_and_left_alone(tmp_path, finished):
    before = {p.name: p.read_bytes() for p in finished.iterdir()}
    with pytest.raises(InvalidValueError, match=r"is a run already.*policysearch resume"):
        study.search(make_config(SETTINGS), finished, silent, with_formula(tmp_path))
    unread = SETTINGS | {"data": str(tmp_path / "nothing")}
    with pytest.raises(InvalidValueError, match="is a run already"):  # before data are read
        study.search(make_config(unread), finished, silent, with_formula(tmp_path))
    assert {p.name: p.read_bytes() for p in finished.iterdir()} == before
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").touch()
    with pytest.raises(InvalidValueError, match="must be a new or empty directory"):
        search(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises((InvalidValueError, RunError), match="file"):
        study.search(make_config(SETTINGS), tmp_path / "file", silent, with_formula(tmp_path))
    with pytest.raises(InvalidValueError, match="' is not a directory"):
        study.search(
            make_config(SETTINGS), tmp_path / "file" / "x", silent, with_formula(tmp_path)
        )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"space": "opwize"}, "Unknown space 'opwize'. Did you mean 'opwise'"),
        ({"device": "cuda:99"}, "`--device` must be one that torch can compute on here"),
        ({"network": "a:b", "checkpoint": "no.pt"}, "no.pt"),
    ],
)
def test_wrong_names_are_told_before_data_are_read(tmp_path, settings, text):
    with pytest.raises(PolicySearchError, match=re.escape(text)):
        search(tmp_path, data="no such data", train_size=None, **settings)


def test_a_training_of_the_search_is_no_longer_than_a_full_one(tmp_path):
    with pytest.raises(InvalidValueError, match="`search_epochs` must be at most `epochs`"):
        search(tmp_path, epochs=2, search_epochs=3)


def test_what_is_no_run_cannot_be_resumed(tmp_path):
    for out in (tmp_path, tmp_path / "gone"):
        with pytest.raises(InvalidValueError, match="not a run directory"):
            study.resume(out, silent)


READ_ONLY = """
import os, sys
from pathlib import Path
from policysearch.config import make_config
from policysearch.errors import PolicySearchError
from policysearch.ledger import Ledger
from policysearch.run import create_run_directory
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
path = Path(sys.argv[1])
for act in (
    lambda: create_run_directory(path / "new", make_config({"data": "digits"})),
    lambda: Ledger(path / "ledger.jsonl"),
):
    try:
        act()
    except PolicySearchError as error:
        print(error)
"""


def test_a_read_only_directory_is_told_as_such(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    for path in [tmp_path, *tmp_path.parents[:3]]:
        if path.stat().st_uid == os.geteuid() and len(path.parts) > 2:
            path.chmod(0o755)
    folder.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, folder],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        folder.chmod(0o755)
    texts = done.stdout.splitlines()
    assert len(texts) == 2, done.stderr
    assert "locked' cannot be written to" in texts[0]
    assert "cannot be written: Permission denied" in texts[1]
    assert list(folder.iterdir()) == []


def test_a_disk_that_fills_up_costs_nothing_that_is_recorded(tmp_path, finished):
    """A limit on the size of files, in a child, at several places of the run."""
    n_before = 0
    size = (finished / "ledger.jsonl").stat().st_size
    for share in (0.3, 0.6, 0.9):
        room = int(size * share)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            code = 1
            try:
                if (tmp_path / "run").exists():
                    study.resume(tmp_path / "run", silent, with_formula(tmp_path))
                else:
                    search(tmp_path)
            except RunError as error:
                code = 7 if "File too large" in str(error) else 8
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert len(recorded(tmp_path / "run")) > n_before
        n_before = len(recorded(tmp_path / "run"))
    study.resume(tmp_path / "run", silent, with_formula(tmp_path))
    assert result_of(tmp_path / "run") == result_of(finished)


def test_a_comparison_is_resumed_too(tmp_path):
    settings = SETTINGS | {"policies": ("trivialaugment-wide", "none")}
    out = tmp_path / "run"
    verdict = compare(make_config(settings), out, silent, with_formula(tmp_path))
    assert [arm["name"] for arm in verdict["arms"]] == ["trivialaugment-wide", "none"]
    assert verdict["chosen"] == "trivialaugment-wide"
    raw = (out / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (out / "ledger.jsonl").write_bytes(b"".join(raw[:4]))
    again = study.resume(out, silent, with_formula(tmp_path))
    assert [a["scores"] for a in again["arms"]] == [a["scores"] for a in verdict["arms"]]
    assert len((tmp_path / "evaluated").read_text().splitlines()) == 4 + 2
    assert not (out / "policy.json").exists()
    settings = yaml.safe_load((out / "config.yaml").read_text())
    (out / "config.yaml").write_text(yaml.safe_dump(settings | {"epochs": 5}))
    refuses(out, tmp_path, "epochs")


def test_the_default_engine_is_that_of_local_processes():
    with local_engine(object(), make_config({"data": "digits", "workers": 3})) as engine:
        assert isinstance(engine, LocalEngine)
        assert engine.n_slots == 3


def test_settings_are_kept_with_the_run_but_not_the_cores_of_this_machine(tmp_path):
    config = make_config({k: v for k, v in SETTINGS.items() if k != "workers"})
    study.runs.create_run_directory(tmp_path / "run", config)
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert "workers" not in yaml.safe_load(text)
    assert read_config(tmp_path / "run" / "config.yaml") == config
    (tmp_path / "run" / "config.yaml").write_text(text + "trails: 5\n")
    with pytest.raises(FormatError, match=r"Unknown key `trails`.*`trials`"):
        study.resume(tmp_path / "run", silent)
