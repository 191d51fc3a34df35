"""Scalars of a run, read back with TensorBoard's own reader."""

import sys
from datetime import datetime

import pytest
from faults.driver import SETTINGS, silent, with_formula
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from policysearch import cli, study
from policysearch.cli.progress import with_scalars
from policysearch.config import make_config
from policysearch.ledger import read_ledger
from policysearch.run import Interrupted


def scalars(out):
    reader = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    return {
        tag: [(e.step, e.value, e.wall_time) for e in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
    }


def expected(out, tag):
    """What the ledger says of tasks or trials that were not stopped early, in its order."""
    rows = []
    for record in read_ledger(out / "ledger.jsonl"):
        key = record.get("key", f"search/{record.get('number')}")
        prefix, _, number = key.rpartition("/")
        name = tag.rpartition("/")[2]
        is_whole = record.get("state") == "complete"
        if is_whole and f"{prefix}/{name}" == tag and record["event"] in {"trial", "task"}:
            values = [m[name] for m in record["metrics"]]
            at = datetime.fromisoformat(record["at"]).timestamp()
            rows.append((int(number), sum(values) / len(values), at))
    return rows


def approximately(rows):
    return [(step, pytest.approx(value, rel=1e-6), at) for step, value, at in rows]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    out = folder / "run"
    with with_scalars(out, silent) as progress:
        study.search(make_config(SETTINGS), out, progress, with_formula(folder))
    return out


def test_every_outcome_is_a_scalar_at_its_number_and_time(finished):
    found = scalars(finished)
    assert {tag.partition("/")[0] for tag in found} == {
        "baselines",
        "search",
        "confirm",
        "verdict",
    }
    for tag in (
        "search/accuracy",
        "search/score",
        "baselines/none/log_loss",
        "verdict/found/score",
    ):
        assert found[tag] == approximately(expected(finished, tag))
        assert len(found[tag]) == {"s": 8, "b": 3, "v": 2}[tag[0]]  # one trial is pruned
    assert len(found["search/seconds"]) == 9
    best = [value for _, value, _ in found["search/best"]]
    assert best == sorted(set(best), reverse=True)
    assert best[-1] == min(value for _, value, _ in found["search/score"])


def test_they_are_written_as_outcomes_arrive(tmp_path, monkeypatch):
    out, sizes = tmp_path / "run", []
    monkeypatch.setattr("policysearch.exporters.tensorboard._FLUSH_SECONDS", 0)

    def looking(event):
        if event["event"] == "trial" and (out / "tensorboard").exists():
            sizes.append(sum(p.stat().st_size for p in (out / "tensorboard").iterdir()))

    with with_scalars(out, looking) as progress:
        study.search(make_config(SETTINGS), out, progress, with_formula(tmp_path, 0.2))
    assert len(set(sizes)) > 1


def test_a_resumed_run_has_all_of_them_once(finished, tmp_path):
    out = tmp_path / "run"

    def stopping(event):
        if event["event"] == "trial" and event["done"] == 5:
            raise Interrupted

    with pytest.raises(Interrupted), with_scalars(out, stopping) as progress:
        study.search(make_config(SETTINGS), out, progress, with_formula(tmp_path))
    n = len(scalars(out)["search/score"])
    assert 4 <= n <= 6
    assert "verdict/found/score" not in scalars(out)
    with with_scalars(out, silent) as progress:
        study.resume(out, progress, with_formula(tmp_path))
    found = scalars(out)
    assert found.keys() == scalars(finished).keys()
    assert found["search/score"] == approximately(expected(out, "search/score"))
    assert len(found["search/score"]) == 8
    assert len(found["search/seconds"]) == 9


@pytest.mark.parametrize("command", ["search", "compare", "resume"])
def test_without_its_package_nothing_is_started(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    words = {
        "search": ["digits", "--train-size", "40"],
        "compare": ["digits", "none", "randaugment"],
        "resume": ["runs/digits-1"],
    }
    assert cli.main([command, *words[command], "--tensorboard"]) == 1
    assert "pip install 'policysearch[tensorboard]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_search_that_is_refused_leaves_the_other_run_alone(finished, capsys):
    before = {str(p): p.stat().st_mtime_ns for p in finished.rglob("*")}
    words = ["search", "digits", "--train-size", "40", "--out", str(finished), "--tensorboard"]
    assert cli.main(words) == 2
    assert "is a run already" in capsys.readouterr().err
    assert {str(p): p.stat().st_mtime_ns for p in finished.rglob("*")} == before
