"""`policysearch show`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from policysearch import cli
from policysearch.named import resolve_policy
from policysearch.policy_json import PolicyDocument, write_policy_file
from policysearch.resources import policy_files
from policysearch.verdict import Arm, make_verdict

TRIALS = [
    {"number": 0, "state": "complete", "score": 0.5, "origin": "warm:none"},
    {"number": 1, "state": "complete", "score": 0.3, "origin": "screen:rotate@0.6"},
    {"number": 2, "state": "pruned", "score": 0.9, "origin": "tpe"},
    {"number": 3, "state": "failed", "origin": "tpe", "failure": "timeout"},
]


@pytest.fixture
def run(tmp_path):
    """A run directory with a policy and its ledger."""
    folder = tmp_path / "run"
    folder.mkdir()
    arms = [Arm("none", (0.9, 0.91)), Arm("found", (0.95, 0.96))]
    policy = resolve_policy("randaugment").policy
    document = PolicyDocument(
        policy, "found", {"seed": 3, "space": "image/opwise"}, make_verdict(arms, "found", [0, 1])
    )
    write_policy_file(folder / "policy.json", document)
    records = [{"format": "policysearch.ledger", "version": 1}]
    records += [{"event": "trial", **trial} for trial in TRIALS]
    (folder / "ledger.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder


@pytest.mark.parametrize("name", list(policy_files()))
def test_every_shipped_policy_is_explained_in_80_columns(name, capsys):
    assert cli.main(["show", name]) == 0
    captured = capsys.readouterr()
    assert name in captured.out
    assert "Where it comes from" in captured.out
    assert max(map(len, captured.out.splitlines())) <= 80
    assert captured.err == ""


def test_a_mixed_policy_says_that_chains_are_mixed_and_tells_equal_operations_once(capsys):
    assert cli.main(["show", "augmix"]) == 0
    text = capsys.readouterr().out
    assert "Mixed: three chains" in text
    assert text.count("the same operations as above") == 2
    assert text.count("stretch the contrast to the full range") == 1
    assert cli.main(["show", "augmix", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["mixing"].startswith("Mixed: three chains")
    assert shown["summary"]["n_chains"] == 3
    assert shown["policy"]["mix"] == {"width": 3, "alpha": 1.0}


def test_a_scheduled_policy_says_how_its_strength_changes_and_is_drawn_at_full(tmp_path, capsys):
    policy = Path(__file__).parents[1] / "golden" / "policy_v3.json"
    sheet = tmp_path / "sheet.png"
    assert cli.main(["show", str(policy), "--sheet", str(sheet)]) == 0
    assert "Strength over the training: 25% at the start, 100%" in capsys.readouterr().out
    assert sheet.exists()
    assert cli.main(["show", str(policy), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["schedule"].startswith("Strength over the training")
    assert len(shown["policy"]["schedule"]["knots"]) == 3


def test_a_run_is_shown_with_verdict_trials_and_states(run, capsys):
    assert cli.main(["show", str(run)]) == 0
    text = capsys.readouterr().out
    assert "* found" in text
    assert "seed: 3" in text
    assert "4 trials: 2 complete, 1 pruned, 1 failed" in text
    best = [
        line.split() for line in text.splitlines() if "screen:rotate" in line or "warm:" in line
    ]
    assert best == [["1", "0.3000", "screen:rotate@0.6"], ["0", "0.5000", "warm:none"]]


CALIBRATION = {
    "accuracy": 0.9,
    "ops": {
        "rotate": {
            "unit": "deg",
            "readings": [
                {"level": 0.5, "kept": 0.8, "magnitude": 15.0},
                {"level": 1.0, "kept": 0.4, "magnitude": 30.0, "harmed": {"six": 0.1, "two": 0.2}},
            ],
        },
        "autocontrast": {"readings": [{"level": 1.0, "kept": 1.0}]},
        "of another kind": [],
    },
}


def test_what_the_data_bear_is_a_table_unless_nothing_was_learned(run, capsys):
    verdict = run / "verdict.json"
    verdict.write_text(json.dumps({"calibration": CALIBRATION, "headroom": {"learns": True}}))
    assert cli.main(["show", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rotate = next(line.split() for line in lines if line.startswith("  rotate "))
    assert rotate == ["rotate", "30", "deg", "80%", "40%", "six,", "two"]
    assert any(line.split() == ["autocontrast", "100%"] for line in lines)
    assert cli.main(["show", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"] == CALIBRATION
    verdict.write_text(json.dumps({"calibration": CALIBRATION, "headroom": {"learns": False}}))
    assert cli.main(["show", str(run)]) == 0
    assert "trained without augmentation bear" not in capsys.readouterr().out


def test_json_holds_policy_summary_and_run(run, capsys):
    assert cli.main(["show", str(run), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["summary"]["n_sub_policies"] == 1
    assert 0 < shown["summary"]["share_unchanged"] < 0.01
    assert shown["policy"]["format"] == "policysearch.policy"
    assert shown["run"]["counts"] == {"complete": 2, "pruned": 1, "failed": 1}
    assert shown["run"]["best"][0]["number"] == 1


def test_a_run_without_a_policy_yet_says_how_to_go_on(run, capsys):
    (run / "policy.json").unlink()
    assert cli.main(["show", str(run)]) == 0
    assert f"policysearch resume {run}" in capsys.readouterr().out
    assert cli.main(["show", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy"] is None


def test_a_sheet_is_written_as_a_whole_png(tmp_path, capsys):
    path = tmp_path / "sheet.png"
    assert cli.main(["show", "default-image", "--sheet", str(path)]) == 0
    assert "Drawn:" in capsys.readouterr().err
    with Image.open(path) as page:
        assert page.format == "PNG"
        assert (np.asarray(page) != 255).mean() > 0.1
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_a_sheet_takes_images_from_a_folder_by_class(tmp_path):
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (20, 16 + i), colour).save(tmp_path / "photos" / name / f"{i}.png")
    (tmp_path / "photos" / "red" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    path = tmp_path / "sheet.png"
    words = ["show", "none", "--sheet", str(path), "--images", str(tmp_path / "photos")]
    assert cli.main(words) == 0
    with Image.open(path) as page:
        colours = {colour for _, colour in page.getcolors(1 << 20)}
    assert {(255, 0, 0), (0, 0, 255)} <= colours


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["trivialaugment-wid"], "Did you mean 'trivialaugment-wide'?"),
        (["nowhere.json"], "does not exist"),
        (["none", "--sheet", "sheet.jpg"], "must name a .png file"),
        (["none", "--sheet", "no/such/folder/sheet.png"], "in an existing folder"),
        (["none", "--sheet", "sheet.png", "--images", "digit"], "Did you mean 'digits'?"),
    ],
)
def test_wrong_input_is_exit_code_2_and_writes_nothing(words, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["show", *words]) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert cli.main(["show", str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err


def test_text_from_a_file_cannot_move_the_cursor(tmp_path, capsys):
    nasty = "\x1b[2J\nVerdict: forged\u202e"
    document = PolicyDocument(
        resolve_policy("none").policy, nasty, {nasty: nasty}, {"sentence": nasty, "arms": []}
    )
    write_policy_file(tmp_path / "p.json", document)
    assert cli.main(["show", str(tmp_path / "p.json")]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not any(line.startswith("Verdict: forged") for line in text.splitlines())


def test_the_verdict_and_the_widest_op_table_fit_80_columns(run, tmp_path, capsys):
    from policysearch.space_yaml import load_space

    arms = [
        Arm(name, (0.901 + i / 100, 0.913 + i / 90, 0.99 - i / 80))
        for i, name in enumerate(["none", "trivialaugment", "uniformaugment", "found"])
    ]
    policy = load_space("image/opwise").uniform_policy()
    document = PolicyDocument(policy, "found", {}, make_verdict(arms, "found", [0, 1, 2]))
    write_policy_file(run / "policy.json", document)
    assert cli.main(["show", str(run)]) == 0
    lines = [
        line for line in capsys.readouterr().out.splitlines() if not line.startswith("Run '")
    ]  # that one is as long as the path
    assert max(map(len, lines)) <= 80, max(lines, key=len)
