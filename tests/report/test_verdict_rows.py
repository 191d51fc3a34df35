"""The verdict of a file as a table, whatever the file holds."""

import pytest

from policysearch.report.verdict_rows import TITLES, verdict_rows
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
    ],
)
def test_a_verdict_of_any_content_does_not_break_it(verdict):
    for row in verdict_rows(verdict):
        assert all(isinstance(cell, str) for cell in row)
