"""A whole study on Ray whose trainings take no time, to be killed and resumed."""

import sys
from pathlib import Path

from faults.driver import SETTINGS, silent
from faults.formula import Formula

from policysearch import study
from policysearch.config import make_config
from policysearch.engines.choose import ray_engine

RAY = SETTINGS | {"engine": "ray"}


def main(out: Path, folder: Path, seconds: float, address: str | None) -> None:
    """Starts or resumes the study in `out`, on the cluster at `address` or a private one."""

    def make_engine(_, config):
        return ray_engine(Formula(folder, seconds), config)

    if (out / "config.yaml").exists():
        study.resume(out, silent, make_engine)
    else:
        named = {"ray_address": address, "workers": 4} if address else {}
        study.search(make_config(RAY | named), out, silent, make_engine)


if __name__ == "__main__":
    out, folder, seconds, address = sys.argv[1:]
    main(Path(out), Path(folder), float(seconds), address or None)
