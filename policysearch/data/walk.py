"""Finds the files of one kind in a folder tree and says what else lies there.

Nothing outside the folder is read: links that lead out are left alone, as are hidden files and
anything that is not a plain file. Decoding is not done here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from policysearch.data.dataset import listed, printable
from policysearch.errors import DataError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
MAX_DEPTH = 20


@dataclass(frozen=True)
class FileKind:
    """Which files hold samples, and what they are called in messages.

    Attributes:
      suffixes: Endings of their names, in lower case.
      formats: Names of their formats.
      one: A sample.
      many: Several.
    """

    suffixes: frozenset[str]
    formats: tuple[str, ...]
    one: str
    many: str

    def listing(self, word: str) -> str:
        """The formats as words, joined by `and` or `or`."""
        return f"{', '.join(self.formats[:-1])} {word} {self.formats[-1]}"


@dataclass
class Seen:
    """What was passed over while looking for files of a kind: paths relative to the root."""

    root: Path
    kind: FileKind
    other: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    outside_class: list[str] = field(default_factory=list)

    def relative(self, entry: os.DirEntry[str]) -> str:
        """The entry's path below the root, with forward slashes."""
        return os.path.relpath(entry.path, self.root).replace(os.sep, "/")

    def notices(self) -> list[str]:
        """One notice for each kind of thing that was passed over."""
        many = self.kind.many
        found = [
            (self.other, f"files that are not {self.kind.listing('or')} {many} were ignored"),
            (self.links, "links that lead outside the folder or nowhere were not followed"),
            (self.outside_class, f"{many} outside the class folders were ignored"),
        ]
        return [f"{len(what):,} {text}: {listed(what, 5)}." for what, text in found if what]


@dataclass(frozen=True)
class Tree:
    """Files of a folder by split and class: `splits[split][class_folder] -> paths`.

    Paths are relative to the class folder, with forward slashes, sorted.
    """

    splits: dict[str, dict[str, list[str]]]
    folders: dict[str, Path]


def find_samples(root: Path, seen: Seen) -> Tree:
    """Finds the splits, classes and files of the kind below `root`.

    Raises:
      DataError: When there are no class folders, or some have no samples.
    """
    folders = _split_folders(root, seen)
    splits = {}
    for split, folder in folders.items():
        classes = {}
        for entry in _entries(folder):
            if _is_folder(entry, seen):
                classes[entry.name] = _samples_below(entry.path, seen)
            else:
                _note_file(entry, seen)
        _check_classes(classes, folder, seen)
        splits[split] = classes
    return Tree(splits, folders)


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """Visible entries by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise DataError(f"'{printable(folder)}' cannot be read: {error.strerror}.") from error


def _leads_outside(entry: os.DirEntry[str], seen: Seen) -> bool:
    if not entry.is_symlink():
        return False
    target = os.path.realpath(entry.path)
    inside = os.path.commonpath([target, os.path.realpath(seen.root)]) == os.path.realpath(
        seen.root
    )
    if inside and os.path.exists(target):
        return False
    seen.links.append(seen.relative(entry))
    return True


def _is_folder(entry: os.DirEntry[str], seen: Seen) -> bool:
    """Whether to descend; links to folders inside the root would count their files twice."""
    if entry.is_dir(follow_symlinks=False):
        return True
    if entry.is_symlink() and entry.is_dir() and not _leads_outside(entry, seen):
        seen.links.append(seen.relative(entry))
    return False


def _is_sample(entry: os.DirEntry[str], seen: Seen) -> bool:
    if entry.is_symlink():
        if seen.relative(entry) in seen.links or _leads_outside(entry, seen):
            return False
        if entry.is_dir():
            return False
    # A pipe or device with such a name would hang the reader.
    if entry.is_file() and os.path.splitext(entry.name)[1].lower() in seen.kind.suffixes:
        return True
    seen.other.append(seen.relative(entry))
    return False


def _note_file(entry: os.DirEntry[str], seen: Seen) -> None:
    """Records a file above the class folders."""
    if _is_sample(entry, seen):
        seen.outside_class.append(seen.relative(entry))


def _samples_below(folder: str, seen: Seen) -> list[str]:
    found: list[str] = []
    stack = [("", 0)]
    while stack:
        below, depth = stack.pop()
        for entry in _entries(os.path.join(folder, below)):
            name = f"{below}/{entry.name}" if below else entry.name
            if _is_folder(entry, seen):
                if depth >= MAX_DEPTH:
                    raise DataError(
                        f"'{printable(entry.path)}' lies more than {MAX_DEPTH} folders deep. "
                        f"Move the {seen.kind.many} up."
                    )
                stack.append((name, depth + 1))
            elif _is_sample(entry, seen):
                found.append(name)
    return sorted(found)


def _split_folders(root: Path, seen: Seen) -> dict[str, Path]:
    """`train`, `val` and `test` folders by split, or the root itself as `train`.

    The layout has splits when there is a `train` folder that holds folders: a class may well be
    called "train" in a dataset of vehicles.
    """
    folders = [e for e in _entries(root) if e.is_dir(follow_symlinks=False)]
    named: dict[str, Path] = {}
    for entry in folders:
        split = SPLIT_NAMES.get(entry.name.lower())
        if split is None:
            continue
        if split in named:
            raise DataError(
                f"'{printable(root)}' holds both '{named[split].name}' and '{entry.name}'. "
                f"Keep one folder for the {split} split."
            )
        named[split] = Path(entry.path)
    others = [e.name for e in folders if e.name.lower() not in SPLIT_NAMES]
    if "train" in named and any(e.is_dir() for e in _entries(named["train"])):
        for entry in _entries(root):
            if entry.name in others:
                seen.other.append(f"{entry.name}/")
            elif not entry.is_dir(follow_symlinks=False):
                _note_file(entry, seen)
        return named
    if named and not others:
        has = listed([path.name + "/" for path in named.values()])
        lack = (
            "'train/' holds no class folders"
            if "train" in named
            else "there is no 'train/' folder"
        )
        raise DataError(
            f"'{printable(root)}' holds {has}, but {lack}. Put the {seen.kind.many} as "
            f"train/<class>/<{seen.kind.one}>, and likewise for test/ and val/."
        )
    return {"train": root}


def _check_classes(classes: dict[str, list[str]], folder: Path, seen: Seen) -> None:
    where, one, many = f"'{printable(folder)}'", seen.kind.one, seen.kind.many
    if not classes:
        n = len(seen.outside_class)
        what = f"{n:,} {many} but no class folders" if n else f"no class folders with {many}"
        ignored = (
            f" Ignored: {listed(seen.other + seen.links, 5)}." if seen.other or seen.links else ""
        )
        raise DataError(
            f"{where} holds {what}. Put the {many} of each class into a folder of their own: "
            f"{printable(folder.name)}/<class>/<{one}>.{ignored}"
        )
    empty = [name for name, files in classes.items() if not files]
    if len(empty) == len(classes):
        ignored = (
            f" Ignored: {listed(seen.other + seen.links, 5)}." if seen.other or seen.links else ""
        )
        raise DataError(f"{where} holds no {many}. {seen.kind.listing('and')} are read.{ignored}")
    if empty:
        raise DataError(
            f"Every class folder must hold {many}, got none in {listed(empty)} ({where}). "
            f"Remove these folders or add {many}."
        )
