"""What stands under the tables of a verdict."""

import pytest

from policysearch.cli.verdict_table import emit_verdict

HOLM = "Holm's correction"


def verdict(*names: str) -> dict[str, object]:
    return {
        "metric": "accuracy",
        "chosen": names[0],
        "arms": [{"name": name, "mean": 0.9, "ci_low": 0.8, "ci_high": 1.0} for name in names],
    }


def test_words_are_said_to_be_corrected_where_there_are_several(
    capsys: pytest.CaptureFixture[str],
) -> None:
    emit_verdict(verdict("found", "none", "randaugment"), "exported")
    assert HOLM in capsys.readouterr().out
    emit_verdict(verdict("found", "none"), "exported")
    assert HOLM not in capsys.readouterr().out


def test_what_rungs_cost_is_told_where_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    emit_verdict(verdict("found", "none") | {"rungs": {"seconds": {"search": 12.0}}}, "exported")
    assert "computing: search 12 s" in capsys.readouterr().out
    emit_verdict(verdict("found", "none"), "exported")
    assert "computing" not in capsys.readouterr().out
