"""A whole study on Ray whose trainings take no time, to be killed and resumed."""

import sys
from pathlib import Path

from faults.driver import SETTINGS, silent
from faults.formula import Formula

from policysearch import study
from policysearch.config import make_config
from policysearch.engines.choose import ray_engine

RAY = SETTINGS | {"engine": "ray"}


def main(out: Path, folder: Path, seconds: float) -> None:
    """Starts or resumes the study in `out`."""

    def make_engine(_, config):
        return ray_engine(Formula(folder, seconds), config)

    if (out / "config.yaml").exists():
        study.resume(out, silent, make_engine)
    else:
        study.search(make_config(RAY), out, silent, make_engine)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
