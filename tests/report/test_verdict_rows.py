"""The verdict of a file as a table, whatever the file holds."""

import pytest

from policysearch.measures import measure_of
from policysearch.report.verdict_rows import (
    TITLES,
    axes_rows,
    corruptions_of,
    rung_words,
    verdict_rows,
)
from policysearch.verdict import Arm, make_verdict


def test_arms_are_sorted_and_the_exported_one_is_marked():
    arms = [
        Arm("none", (0.90, 0.91, 0.92)),
        Arm("found", (0.95, 0.96, 0.97)),
        Arm("randaugment", (0.94, 0.96, 0.95)),
    ]
    rows = verdict_rows(make_verdict(arms, "found", [0, 1, 2]))
    assert [row[0].strip() for row in rows] == ["* found", "randaugment", "none"]
    assert rows[0][1:4:2] == ["96.0%", "(this one)"]
    assert rows[2][3] in {"better", "not distinguishable"}
    assert rows[2][4].startswith("+5.0 [")
    assert all(len(row) == len(TITLES) for row in rows)


@pytest.mark.parametrize(
    "verdict",
    [
        {},
        {"arms": 3},
        {"arms": [3, None, {"mean": 1}]},
        {"arms": [{"name": "a", "mean": "x"}], "comparisons": [{"other": "a", "decision": 3}]},
        {"arms": [{"name": "a", "ci_low": True}], "comparisons": {}, "metric": []},
        {"arms": [{"name": "a", "axes": [1]}, {"name": "b", "axes": {"calibration_error": "x"}}]},
        {"arms": [{"name": "a", "axes": {"calibration_error": None, "corrupted:\n": {}}}]},
    ],
)
def test_a_verdict_of_any_content_does_not_break_it(verdict):
    titles, rows = axes_rows(verdict)
    for row in verdict_rows(verdict) + rows:
        assert all(isinstance(cell, str) for cell in row)
    assert all(len(row) == len(titles) for row in rows)
    assert all(isinstance(name, str) for name in corruptions_of(verdict))


def test_where_lower_is_better_the_lowest_arm_comes_first():
    arms = [Arm("none", (0.9, 0.8)), Arm("found", (0.4, 0.5))]
    rows = verdict_rows(make_verdict(arms, "found", [0, 1], measure_of("log_loss")))
    assert [row[0].strip() for row in rows] == ["* found", "none"]
    assert rows[0][1] == "0.45"


def test_second_axes_stand_in_a_table_of_their_own():
    axes = {"calibration_error": 0.04, "corrupted:pixelate": 0.5, "corruption_accuracy": 0.5}
    arms = [Arm("none", (0.9, 0.8), axes=axes), Arm("found", (0.95, 0.9), axes=axes)]
    verdict = make_verdict(arms, "found", [0, 1])
    titles, rows = axes_rows(verdict)
    assert titles == ["  arm", "calibration error", "corrupted"]
    assert rows == [["* found", "0.040", "50.0%"], ["  none", "0.040", "50.0%"]]
    assert corruptions_of(verdict) == ["pixelate"]
    assert axes_rows(make_verdict([Arm("none", (0.9, 0.8))], "none", [0, 1])) == ([], [])


def test_no_interval_of_an_accuracy_goes_beyond_none_and_all():
    arms = [Arm("none", (0.01, 0.3), 0.0), Arm("found", (0.7, 0.99), 0.0)]
    rows = verdict_rows(make_verdict(arms, "found", [0, 1]))
    assert rows[0][2].endswith(" to 100.0%")
    assert rows[1][2].startswith("0.0 to ")
    assert "[-" in rows[1][4] or "[+" in rows[1][4]


def test_what_rungs_cost_and_how_they_agree_is_told():
    verdict = {
        "rungs": {
            "seconds": {"search": 1359.2, "verdict": 320.6},
            "search_confirm": {"rank_correlation": None, "n": 2},
            "confirm_verdict": {"rank_correlation": 0.829, "n": 6},
        }
    }
    assert rung_words(verdict) == (
        "computing: search 1,359 s, verdict 321 s; rank correlation of search and confirmation: "
        "not known (2 policies), confirmation and verdict: +0.83 (6 policies)"
    )
    assert rung_words({}) == rung_words({"rungs": 3}) == ""
    damaged = {"seconds": {"search": "x"}, "search_confirm": 1}
    assert rung_words({"rungs": damaged}) == ""
