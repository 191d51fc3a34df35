"""Settings: written and read back as they are, refused by name, and free of this machine."""

import os

import pytest
import yaml

from policysearch.config import make_config, read_config, usable_cores, write_config
from policysearch.errors import FormatError

FULL = {
    "data": "photos: ünïcode #1",
    "policies": ["none", "a/b.json"],
    "space": "my space.yaml",
    "sampler": "nsga2",
    "trials": 7,
    "budget_seconds": 12.5,
    "workers": 3,
    "seed": 10**18 - 1,
    "group_pattern": r"(track\d+)_'\"",
    "val_share": 0.1,
    "prune": False,
}


def test_settings_survive_their_file(tmp_path):
    words = [
        "digits",
        "1e3",
        "08",
        "1.",
        ".inf",
        "-1",
        "yes",
        "null",
        "~",
        "2026-01-01",
        "a: b",
    ]
    words += ["#x", "☃", "12:30", os.fsdecode(b"caf\xe9"), "!x", "&a", "*a", "0x1F", "x" * 300]
    for settings in (FULL, *({"data": word} for word in words)):
        write_config(tmp_path / "config.yaml", make_config(settings))
        assert read_config(tmp_path / "config.yaml") == make_config(settings)


def test_defaults_are_written_down(tmp_path):
    """A later version with other defaults goes on as the run was started."""
    write_config(tmp_path / "config.yaml", make_config({"data": "digits"}))
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written["trials"] == 16
    assert written["lookback"] == max(4, 2 * usable_cores())


def test_cores_of_this_machine_are_not_written_unless_asked_for(tmp_path):
    config = make_config({"data": "digits"})
    assert config.workers == usable_cores()
    write_config(tmp_path / "a.yaml", config)
    assert "workers" not in yaml.safe_load((tmp_path / "a.yaml").read_text())
    write_config(tmp_path / "b.yaml", make_config({"data": "digits", "workers": 3}))
    assert yaml.safe_load((tmp_path / "b.yaml").read_text())["workers"] == 3


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 5, 6})
    assert usable_cores() == 3


@pytest.mark.parametrize(("workers", "lookback"), [(1, 4), (2, 4), (3, 6), (16, 32)])
def test_the_window_keeps_all_workers_busy(workers, lookback):
    assert make_config({"data": "digits", "workers": workers}).lookback == lookback
    assert make_config({"data": "digits", "workers": workers, "lookback": 2}).lookback == 2


@pytest.mark.parametrize(
    ("workers", "trials", "lookback"),
    [(2, 10_000, 4), (8, 120, 16), (16, 3000, 56), (100, 10**6, 482), (1000, 10_000, 2000)],
)
def test_the_window_of_many_workers_is_wider_when_the_search_is_long(workers, trials, lookback):
    config = make_config({"data": "digits", "workers": workers, "trials": trials})
    assert config.lookback == lookback


def test_the_split_seed_follows_the_seed_unless_given():
    assert make_config({"data": "x", "seed": 5}).data_seed == 5
    assert make_config({"data": "x", "seed": 5, "split_seed": 0}).data_seed == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trials", 0),
        ("trials", 1.5),
        ("workers", 0),
        ("lookback", 0),
        ("budget_seconds", 0),
        ("budget_seconds", float("nan")),
        ("budget_seconds", float("inf")),
        ("val_share", 1),
        ("folds", 1),
        ("verdict_seeds", 1),
        ("seed", -1),
        ("seed", 10**18),
        ("timeout_seconds", 0),
        ("sampler", "cma"),
        ("data", None),
    ],
)
def test_a_wrong_value_is_named(name, value):
    with pytest.raises(FormatError) as caught:
        make_config({"data": "digits", name: value})
    assert len(caught.value.problems) == 1
    assert f"`{name}`" in caught.value.problems[0]


@pytest.mark.parametrize(
    "settings",
    [{"objective": "density"}, {"objective": "function"}, {"objective": "from_scratch"}],
)
def test_a_population_trains_in_its_own_way(settings):
    with pytest.raises(FormatError, match="`objective` must be left out") as caught:
        make_config({"data": "a:b", "strategy": "pbt", **settings})
    assert len(caught.value.problems) == 1


def test_all_problems_are_told_at_once():
    with pytest.raises(FormatError) as caught:
        make_config({"data": "digits", "trails": 1, "folds": 0, "seed": "x"})
    assert len(caught.value.problems) == 3
    assert "Did you mean `trials`?" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[1]", "data: [", "trials: 3", "data: !!python/name:os.system"]
)
def test_a_file_that_is_no_settings_is_refused(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"config\.yaml"):
        read_config(path)


def test_folds_and_a_share_exclude_each_other():
    with pytest.raises(FormatError, match=r"`folds` and `val_share` exclude.*3 and 0\.2"):
        make_config({"data": "digits", "folds": 3, "val_share": 0.2})
