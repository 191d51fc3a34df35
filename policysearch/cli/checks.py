"""What `doctor` looks at. Each check is a function that finds out one thing and never raises."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import policysearch
from policysearch.cli import machine

_IMPORT_NAMES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn", "ray": "ray"}
_OLDEST_PYTHON = (3, 10)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found out.

    Attributes:
      value: For machines: a number, a version, a name; `None` when there is none.
      text: For people.
      mend: What to type when it is a problem.
    """

    topic: str
    name: str
    value: Any
    text: str
    is_problem: bool = False
    mend: str = ""


def all_findings() -> list[Finding]:
    """Every check, in the order they are told; one that fails is itself a finding."""
    findings: list[Finding] = []
    for check in (_python, _packages, _machine, _accelerators, _data_files, _folder, _speed):
        findings += _safely(check)
    return findings


def _safely(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    findings: list[Finding] = []
    try:
        findings.extend(check())
    except Exception as error:  # a broken installation breaks in any way it likes
        name = check.__name__.strip("_").replace("_", " ")
        text = f"failed: {type(error).__name__}: {error}"
        mend = "pip install --force-reinstall policysearch"
        findings.append(Finding("Broken", name, None, text, is_problem=True, mend=mend))
    return findings


def _python() -> Iterator[Finding]:
    topic = "Software"
    version = platform.python_version()
    is_old = sys.version_info < _OLDEST_PYTHON
    yield Finding(topic, "policysearch", policysearch.__version__, policysearch.__version__)
    text = f"{version} ({platform.system()} {platform.machine()})"
    mend = f"install Python {_OLDEST_PYTHON[0]}.{_OLDEST_PYTHON[1]} or newer"
    yield Finding(topic, "python", version, text, is_problem=is_old, mend=mend if is_old else "")


def _packages() -> Iterator[Finding]:
    for name, wanted, is_optional in required_packages():
        yield _package(name, wanted, is_optional)


def required_packages() -> list[tuple[str, str, bool]]:
    """Name, accepted versions and whether it is optional, as the installed package declares."""
    try:
        lines = importlib.metadata.requires("policysearch") or []
    except importlib.metadata.PackageNotFoundError:
        return [("policysearch", "", False)]
    result = []
    for line in lines:
        match = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*([^;]*)", line)
        extra = re.search(r"extra\s*==\s*['\"](\w+)", line)
        if match and (extra is None or extra[1] == "ray"):
            result.append((match[1].lower(), match[2].strip(" ()"), extra is not None))
    return sorted(result, key=lambda item: item[2])


def _package(name: str, wanted: str, is_optional: bool) -> Finding:
    topic = "Software"
    command = "pip install 'policysearch[ray]'" if is_optional else f"pip install '{name}{wanted}'"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if is_optional:
            text = f"not installed (optional, for clusters): {command}"
            return Finding(topic, name, None, text)
        return Finding(topic, name, None, "missing", is_problem=True, mend=command)
    if not satisfies(version, wanted):
        text = f"{version}, but {wanted} is needed"
        return Finding(topic, name, version, text, is_problem=not is_optional, mend=command)
    if not is_optional:
        try:
            importlib.import_module(_IMPORT_NAMES.get(name, name))
        except Exception as error:  # a broken installation breaks in any way it likes
            text = f"{version} is installed but does not import: {type(error).__name__}: {error}"
            mend = f"pip install --force-reinstall '{name}{wanted}'"
            return Finding(topic, name, version, text[:300], is_problem=True, mend=mend)
    return Finding(topic, name, version, version)


def satisfies(version: str, wanted: str) -> bool:
    """Whether a version meets rules such as `>=5.0,<6`; other kinds of rule are not judged.

    Examples:
      >>> satisfies("5.10.1+cpu", ">=5.9,<6"), satisfies("6.0", ">=5.9,<6")
      (True, False)
    """
    have = _numbers(version)
    for rule in wanted.split(","):
        if match := re.fullmatch(r"\s*(>=|<)\s*([0-9.]+)\s*", rule):
            limit = _numbers(match[2])
            if (have < limit) if match[1] == ">=" else (have >= limit):
                return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", version)
    parts = [int(part) for part in match[0].split(".")] if match else [0]
    return tuple(parts + [0] * (4 - len(parts)))


def _machine() -> Iterator[Finding]:
    topic = "Machine"
    n_usable = machine.usable_cores()
    yield Finding(
        topic,
        "cpu cores",
        n_usable,
        f"{n_usable:g} usable of {os.cpu_count() or 1} in the machine",
    )
    total, free = machine.memory_bytes()
    if total is not None:
        text = f"{total / 2**30:.1f} GiB"
        if free is not None:
            text += f", {free / 2**30:.1f} GiB free"
        yield Finding(topic, "memory", total, text)
    import torch

    n_threads = torch.get_num_threads()
    yield Finding(topic, "torch threads", n_threads, str(n_threads))


def _accelerators() -> Iterator[Finding]:
    import torch

    topic = "Machine"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("Apple GPU (mps)")
    yield Finding(topic, "gpu", names, ", ".join(names) or "none (not needed)")


def _data_files() -> Iterator[Finding]:
    from policysearch.named import resolve_policy
    from policysearch.resources import policy_files, space_files
    from policysearch.space_yaml import load_space

    mend = "pip install --force-reinstall policysearch"
    for name, files, load in (
        ("search spaces", space_files(), load_space),
        ("policies", policy_files(), resolve_policy),
    ):
        broken = []
        for item in files:
            try:
                load(item)
            except Exception as error:  # whatever it is, it is a finding
                broken.append(f"{item}: {error}")
        is_bad = bool(broken) or not files
        text = "; ".join(broken) if broken else f"{len(files)} shipped, all load"
        yield Finding(
            "Shipped files", name, len(files), text, is_problem=is_bad, mend=mend if is_bad else ""
        )


def _folder() -> Iterator[Finding]:
    import shutil

    topic, name = "Current folder", "writing"
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()) as file:
            file.write(b"x" * 4096)
        free = shutil.disk_usage(Path.cwd()).free
    except OSError as error:
        text = f"not possible here: {error.strerror}"
        mend = "cd to a folder you may write to, or give --out"
        yield Finding(topic, name, None, text, is_problem=True, mend=mend)
        return
    yield Finding(topic, name, free, f"possible, {free / 2**30:.1f} GiB free")


def _speed() -> Iterator[Finding]:
    per_second = machine.augmented_per_second()
    topic = "Speed (measured now, briefly)"
    text = f"{per_second:,.0f} images of 3 x 32 x 32 a second (TrivialAugment, batches of 256)"
    yield Finding(topic, "augmentation", round(per_second), text)
    step = machine.proxy_step_seconds()
    text = f"{1000 * step:.1f} ms a step (50 images of 3 x 32 x 32)"
    yield Finding(topic, "proxy training", round(step, 5), text)
