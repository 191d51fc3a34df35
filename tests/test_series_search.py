"""Time series through a whole search, a comparison and a trainer."""

import json

import numpy as np
import pytest

import policysearch
from policysearch import cli
from policysearch.errors import InvalidValueError
from policysearch.named import resolve_policy
from policysearch.transform import load_policy

SMALL = {
    "trials": 7,
    "epochs": 1,
    "candidates": 1,
    "confirm_seeds": 1,
    "verdict_seeds": 2,
    "folds": 2,
    "workers": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Slow and fast waves in two `.ts` files."""
    root = tmp_path_factory.mktemp("waves")
    for part, n, seed in (("TRAIN", 16, 0), ("TEST", 20, 1)):
        rng = np.random.default_rng(seed)
        lines = []
        for i in range(n):
            t = np.linspace(0, 1, 24)
            x = np.sin(2 * np.pi * ((2 + 3 * (i % 2)) * t + rng.random()))
            lines.append(",".join(f"{v:.4f}" for v in x) + f":{'ab'[i % 2]}")
        header = "@univariate true\n@classLabel true a b\n@data\n"
        (root / f"Waves_{part}.ts").write_text(header + "\n".join(lines) + "\n")
    return root


def test_a_search_ends_in_a_policy_that_a_trainer_loads(folder, tmp_path):
    out = tmp_path / "run"
    result = policysearch.search(folder, out=out, **SMALL)
    assert result.policy.modality == "series"
    names = {arm["name"] for arm in result.verdict["arms"]}
    assert names >= {"none", "default", "trivialaugment", "randaugment", "uniformaugment", "found"}
    provenance = json.loads((out / "policy.json").read_text())["provenance"]
    assert provenance["space"] == "series/opwise"
    transform = load_policy(out, seed=0)
    x = np.random.default_rng(0).normal(size=(1, 24)).astype(np.float32)
    assert transform(x, index=0).shape == (1, 24)
    again = policysearch.search(folder, out=out, **SMALL)
    assert again.verdict == result.verdict, "a finished run is not done again"


def test_a_comparison_knows_the_arms_by_name(folder, tmp_path, capsys):
    small = [
        "--epochs",
        "1",
        "--verdict-seeds",
        "2",
        "--workers",
        "1",
        "--out",
        str(tmp_path / "c"),
    ]
    assert cli.main(["compare", str(folder), "default", "none", "uniformaugment", *small]) == 0
    assert "uniformaugment" in capsys.readouterr().out
    default = resolve_policy("default-series").policy
    assert {call.op for _, call in default.calls()} == {"window_slice", "window_warp"}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"space": "image/opwise"}, "Space 'image/opwise' is for image data"),
        ({"policies": ("none", "augmix")}, "Policy 'augmix' is for image data"),
    ],
)
def test_what_is_for_another_kind_of_data_is_refused(folder, tmp_path, settings, text):
    run = policysearch.compare if "policies" in settings else policysearch.search
    with pytest.raises(InvalidValueError, match=text):
        run(folder, out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_ops_spaces_and_policies_of_series_can_be_looked_up(capsys):
    assert cli.main(["ops", "--modality", "series"]) == 0
    assert "window_warp" in capsys.readouterr().out
    assert cli.main(["spaces", "series/opwise"]) == 0
    shown = capsys.readouterr().out
    assert "series-1" in shown
    assert "interpolation" not in shown
    assert cli.main(["show", "default-series"]) == 0
    assert "run 10% of its length at half or double speed" in capsys.readouterr().out
