"""Augments a tree of files into another one, whatever kind of sample they hold.

The result of a file depends on (policy, seed, its path below the source, copy) and on nothing
else: not on other files, their order, or where the folders lie.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from policysearch.data.dataset import printable
from policysearch.data.walk import FileKind
from policysearch.draws import Drawer, Drawn
from policysearch.errors import DataError, InvalidValueError
from policysearch.policy import Policy
from policysearch.seeding import derive_seed

Watch = Callable[[Iterable[str], str], Iterable[str]]


class Store(Protocol):
    """Opens files of one kind with nothing lost, and writes them back in their own format.

    Attributes:
      kind: Which files they are.
      changes: What opening may change, by key, as the end of "3 images ...".
    """

    kind: FileKind
    changes: Mapping[str, str]

    def open(self, path: Path) -> Any:
        """Decodes a file; the result has `changes`, keys of the store's.

        Raises:
          DataError: With the reason, and without the file's name.
        """
        ...

    def augmented(self, opened: Any, drawn: Drawn, policy: Policy) -> bytes:
        """An encoded file with one row of draws applied."""
        ...


def store_for(modality: str) -> Store:
    """The store for the files of a modality.

    Raises:
      DataError: For a kind of data that does not come in files of one sample each.
    """
    if modality == "image":
        from policysearch.cli.image_files import ImageStore

        return ImageStore()
    if modality == "audio":
        from policysearch.cli.sound_files import SoundStore

        return SoundStore()
    raise DataError(f"`apply` is for image and audio policies, this one is for {modality}.")


@dataclass
class Found:
    """What lies below the source folder: paths relative to it, with forward slashes."""

    samples: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What was done.

    Attributes:
      n_written: Files written.
      bad: File and reason of every sample that was left out.
      changes: How many samples decoding changed, by kind.
    """

    n_written: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    changes: Counter[str] = field(default_factory=Counter)


def check_folders(source: Path, target: Path, *, is_forced: bool) -> None:
    """Raises `InvalidValueError` unless files may go from `source` to `target`."""
    shown = printable(target)
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise InvalidValueError(f"SRC '{printable(source)}' {what}.")
    real_source, real_target = os.path.realpath(source), os.path.realpath(target)
    if os.path.commonpath([real_source, real_target]) == real_source:
        raise InvalidValueError(
            f"DST '{shown}' must not lie inside SRC: a second call would augment its own output."
        )
    if target.exists() and not target.is_dir():
        raise InvalidValueError(f"DST '{shown}' is a file. Name a folder.")
    if target.is_dir() and not is_forced and os.listdir(target):
        raise InvalidValueError(
            f"DST '{shown}' must be empty. Name another folder, or add --force to write into it."
        )


def find_files(source: Path, kind: FileKind) -> Found:
    """All files below a folder; hidden ones are passed over, links to folders not followed."""
    found = Found()
    root = os.path.realpath(source)
    stack = [""]
    while stack:
        below = stack.pop()
        for entry in _entries(source / below):
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.is_symlink() and not _leads_inside(entry, root):
                found.outside.append(name)
            elif entry.is_dir(follow_symlinks=False):
                stack.append(name)
            elif entry.is_dir():
                found.links.append(name)
            elif entry.is_file() and os.path.splitext(entry.name)[1].lower() in kind.suffixes:
                found.samples.append(name)
            else:
                found.other.append(name)
    for names in (found.samples, found.other, found.links, found.outside):
        names.sort()
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _leads_inside(entry: os.DirEntry[str], root: str) -> bool:
    target = os.path.realpath(entry.path)
    return os.path.exists(target) and os.path.commonpath([target, root]) == root


def check_files(store: Store, source: Path, found: Found, watch: Watch) -> None:
    """Decodes every file, so that nothing is written when one of them is bad.

    Raises:
      DataError: Naming the bad ones.
    """
    bad = dict.fromkeys(found.outside, "a link that leads outside SRC, or nowhere")
    for name in watch(found.samples, "checking"):
        with _noting(bad, name):
            store.open(source / name)
    if bad:
        n_all = len(found.samples) + len(found.outside)
        raise DataError(
            f"{len(bad):,} of {n_all:,} {store.kind.many} cannot be "
            f"augmented:\n{bad_text(bad)}\nNothing was written. Mend or remove them, or add "
            "--skip-bad to go on without."
        )


def bad_text(bad: dict[str, str], limit: int = 20) -> str:
    """Bad files with reasons, one a line."""
    lines = [f"  {printable(name)}: {why}" for name, why in list(bad.items())[:limit]]
    rest = len(bad) - limit
    return "\n".join([*lines, f"  and {rest:,} more"] if rest > 0 else lines)


@contextlib.contextmanager
def _noting(bad: dict[str, str], name: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        bad[name] = str(error)


def augment(
    store: Store,
    policy: Policy,
    source: Path,
    target: Path,
    found: Found,
    *,
    n_copies: int,
    seed: int,
    watch: Watch,
) -> Report:
    """Writes `n_copies` of every sample; bad ones are left out and reported."""
    report = Report(bad=dict.fromkeys(found.outside, "a link that leads outside SRC, or nowhere"))
    drawer = Drawer(policy, seed)
    target.mkdir(parents=True, exist_ok=True)
    for name in watch(found.samples, "augmenting"):
        with _noting(report.bad, name):
            opened = store.open(source / name)
            index = derive_seed(0, os.fsencode(name).hex())
            for copy in range(n_copies):
                data = store.augmented(opened, drawer.draw([index], [copy]), policy)
                _write(target / output_name(name, copy), data)
                report.n_written += 1
            report.changes.update(opened.changes)
    return report


def output_name(name: str, copy: int) -> str:
    """Where a copy goes: `cats/1.png` to `cats/1.aug0.png`."""
    stem, suffix = os.path.splitext(name)
    return f"{stem}.aug{copy}{suffix}"


def _write(path: Path, data: bytes) -> None:
    """Writes a whole file or none. Not synced: a lost copy is made again by the same command."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{derive_seed(0, os.fsencode(path.name).hex()):x}.part"
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
