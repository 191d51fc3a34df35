"""Classes of unequal size: trained on equally often, weighed equally, and told one by one."""

import dataclasses

import numpy as np
import pytest

from policysearch import cli
from policysearch.config import make_config
from policysearch.data.columns import Column
from policysearch.data.dataset import Dataset
from policysearch.metrics import class_accuracies, scores
from policysearch.policy import Policy
from policysearch.problems.dataset import DatasetProblem
from policysearch.proxies.base import settings_for
from policysearch.proxies.training import TorchProxy
from policysearch.report.verdict_rows import class_rows
from policysearch.verdict import Arm, make_verdict

NONE = Policy(modality="tabular", ops_version="tabular-1")


def _silent(_event):
    pass


def rare(n=60, n_rare=6, seed=0):
    """Two classes that overlap, one of them rare."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) < n_rare).astype(np.int64)
    x = rng.normal(size=(n, 2)) + 1.5 * y[:, None]
    columns = (Column("a"), Column("b"))
    return Dataset(x, y, ("often", "rare"), modality="tabular", columns=columns)


def proxy(train, balanced, epochs=30):
    settings = dataclasses.replace(settings_for(train), balanced=balanced)
    return settings.make(train, NONE, epochs, 0)


@pytest.mark.parametrize("balanced", [False, True])
def test_what_is_seen_of_each_class_and_which_draw_it_gets(balanced, monkeypatch):
    train = rare(61, 7)
    seen = []

    def inputs(self, indices, drawn, company=None):
        seen.append(indices)
        return original(self, indices, drawn, company)

    original = TorchProxy.training_inputs
    monkeypatch.setattr(TorchProxy, "training_inputs", inputs)
    made = proxy(train, balanced, epochs=10)
    visits = []
    for indices, rounds in (made._balanced_orders if balanced else made._orders)(
        np.random.default_rng(0)
    ):
        assert len(indices) == len(train)
        visits += list(zip(indices.tolist(), rounds.tolist(), strict=True))
    assert len(set(visits)) == len(visits), "a sample that comes again is drawn for anew"
    made.fit()
    counts = np.bincount(train.y[np.concatenate(seen)])
    assert counts.sum() == 610
    assert (abs(counts[0] - counts[1]) <= 10) == balanced
    per_sample = np.bincount(np.concatenate(seen), minlength=61)
    assert per_sample[train.y == 1].max() - per_sample[train.y == 1].min() <= 1
    assert per_sample[train.y == 0].max() - per_sample[train.y == 0].min() <= 1


def test_a_rare_class_is_recognised_more_often_when_it_is_trained_on_as_often():
    train, test = rare(200, 10), rare(1000, 500, seed=1)
    accuracies = []
    for balanced in (False, True):
        made = proxy(train, balanced)
        made.fit()
        accuracies.append(class_accuracies(made.predict(test), test.y))
    assert accuracies[1][1] > accuracies[0][1] + 0.1
    assert accuracies[1][0] < accuracies[0][0]


def test_balanced_scores_are_means_over_classes():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    y = np.array([0, 0, 0, 1])
    found = scores(np.log(p).astype(np.float32), y, is_balanced=True)
    by_class = [np.log(p[:3, 0]).mean(), np.log(0.7)]
    assert found["log_loss"] == pytest.approx(-np.mean(by_class), rel=1e-6)
    assert found["accuracy"] == pytest.approx(1.0)
    assert scores(np.log(p).astype(np.float32), np.array([0, 0, 1, 1]), is_balanced=True)[
        "accuracy"
    ] == pytest.approx(0.75)


def test_the_setting_reaches_the_proxy_and_the_record():
    config = make_config({"data": "wine", "class_weights": "balanced", "train_size": 40})
    problem = DatasetProblem(config, _silent)
    assert problem._proxy.balanced
    assert problem._proxy.weighs_classes
    assert problem.header()["classes"] == "balanced"
    assert problem.chance_score() == pytest.approx(np.log(3))
    plain = DatasetProblem(make_config({"data": "wine", "train_size": 40}), _silent)
    assert not plain._proxy.balanced
    assert not plain._proxy.weighs_classes
    assert "classes" not in plain.header()


def test_the_verdict_says_what_becomes_of_each_class():
    none = Arm("none", (0.8, 0.7), by_class={"a": (0.9, 0.8), "b": (0.5, 0.5)})
    found = Arm("found", (0.9, 0.8), by_class={"a": (0.9, 0.9), "b": (0.8, 0.6)})
    verdict = make_verdict([none, found], "none", [1, 2])
    assert verdict["classes"]["arm"] == "found"
    a, b = verdict["classes"]["rows"]
    assert (a["class"], a["none"], a["found"]) == ("a", pytest.approx(0.85), pytest.approx(0.9))
    assert b["difference"] == pytest.approx(0.2)
    assert b["ci_low"] < 0.2 < b["ci_high"]
    titles, rows = class_rows(verdict)
    assert titles == ["  class", "none", "found", "difference"]
    assert rows[1][:3] == ["  b", "50.0%", "70.0%"]
    assert rows[1][3].startswith("+20.0 [")
    assert "classes" not in make_verdict([none], "none", [1, 2])
    many = {"classes": {"arm": "found", "rows": [b] * 11}}
    assert class_rows(many) == ([], [])
    assert class_rows({"classes": [1]}) == ([], [])


def test_a_comparison_tells_classes_by_their_names(tmp_path, capsys):
    options = "--train-size 40 --epochs 1 --verdict-seeds 2 --workers 1 --class-weights balanced"
    out = tmp_path / "c"
    assert cli.main(["compare", "wine", "smote", "none", *options.split(), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "class_0" in shown
    assert "class_2" in shown
