"""The disk fills up at any write: a clear error, nothing lost, and the run goes on with room."""

import os
import shutil

import pytest
from faults import driver
from faults.sessions import Session, lines, note_figures, recorded, result_of

#: Records from one full disk to the next; every write meets one when many kills are asked for.
STEP = 1 if int(os.environ.get("POLICYSEARCH_KILLS", 0)) >= 100 else 6


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    session = Session(folder / "run", folder)
    assert session.wait() == 0, lines(session.log)
    return folder / "run"


def test_full_at_every_write_of_the_ledger_it_ends_as_if_undisturbed(tmp_path, finished):
    out, known, n_lost = tmp_path / "run", [], 0
    n_records = len(lines(finished / "ledger.jsonl"))
    for n in range(STEP, n_records, STEP):
        fault = driver.fill_disk_after_appends
        session = Session(out, tmp_path, fault_at=STEP, fault=fault)
        assert session.wait() == 1
        text = session.log.read_text()
        assert "RunError: The ledger" in text
        assert "cannot be written: File too large" in text
        assert len(lines(out / "ledger.jsonl")) == n
        keys = recorded(out)
        n_lost += len(set(known) - set(keys))
        assert keys[: len(known)] == known
        known = keys
    assert Session(out, tmp_path).wait() == 0
    assert result_of(out) == result_of(finished)
    evaluated = lines(tmp_path / "evaluated")
    assert len(evaluated) <= len(set(evaluated)) + 2 * n_records / STEP  # two were in flight
    figures = {"full_disks": (n_records - 1) // STEP, "runs": 1, "outcomes_lost": n_lost}
    note_figures("disk full at every write" if STEP == 1 else "disk full", figures)


@pytest.mark.parametrize("name", ["verdict.json", "policy.json"])
def test_full_at_the_results_leaves_no_half_file_and_resume_writes_them(tmp_path, finished, name):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "policy.json").unlink()
    n_bytes = (out / "verdict.json").stat().st_size + 100
    if name == "verdict.json":
        (out / name).unlink()
        n_bytes = 100
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.name[0] != "."}
    session = Session(out, tmp_path, fault_at=n_bytes, fault=driver.fill_disk_at_results)
    assert session.wait() == 1
    assert f"File too large: '{out / name}'" in lines(session.log)[-1]
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.name[0] != "."} == before
    assert Session(out, tmp_path).wait() == 0
    assert result_of(out) == result_of(finished)
    assert lines(tmp_path / "evaluated") == []
