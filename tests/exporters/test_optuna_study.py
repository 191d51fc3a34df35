"""A run as a study of Optuna: every trial with all that is known of it, each once."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
import warnings
from datetime import datetime, timezone
from pathlib import Path

import optuna
import pytest
from contracts.sampler_contract import outcome_of
from faults.driver import SETTINGS, silent, with_formula
from optuna.trial import TrialState

from policysearch import cli, study
from policysearch.comparison import compare
from policysearch.config import make_config
from policysearch.errors import InvalidValueError, MissingDependencyError, RunError
from policysearch.exporters.optuna_study import export_study, opened_storage
from policysearch.ledger import Ledger, read_ledger
from policysearch.policy_json import policy_from_dict
from policysearch.space_yaml import load_space

SPACE = load_space("image/opwise").restricted_to(1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of a sampler with a state; some of its trials failed, were pruned, became void."""
    folder = tmp_path_factory.mktemp("finished")
    config = make_config(SETTINGS | {"trials": 12, "sampler": "nsga2"})
    study.search(config, folder / "run", silent, with_formula(folder))
    with Ledger(folder / "run" / "ledger.jsonl") as ledger:
        last = [r for r in ledger.records if r.get("event") == "trial"][-1]
        for number in range(12, 27):
            state = outcome_of(number, 0.5).to_dict()
            kept = {k: last[k] for k in ("event", "origin", "params", "at", "sampler_state")}
            ledger.append(kept | {"number": number} | state)
        ledger.append({"event": "void", "keys": ["trial/20"]})
        ledger.append(kept | {"number": 20} | outcome_of(0, 0.1).to_dict())
    return folder / "run"


@pytest.fixture(params=["study.db", "study.journal"])
def storage(request, tmp_path):
    return str(tmp_path / request.param)


def exported(storage):
    """The study as it stands in the storage, in memory."""
    with opened_storage(storage) as opened:
        there = optuna.load_study(study_name="run", storage=opened)
        copy = optuna.create_study(study_name="run")
        copy.add_trials(there.get_trials())
        return copy


def trials_of(finished):
    records = [r for r in read_ledger(finished / "ledger.jsonl") if r.get("event") == "trial"]
    return {r["number"]: r for r in records}


