"""A driver is killed while programs of the user's train: none is left, and the run goes on."""

import os
import signal
import subprocess
import sys
import time

import yaml
from faults.sessions import recorded, result_of
from own_trainings import SETTINGS, command, noted, write_training
from processes import gone_within

SETTINGS_SLOW = SETTINGS | {"objective": "command", "command": command(0.12)}
SEARCH = (
    "import sys, yaml; from pathlib import Path; from policysearch import study; "
    "from policysearch.config import make_config; out = Path('run'); silent = lambda event: None; "
    "(study.resume(out, silent) if (out / 'config.yaml').exists() else "
    "study.search(make_config(yaml.safe_load(sys.argv[1])), out, silent))"
)


def session(folder):
    return subprocess.Popen(
        [sys.executable, "-c", SEARCH, yaml.safe_dump(SETTINGS_SLOW)], cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process) -> int:
    _, words = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL, -signal.SIGINT, 1), words
    return process.returncode


def wait_for(folder, n):
    deadline = time.monotonic() + 60
    while len(noted(folder)) < n:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_or_stopped_while_programs_run_it_leaves_none_and_goes_on(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        write_training(folder)
    assert ended(session(whole)) == 0
    for n_new, number in ((3, signal.SIGKILL), (4, signal.SIGINT), (8, signal.SIGKILL)):
        process = session(killed)
        wait_for(killed, len(noted(killed)) + n_new)
        process.send_signal(number)
        if number == signal.SIGINT:
            time.sleep(0.05)
            process.send_signal(number)  # twice: at once
        assert ended(process) != 0
        assert gone_within(5, *(pid for _, pid in noted(killed)))
    assert ended(session(killed)) == 0
    assert result_of(killed / "run") == result_of(whole / "run")
    assert len(recorded(whole / "run")) == len(noted(whole)) >= 5 + 9 + 2 + 14
