"""Population based training by the commands a user gives: on Ray, killed, and without Ray."""

import subprocess
import sys
import time

import pytest
from faults.sessions import recorded, result_of

from policysearch.objectives.checkpoints import FOLDER
from policysearch.policy_json import policy_from_dict

SETTINGS = """
    digits --train-size 60 --epochs 8 --strategy pbt --trials 13 --candidates 1 --seed 3
    --confirm-seeds 1 --verdict-seeds 2 --search-anyway --lookback 4 --workers 2
"""


@pytest.fixture
def command(tmp_path):
    """Starts the command line in a folder of its own."""
    processes = []

    def start(*words):
        line = [sys.executable, "-m", "policysearch", *words]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ended(process):
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output.decode()


def test_a_killed_search_on_ray_finds_the_schedule_of_an_undisturbed_local_one(command, tmp_path):
    local, out = tmp_path / "local", tmp_path / "ray"
    ended(command("search", *SETTINGS.split(), "--out", str(local)))
    first = command("search", *SETTINGS.split(), "--engine", "ray", "--out", str(out))
    deadline = time.monotonic() + 180
    while "trial/5" not in recorded(out):  # in the second of four generations
        assert time.monotonic() < deadline
        assert first.poll() is None, first.communicate()[0].decode()
        time.sleep(0.05)
    first.kill()
    first.wait()
    n_known = len(recorded(out))
    assert len(list((out / FOLDER).iterdir())) >= 3 * 2  # a file for each member and fold
    ended(command("resume", str(out)))
    keys = recorded(out)
    assert len(keys) == len(set(keys)) > n_known
    assert not (out / FOLDER).exists()
    ours, theirs = result_of(out), result_of(local)
    assert ours["outcomes"] == theirs["outcomes"]
    assert ours["verdict"] == theirs["verdict"]
    trials = sorted((r for r in ours["outcomes"] if "number" in r), key=lambda r: r["number"])
    policies = [policy_from_dict(t["policy"]).policy for t in trials]
    assert policies[0].schedule is None
    n_knots = [len(policy.schedule.knots) for policy in policies[1:]]
    assert n_knots == [3, 3, 3, 4, 4, 4, 5, 5, 5, 5, 5, 5]
