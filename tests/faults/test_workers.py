"""Everything that can befall a worker, in one run, which judges it rightly and goes on."""

import pytest
from contracts.engine_contract import noted
from faults.befallen import BEFALLS, Befallen
from faults.driver import silent
from processes import gone_within, group_of

from policysearch.baselines import baseline_policies
from policysearch.config import make_config
from policysearch.engines.local import LocalEngine
from policysearch.run import Run, StopRequest
from policysearch.search_loop import SearchLoop
from policysearch.space_yaml import load_space
from policysearch.trial import Replicate

SPACE = load_space("image/opwise").restricted_to(1)
N_TRIALS = 25


@pytest.fixture
def trials(tmp_path):
    config = make_config({"data": "digits", "trials": N_TRIALS, "sampler": "random"})
    with (
        Run(tmp_path, config, {}) as run,
        StopRequest(silent) as stop,
        LocalEngine(Befallen(tmp_path), 2, timeout_seconds=1.5) as engine,
    ):
        warm = baseline_policies(SPACE, 8)
        loop = SearchLoop(run, SPACE, warm, (Replicate(0, 1),), 1, N_TRIALS)
        return loop.run(engine, stop, silent, None)


def test_each_is_judged_rightly_and_no_process_is_left(trials, tmp_path):
    found = {t.number: t.outcome.failure for t in trials if t.outcome.state == "failed"}
    assert found == {number: failure for number, (_, failure) in BEFALLS.items()}
    assert len(trials) == N_TRIALS
    retried = {t.number for t in trials if t.outcome.attempts == 3}
    lost = {"crash", "timeout", "memory"}
    assert retried == {n for n, (_, failure) in BEFALLS.items() if failure in lost}
    notes = noted(tmp_path, "evaluated")
    children = [note[0] for note in noted(tmp_path, "children")]
    assert len(children) == 3 * (2 + 1 + 1)
    groups = {note[2] for note in notes}
    pids = [pid for group in groups for pid in group_of(group)]
    assert gone_within(5, *(note[1] for note in notes), *children, *pids)
