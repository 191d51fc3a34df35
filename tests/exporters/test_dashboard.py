"""The real dashboard of Optuna on a run, finished or going on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from faults.sessions import Session, lines

from policysearch import cli


def start(out, *words):
    command = [sys.executable, "-m", "policysearch", "dashboard", str(out), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"}, **pipes)


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def api_of(dashboard):
    url = dashboard.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    assert b"<!DOCTYPE html>" in get(url)
    return url.replace("/dashboard/", "/api/studies")


def trials(api):
    [summary] = json.loads(get(api))["study_summaries"]
    assert summary["study_name"] == "run"
    return json.loads(get(f"{api}/{summary['study_id']}?after=0"))["trials"]


def closed(dashboard):
    """Presses Ctrl-C."""
    dashboard.send_signal(signal.SIGINT)
    _, text = dashboard.communicate(timeout=30)
    assert dashboard.returncode == 130
    return text


def test_a_finished_run_is_served_and_nothing_is_written(tmp_path):
    session = Session(tmp_path / "run", tmp_path)
    assert session.wait() == 0, lines(session.log)
    files = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    dashboard = start(tmp_path / "run", "--port", "0")
    try:
        found = trials(api_of(dashboard))
        assert len(found) == 9
        assert {t["state"] for t in found} <= {"Complete", "Pruned"}
        assert len(found[8]["params"]) > 30
        text = closed(dashboard)
    finally:
        dashboard.kill()
    assert "Traceback" not in text
    assert text.strip().endswith("Interrupted.")
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == files


def test_trials_appear_while_the_run_goes_on(tmp_path):
    session = Session(tmp_path / "run", tmp_path, seconds=0.2)
    dashboard = None
    try:
        wait_until(lambda: len(lines(tmp_path / "run" / "ledger.jsonl")) > 3)
        os.kill(session.pid, signal.SIGSTOP)  # it must not end while the dashboard starts
        dashboard = start(tmp_path / "run", "--port", "0")
        api = api_of(dashboard)
        n = len(trials(api))
        assert n < 9
        os.kill(session.pid, signal.SIGCONT)
        wait_until(lambda: len(trials(api)) == 9)
        assert session.wait() == 0, lines(session.log)
        closed(dashboard)
    finally:
        session.kill()
        if dashboard is not None:
            dashboard.kill()
            dashboard.communicate()


def wait_until(happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def run(tmp_path):
    out = tmp_path / "run"
    session = Session(out, tmp_path, fault_at=5)
    session.wait()
    return out


def test_a_port_in_use_is_told(run, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["dashboard", str(run), "--port", str(port)]) == 1
    assert f"cannot listen at 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


def test_without_its_package_it_is_said_how_to_get_it(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert cli.main(["dashboard", str(run)]) == 1
    assert "pip install 'policysearch[dashboard]'" in capsys.readouterr().err


def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert cli.main(["dashboard", str(tmp_path)]) == 2
    assert "is not the directory of a run" in capsys.readouterr().err