@pytest.fixture
def tokyo(monkeypatch):
    """Optuna's times are local ones, the ledger's are not."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_every_trial_is_there_with_all_that_is_known_of_it(finished, storage):
    assert export_study(finished, storage) == ("run", 27, 27)
    found, records = exported(storage), trials_of(finished)
    assert [t.user_attrs["number"] for t in found.trials] == list(range(27))
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    for trial in found.trials:
        record = records[trial.user_attrs["number"]]
        assert trial.params == record.get("params", {})
        assert set(trial.distributions) == set(trial.params)
        assert trial.state == states.get(record["state"], TrialState.FAIL)
        assert trial.value == (record["score"] if record["state"] == "complete" else None)
        scores = [m["score"] for m in record.get("metrics", [])]
        means = [sum(scores[: i + 1]) / (i + 1) for i in range(len(scores))]
        assert trial.intermediate_values == pytest.approx(dict(enumerate(means)))
        assert trial.user_attrs["origin"] == record["origin"]
        assert trial.user_attrs["seconds"] == record["seconds"]
        ended = datetime.fromisoformat(record["at"]).timestamp()
        assert trial.datetime_complete.timestamp() == ended
        assert trial.datetime_start.timestamp() == pytest.approx(ended - record["seconds"])
    assert {t.state for t in found.trials} == {*states.values(), TrialState.FAIL}
    assert found.best_trial.user_attrs["number"] == 20
    failed = found.trials[13]
    assert (failed.user_attrs["failure"], failed.user_attrs["message"]) == ("error", "no luck")


def test_digests_and_distributions_are_those_of_the_space(finished, storage):
    export_study(finished, storage)
    trials, records = exported(storage).trials, trials_of(finished)
    assert trials[11].user_attrs["policy"] == SPACE.decode(records[11]["params"]).digest()
    warm = policy_from_dict(records[0]["policy"]).policy
    assert (trials[0].user_attrs["policy"], trials[0].params) == (warm.digest(), {})
    float_, int_ = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution
    assert trials[11].distributions["rotate.level"] == float_(0.05, 1.0)
    assert trials[11].distributions["n_ops"] == int_(*SPACE.n_ops)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few trials, says Optuna
        importances = optuna.importance.get_param_importances(exported(storage))
    assert isinstance(importances, dict)


def cut(finished, out, n_lines):
    out.mkdir(exist_ok=True)
    shutil.copy(finished / "config.yaml", out)
    raw = (finished / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (out / "ledger.jsonl").write_bytes(b"".join(raw[:n_lines]))
    return out


def test_exporting_again_adds_what_is_new_and_nothing_twice(finished, storage, tmp_path):
    out = tmp_path / "run"
    assert export_study(cut(finished, out, 6 + 16), storage) == ("run", 4, 4)
    assert export_study(out, storage) == ("run", 0, 4)
    assert export_study(cut(finished, out, 10**6), storage) == ("run", 23, 27)
    numbers = [t.user_attrs["number"] for t in exported(storage).trials]
    assert sorted(numbers) == list(range(27))


def test_a_trial_tried_again_after_its_export_is_there_with_both_outcomes(
    finished, storage, tmp_path
):
    n_lines = len((finished / "ledger.jsonl").read_text().splitlines())
    out = cut(finished, tmp_path / "run", n_lines - 2)
    assert export_study(out, storage) == ("run", 27, 27)
    with Ledger(out / "ledger.jsonl") as ledger:
        trial = next(r for r in ledger.records if r.get("number") == 20)
        ledger.append({"event": "void", "keys": ["trial/20"]})
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        ledger.append(trial | outcome_of(0, 0.1).to_dict() | {"at": at})
    assert export_study(out, storage) == ("run", 1, 28)
    again = [t for t in exported(storage).trials if t.user_attrs["number"] == 20]
    assert [t.state for t in again] == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_study_of_something_else_is_refused_and_left_alone(finished, storage, tmp_path):
    with opened_storage(storage) as opened:
        other = optuna.create_study(storage=opened, study_name="run")
        other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        optuna.create_study(storage=opened, study_name="up", direction="maximize")
    with pytest.raises(InvalidValueError, match=r"not made from the run .* --name"):
        export_study(finished, storage)
    with pytest.raises(InvalidValueError, match="not made from"):
        export_study(finished, storage, "up")
    assert len(exported(storage).trials) == 2
    assert export_study(finished, storage, "mine") == ("mine", 27, 27)
    second = tmp_path / "second"
    study.search(make_config(SETTINGS | {"seed": 5}), second, silent, with_formula(tmp_path))
    with pytest.raises(InvalidValueError, match="not made from"):
        export_study(second, storage, "mine")


def test_a_comparison_has_no_trials_to_export(tmp_path):
    config = make_config(SETTINGS | {"policies": ("none", "randaugment")})
    compare(config, tmp_path / "run", silent, with_formula(tmp_path))
    with pytest.raises(InvalidValueError, match="is a comparison"):
        export_study(tmp_path / "run", "study.db")


def test_a_space_that_changed_since_is_told(finished, tmp_path):
    out = cut(finished, tmp_path / "run", 10**6)
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("space: null", "space: image/randaugment"))
    with pytest.raises(InvalidValueError, match="not what it was"):
        export_study(out, str(tmp_path / "study.db"))
    assert not (tmp_path / "study.db").exists()


@pytest.mark.parametrize(
    ("storage", "error", "text"),
    [
        ("nosuch://x", InvalidValueError, "must be a URL"),
        ("study.txt", InvalidValueError, "ends in .db, .sqlite, .sqlite3 .SQLite., .journal"),
        ("sqlite:////no/such/folder/study.db", RunError, "unable to open"),
        ("/no/such/folder/study.journal", RunError, "No such file"),
        ("oracle://user:secret@host/x", MissingDependencyError, "package of its database"),
    ],
)
def test_a_storage_that_cannot_be_had_is_told_without_its_password(finished, storage, error, text):
    with pytest.raises(error, match=text) as caught:
        export_study(finished, storage)
    assert "secret" not in str(caught.value)


def test_the_command_writes_the_name_of_the_study(finished, tmp_path, capsys):
    storage = f"sqlite:///{tmp_path}/study.db"
    assert cli.main(["export-study", str(finished), "--storage", storage, "--name", "x"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "x\n"
    assert "27 trials added to the study 'x', which holds 27" in captured.err
    assert cli.main(["export-study", str(tmp_path), "--storage", storage]) == 2
    assert "is not the directory of a run" in capsys.readouterr().err


def test_a_run_is_exported_while_it_goes_on(tmp_path):
    out, storage = tmp_path / "run", str(tmp_path / "study.db")
    make_engine = with_formula(tmp_path, 0.1)
    run = threading.Thread(
        target=study.search, args=(make_config(SETTINGS), out, silent, make_engine)
    )
    run.start()
    sizes = []
    while run.is_alive():
        if (out / "ledger.jsonl").exists() and read_ledger(out / "ledger.jsonl"):
            sizes.append(export_study(out, storage)[2])
        time.sleep(0.05)
    run.join()
    assert export_study(out, storage)[2] == 9
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 2


@pytest.fixture
def postgres():
    """A server of PostgreSQL in a folder of its own, if there is one to be started."""
    pytest.importorskip("psycopg")
    programs = Path(shutil.which("initdb") or "").resolve().parent
    if not (programs / "pg_ctl").exists():
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user)

    def do(*words):
        nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(words, user=user, cwd="/", check=True, timeout=60, **nowhere)

    try:
        do(programs / "initdb", "-D", folder / "db", "-U", "optuna", "-A", "trust", "--no-sync")
        server = [programs / "pg_ctl", "-D", folder / "db", "-l", folder / "log"]
        do(*server, "-w", "-o", f"-c listen_addresses='' -k {folder} -F", "start")
        yield f"postgresql+psycopg://optuna@/postgres?host={folder}"
        do(*server, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def test_postgresql_holds_the_same_study(finished, postgres, tmp_path):
    assert export_study(finished, postgres) == ("run", 27, 27)
    assert export_study(finished, postgres) == ("run", 0, 27)
    export_study(finished, str(tmp_path / "study.db"))
    sqlite = exported(str(tmp_path / "study.db")).trials
    for ours, theirs in zip(exported(postgres).trials, sqlite, strict=True):
        assert (ours.params, ours.state, ours.value) == (
            theirs.params, theirs.state, theirs.value,
        )  # fmt: skip
        assert ours.user_attrs == theirs.user_attrs
