"""Studies whose search scores policies otherwise than by trainings from scratch."""

import pickle
import re

import numpy as np
import pytest
import yaml
from faults.driver import SETTINGS, silent, with_formula
from faults.sessions import recorded, result_of
from test_study import TINY, npz, refuses, search

from policysearch import study
from policysearch.config import make_config
from policysearch.engines.choose import local_engine
from policysearch.errors import InvalidValueError
from policysearch.ledger import read_ledger
from policysearch.objectives.choose import OBJECTIVES, objective_for
from policysearch.objectives.from_scratch import FinalTraining, FromScratch
from policysearch.problems import dataset
from policysearch.samplers.optuna_backed import OptunaSampler
from policysearch.samplers.staged import StagedSampler, trials_to_screen

OTHERS = ("shared_checkpoint", "density")


@pytest.mark.parametrize("objective", OTHERS)
def test_a_real_search_that_lost_its_driver_goes_on_with_other_workers(tmp_path, objective):
    """Real trainings in real workers; the later rungs, which are not meant, are a formula."""

    def engine(made, config):
        is_searched = type(made) is OBJECTIVES[objective]
        return (local_engine if is_searched else with_formula(tmp_path))(made, config)

    out = search(tmp_path, engine, **TINY | {"objective": objective, "trials": 7})
    undisturbed = result_of(out)
    assert [r for r in recorded(out) if r.startswith("trial/")] != []
    lines = (out / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (out / "ledger.jsonl").write_bytes(b"".join(lines[:5]))
    settings = yaml.safe_load((out / "config.yaml").read_text())
    (out / "config.yaml").write_text(yaml.safe_dump(settings | {"workers": 1}))
    study.resume(out, silent, engine)
    assert result_of(out) == undisturbed


@pytest.mark.parametrize("objective", OTHERS)
def test_only_the_search_takes_the_short_cut_and_sees_no_test_pixel(tmp_path, objective):
    """Every image is unlike every other, so that a few of its rows betray it."""
    made = []

    def spying(objective, config):
        made.append((type(objective), pickle.dumps(objective)))
        return with_formula(tmp_path)(objective, config)

    path = npz(tmp_path / "data.npz")
    search(tmp_path, spying, data=path, train_size=None, objective=objective)
    kinds = [FromScratch, OBJECTIVES[objective], FromScratch, FinalTraining]
    assert [kind for kind, _ in made] == kinds
    with np.load(path) as data:
        train, test = data["x_train"], data["x_test"]
    searched = made[1][1]
    assert all(image[:4].tobytes() in searched for image in train)
    assert not any(image[:4].tobytes() in searched for image in test)


def test_the_objective_belongs_to_the_run(tmp_path):
    out = search(tmp_path, objective="density")
    assert read_ledger(out / "ledger.jsonl")[0]["objective"] == "density"
    settings = yaml.safe_load((out / "config.yaml").read_text())
    (out / "config.yaml").write_text(yaml.safe_dump(settings | {"objective": "shared_checkpoint"}))
    refuses(out, tmp_path, "objective")


def test_runs_from_before_there_was_a_choice_go_on(tmp_path):
    out = search(tmp_path, objective="from_scratch")
    assert "objective" not in read_ledger(out / "ledger.jsonl")[0]


def test_the_choice_of_auto_is_written_down(tmp_path):
    out = search(tmp_path)
    header = read_ledger(out / "ledger.jsonl")[0]
    assert header.get("objective", "from_scratch") == objective_for("auto")


def test_a_budget_holds_more_policies_that_are_scored_for_less(monkeypatch):
    monkeypatch.setattr(dataset, "seconds_per_epoch", lambda *_: 1.0)
    needed = {}
    for objective in ("from_scratch", *OTHERS):
        config = make_config(SETTINGS | {"objective": objective, "budget_seconds": 1.0})
        with pytest.raises(InvalidValueError, match="too small") as refused:
            study.Study(config, silent).plan()
        told = re.search(r"a trial takes about ([\d.]+) s", str(refused.value))
        needed[objective] = float(told[1])
    for objective, seconds in needed.items():
        expected = needed["from_scratch"] * OBJECTIVES[objective].cost
        assert seconds == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("strategy", ["random", "fast-autoaugment", "deepaugment"])
def test_strategies_of_others_go_through_the_same_run_and_resume(tmp_path, strategy):
    n_trials = 24 if strategy == "fast-autoaugment" else 18
    settings = {"strategy": strategy, "trials": n_trials, "candidates": 3}
    out = search(tmp_path, **settings)
    undisturbed = result_of(out)
    records = read_ledger(out / "ledger.jsonl")
    origins = {r["number"]: r["origin"] for r in records if r.get("event") == "trial"}
    assert undisturbed["header"]["strategy"] == strategy
    lines = (out / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    n_kept = [r.get("number") for r in records].index(n_trials // 2)  # in the search
    (out / "ledger.jsonl").write_bytes(b"".join(lines[:n_kept]))
    study.resume(out, silent, with_formula(tmp_path))
    assert result_of(out) == undisturbed
    names = [r.split("/")[1] for r in recorded(out) if r.startswith("confirm/trial-")]
    confirmed = {name.removesuffix("-pruned") for name in names}
    if strategy == "fast-autoaugment":
        merged = {f"trial-{i}" for i, origin in origins.items() if origin == "final:merged"}
        assert undisturbed["header"]["folds"] == 5
        assert merged == {"trial-11", "trial-23"}
        assert confirmed
        assert confirmed <= merged  # equal policies are confirmed once
    else:
        assert len(confirmed) == 3


def test_a_screened_search_that_is_too_short_to_screen_says_so(monkeypatch):
    monkeypatch.setattr(dataset, "seconds_per_epoch", lambda *_: 1.0)

    def made(trials):
        config = make_config(SETTINGS | {"strategy": "screened", "trials": trials})
        return study.Study(config, silent)

    space = made(16).space
    needed = trials_to_screen(space)
    for trials, is_told in ((needed - 1, True), (needed, False)):
        told = " ".join(made(trials).plan().advice)
        assert (f"from {needed} trials on, got {trials}" in told) == is_told
        screens = StagedSampler(space, {}, trials, OptunaSampler(space, 0)).suggest(0, [])
        assert screens.origin.startswith("screen:") != is_told
