"""A whole study whose trainings take no time, to be killed and resumed by fault tests.

The study, its data, its sampler, ledger and worker processes are the real ones; only the objective
is a formula.
"""

import os
import resource
import signal
from pathlib import Path

import sklearn.datasets  # noqa: F401 - imported here, the sessions need not do it
from faults.formula import Formula

from policysearch import study
from policysearch.config import make_config
from policysearch.engines.choose import local_engine
from policysearch.ledger import Ledger
from policysearch.run import Interrupted


def with_formula(folder: Path, seconds: float = 0.0):
    """Makes engines as `local_engine` does, with the formula in place of the training."""
    return lambda _, config: local_engine(Formula(folder, seconds), config)


def silent(event) -> None:
    del event


SETTINGS = {
    "data": "digits",
    "train_size": 60,
    "epochs": 2,
    "trials": 9,
    "candidates": 2,
    "confirm_seeds": 1,
    "search_anyway": True,
    "strategy": "screened",
    "verdict_seeds": 2,
    "workers": 2,
    "lookback": 3,
}


def kill_after_appends(n: int) -> None:
    """Kills this process with SIGKILL when `n` records have been appended, one at a time."""
    append, left = Ledger.append, [n]

    def appending(self: Ledger, *records) -> None:
        for record in records:
            append(self, record)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    Ledger.append = appending


def fill_disk_after_appends(n: int) -> None:
    """Lets files grow by no more than some bytes when `n` records have been appended."""
    append, left = Ledger.append, [n]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def appending(self: Ledger, *records) -> None:
        for record in records:
            append(self, record)
            left[0] -= 1
            if left[0] == 0:
                size = self._path.stat().st_size + 20
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    Ledger.append = appending


def fill_disk_at_results(n_bytes: int) -> None:
    """Lets files grow to no more than `n_bytes` just before the verdict is written."""
    make_verdict = study.make_verdict
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def filling(*arguments):
        verdict = make_verdict(*arguments)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))
        return verdict

    study.make_verdict = filling


def main(out: Path, folder: Path, seconds: float) -> None:
    """Starts or resumes the study in `out`; says so when it was interrupted."""
    make_engine = with_formula(folder, seconds)
    try:
        if (out / "config.yaml").exists():
            study.resume(out, silent, make_engine)
        else:
            study.search(make_config(SETTINGS), out, silent, make_engine)
    except Interrupted:
        print("interrupted", flush=True)
