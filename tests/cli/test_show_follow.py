"""`policysearch show RUN --follow`."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from faults.sessions import Session, lines
from processes import is_alive

from policysearch import cli


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    assert Session(folder / "run", folder).wait() == 0
    return folder / "run"


def cut(finished, out, n_lines):
    out.mkdir()
    raw = (finished / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (out / "ledger.jsonl").write_bytes(b"".join(raw[:n_lines]))
    return out


def test_a_finished_run_is_told_in_a_few_lines_on_stdout(finished, capsys):
    assert cli.main(["show", str(finished), "--follow"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    text = captured.out
    for words in ("Head-room:", "15/15", "Search:", "9/9, best", "Confirmation:", "6/6", "14/14"):
        assert words in text
    assert json.loads((finished / "verdict.json").read_text())["sentence"][:30] in text
    assert text.count("/9") == 1  # how it stands, not how it came about


def test_json_tells_every_event(finished, capsys):
    assert cli.main(["show", str(finished), "--follow", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [event["event"] for event in events]
    assert [kinds.count(k) for k in ("rung", "trial", "task", "finished")] == [4, 9, 35, 1]
    assert [e["of"] for e in events if e["event"] == "task"] == [15] * 15 + [6] * 6 + [14] * 14


def test_a_run_whose_owner_is_dead_is_exit_code_1_and_how_to_go_on(finished, tmp_path, capsys):
    out = cut(finished, tmp_path / "run", 9 + 16)
    assert cli.main(["show", str(out), "--follow"]) == 1
    captured = capsys.readouterr()
    assert "7/9, best" in captured.out
    assert "Nobody works on the run" in captured.err
    assert f"policysearch resume {out}" in captured.err.replace("\n  ", " ")


def test_what_is_no_run_is_exit_code_2(tmp_path, capsys):
    assert cli.main(["show", str(tmp_path), "--follow"]) == 2
    assert "`--follow` needs a run" in capsys.readouterr().err


def start(out, **streams):
    words = [sys.executable, "-m", "policysearch", "show", str(out), "--follow"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TERM": "xterm", "COLUMNS": "100"}
    return subprocess.Popen(words, env=environment, **streams)


def trained(session, folder, n):
    deadline = time.monotonic() + 60
    while len(lines(folder / "evaluated")) < n:
        assert time.monotonic() < deadline, lines(session.log)
        time.sleep(0.02)


def test_ctrl_c_ends_the_looking_on_and_not_the_run(tmp_path):
    session = Session(tmp_path / "run", tmp_path, seconds=0.5)
    try:
        trained(session, tmp_path, 3)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        follower = start(tmp_path / "run", **pipes)
        assert f"is owned by process {session.pid} on" in follower.stderr.readline()
        assert follower.stdout.readline().startswith("Head-room:")
        follower.send_signal(signal.SIGINT)
        _, text = follower.communicate(timeout=30)
        assert follower.returncode == 130
        assert text.strip() == "Interrupted."
        assert is_alive(session.pid)
        n = len(lines(tmp_path / "evaluated"))
        trained(session, tmp_path, n + 2)
    finally:
        session.kill()
        session.wait()


def test_on_a_terminal_it_redraws_and_says_when_the_run_was_killed(tmp_path):
    session = Session(tmp_path / "run", tmp_path, seconds=0.3)
    ours, theirs = pty.openpty()
    try:
        trained(session, tmp_path, 3)
        follower = start(tmp_path / "run", stdout=theirs, stderr=theirs)
        os.close(theirs)
        seen = read_until(ours, b"baselines")
        session.kill()
        session.wait()
        seen += read_until(ours, b"Nobody works")
        assert follower.wait(30) == 1
    finally:
        session.kill()
        os.close(ours)
    assert b"\x1b[2K" in seen or b"\x1b[1A" in seen  # lines are drawn anew
    assert b"/15" in seen


def read_until(handle, words):
    seen, deadline = b"", time.monotonic() + 60
    while words not in seen:
        assert time.monotonic() < deadline, seen
        seen += os.read(handle, 4096)
    return seen
