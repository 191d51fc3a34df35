"""What a run says while it goes on."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from policysearch.cli.progress import PlainProgress, duration, progress_for

DATA = {"event": "data", "text": "40 samples", "notices": ["a note"]}
RUNG = {"event": "rung", "name": "search", "of": 2}


def trial(number: int, **fields: Any) -> Mapping[str, Any]:
    usual = {"event": "trial", "number": number, "origin": "tpe", "state": "complete"}
    best = {"best_number": number, "best_score": 0.5, "best_origin": "tpe", "done": number + 1}
    return usual | {"score": 0.5, "seconds": 1.0, "message": ""} | best | fields


def test_plain_progress_tells_data_rungs_and_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress()
    for event in (DATA, RUNG, trial(0), trial(1)):
        progress(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in ("40 samples", "a note", "Search:", "1/2, best 0.5000 (trial 0, tpe)", "2/2"):
        assert text in captured.err


def test_plain_progress_is_silent_about_a_trial_that_is_not_better_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = PlainProgress()
    progress({**RUNG, "of": 5})
    progress(trial(0))
    capsys.readouterr()
    progress(trial(1, best_number=0))
    assert capsys.readouterr().err == ""


def test_failed_trial_is_told_with_its_last_line_and_no_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = PlainProgress()
    progress(RUNG)
    progress(trial(0, state="failed", message="Traceback\n  x\nValueError: \x1b[31mred"))
    err = capsys.readouterr().err
    assert "Trial 0 failed: ValueError: \\x1b[31mred" in err


def test_failed_training_of_a_comparison_is_told_with_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = PlainProgress()
    progress(RUNG)
    told = {"event": "task", "key": "baselines/none/0", "done": 1, "of": 2}
    progress({**told, "state": "failed", "message": "Traceback\nValueError: no"})
    progress({**told, "state": "complete", "message": "", "done": 2})
    err = capsys.readouterr().err
    assert err.count("failed") == 1
    assert "Training 'baselines/none/0' failed: ValueError: no" in err


@pytest.mark.parametrize("is_last", [True, False])
def test_searching_anyway_is_offered_to_those_who_do_not(
    capsys: pytest.CaptureFixture[str], is_last: bool
) -> None:
    PlainProgress()({"event": "headroom", "sentence": "No head-room found.", "is_last": is_last})
    assert ("--search-anyway" in capsys.readouterr().err) == is_last


def test_baseline_that_was_chosen_is_called_search_free(
    capsys: pytest.CaptureFixture[str],
) -> None:
    PlainProgress()({"event": "selected", "chosen": "randaugment", "origin": "trial-3"})
    assert "search-free policy 'randaugment'" in capsys.readouterr().err


def test_what_wins_a_tie_is_not_called_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    event = {"event": "selected", "chosen": "none", "origin": "merged", "best": "merged"}
    PlainProgress()(event)
    told = capsys.readouterr().err
    assert told.index("the best is the best trials merged") < told.index(
        "policy 'none' is simpler"
    )


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("The program ended with exit code 3. Its last output:\n{}", "exit code 3"),
        ("Traceback (most recent call last):\n  x\nValueError: no", "ValueError: no"),
        ("", "no reason given"),
    ],
)
def test_a_failure_is_told_by_its_reason(
    capsys: pytest.CaptureFixture[str], message: str, told: str
) -> None:
    progress = PlainProgress()
    progress(RUNG)
    progress(trial(0, state="failed", message=message))
    assert told in capsys.readouterr().err


def test_json_progress_writes_each_event_as_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_for(is_json=True, is_quiet=False) as progress:
        progress(DATA)
        progress(RUNG)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["data", "rung"]


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_for(is_json=False, is_quiet=True) as progress:
        progress(DATA)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (75, "1 min 15 s"), (4000, "1 h 6 min")]
)
def test_duration_is_said_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
