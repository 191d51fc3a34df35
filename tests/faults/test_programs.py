"""A driver is killed while programs of the user's train: none is left, and the run goes on."""

import os
import signal
import time

from faults.driver import silent
from faults.sessions import Session, recorded, result_of
from own_trainings import SETTINGS, command, noted, write_training
from processes import gone_within

from policysearch import study
from policysearch.config import make_config

SETTINGS_SLOW = SETTINGS | {"objective": "command", "command": command(0.12)}


def drive(out, folder, _):
    os.chdir(folder)
    if (out / "config.yaml").exists():
        study.resume(out, silent)
    else:
        study.search(make_config(SETTINGS_SLOW), out, silent)


def session(folder):
    return Session(folder / "run", folder, main=drive)


def ended(session) -> int:
    code = session.wait()
    assert code in (0, -signal.SIGKILL, -signal.SIGINT, 1), session.log.read_text()
    return code


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
        process.kill(number)
        if number == signal.SIGINT:
            time.sleep(0.05)
            process.kill(number)  # twice: at once
        assert ended(process) != 0
        assert gone_within(5, *(pid for _, pid in noted(killed)))
    assert ended(session(killed)) == 0
    assert result_of(killed / "run") == result_of(whole / "run")
    assert len(recorded(whole / "run")) == len(noted(whole)) >= 5 + 9 + 2 + 14
