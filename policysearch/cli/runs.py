"""What commands that take a run directory share."""

from __future__ import annotations

from pathlib import Path


def check_is_run(path: Path) -> None:
    """Refuses what is not the directory of a run that has begun."""
    from policysearch.errors import InvalidValueError
    from policysearch.report.run_summary import LEDGER, is_run

    if not is_run(path) or not (path / "config.yaml").is_file():
        raise InvalidValueError(
            f"'{path}' is not the directory of a run: it holds no {LEDGER} or no config.yaml."
        )
