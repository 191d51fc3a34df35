"""A folder of samples by class: what is in it, which files are damaged, and how splits come out.

Whatever the files hold, the layout is the same: class folders, or `train`, `val` and `test` above
them, and groups named by a pattern in the paths.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from policysearch.data.dataset import Dataset, listed, printable
from policysearch.data.walk import FileKind, Seen, Tree, find_samples
from policysearch.errors import DataError, InvalidValueError

MAX_LISTED = 10

_Sample = TypeVar("_Sample")


@dataclass(frozen=True)
class Item:
    """One file: its split, class folder, and path relative to that."""

    split: str
    label: str
    relative: str
    path: str
    name: str


@dataclass(frozen=True)
class ClassFolder:
    """The files of a folder in order: those of a split stand together.

    Attributes:
      root: The folder.
      kind: What the files hold.
      tree: All that was found.
      classes: Class folders, sorted by name, with their numbers; the same in every split.
      items: The files.
      groups: Group of each file, `(n,)`, or `None`.
    """

    root: Path
    kind: FileKind
    tree: Tree
    classes: Mapping[str, int]
    items: Sequence[Item]
    groups: NDArray[Any] | None

    @property
    def name(self) -> str:
        """Short name for reports."""
        return printable(self.root.resolve().name or self.root)

    def readable(
        self, results: Sequence[_Sample | str], skip_bad: bool, notices: list[str]
    ) -> tuple[ClassFolder, list[_Sample]]:
        """Leaves out the files that could not be read.

        Args:
          results: For each file a sample, or the reason why there is none.
          skip_bad: Says so in `notices` instead of refusing.
          notices: Is appended to.

        Raises:
          DataError: Where files are damaged and not to be skipped, or nothing of a class is left.
        """
        bad = [
            (item.name, result)
            for item, result in zip(self.items, results, strict=True)
            if isinstance(result, str)
        ]
        samples = [result for result in results if not isinstance(result, str)]
        if not bad:
            return self, samples
        self._report_bad(bad, skip_bad, notices)
        kept = [i for i, result in enumerate(results) if not isinstance(result, str)]
        groups = None if self.groups is None else self.groups[kept]
        left = dataclasses.replace(self, items=[self.items[i] for i in kept], groups=groups)
        left._check_complete()
        return left, samples

    def parts(self, x: NDArray[Any], **fields: Any) -> dict[str, Dataset]:
        """Cuts stacked samples into the splits.

        Args:
          x: One entry per file.
          **fields: Further fields of `Dataset`; arrays have one entry per file.
        """
        names = tuple(printable(name) for name in self.classes)
        splits = [item.split for item in self.items]
        parts = {}
        for split in dict.fromkeys(splits):
            rows = slice(splits.index(split), len(splits) - splits[::-1].index(split))
            items = self.items[rows]
            mine: dict[str, Any] = {
                name: value[rows] if isinstance(value, np.ndarray) else value
                for name, value in fields.items()
            }
            parts[split] = Dataset(
                x=x[rows],
                y=np.array([self.classes[item.label] for item in items], dtype=np.int64),
                classes=names,
                groups=None if self.groups is None else self.groups[rows],
                names=tuple(item.name for item in items),
                **mine,
            )
        return parts

    def _report_bad(
        self, bad: Sequence[tuple[str, str]], skip_bad: bool, notices: list[str]
    ) -> None:
        lines = [f"  {name}: {reason}" for name, reason in bad[:MAX_LISTED]]
        if len(bad) > MAX_LISTED:
            lines.append(f"  ... and {len(bad) - MAX_LISTED:,} more")
        files = f"1 {self.kind.one}" if len(bad) == 1 else f"{len(bad):,} {self.kind.many}"
        if skip_bad:
            notices.append("\n".join([f"{files} could not be read and were left out:", *lines]))
            return
        raise DataError(
            "\n".join(
                [
                    f"{files} in '{printable(self.root)}' cannot be read:",
                    *lines,
                    "Repair or remove them, or go on without them: --skip-bad (skip_bad=True).",
                ]
            )
        )

    def _check_complete(self) -> None:
        left = {(item.split, item.label) for item in self.items}
        lost = [
            f"{split}/{label}"
            for split, classes in self.tree.splits.items()
            for label in sorted(classes)
            if (split, label) not in left
        ]
        if lost:
            raise DataError(
                f"Every class must hold readable {self.kind.many}, got only damaged ones in "
                f"{listed(lost)}."
            )


def find_classes(
    root: Path, kind: FileKind, group_pattern: str | None, notices: list[str]
) -> ClassFolder:
    """Finds splits, classes, files and groups.

    Args:
      root: Folder of class folders, or of `train`, `val`, `test` folders of class folders.
      kind: Which files to look for.
      group_pattern: Regular expression whose one group, found in the path below the class folder,
        names what must not straddle a split.
      notices: Is appended to.

    Raises:
      DataError: With the files or folders at fault and what to do.
      InvalidValueError: When the pattern is not valid.
    """
    pattern = compile_group_pattern(group_pattern)
    seen = Seen(root, kind)
    tree = find_samples(root, seen)
    notices.extend(seen.notices())
    classes = _class_names(tree, root)
    items = _items(tree, root)
    return ClassFolder(root, kind, tree, classes, items, _groups(items, pattern, kind))


def compile_group_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """Compiles a group pattern; it must have exactly one group, or one called `group`."""
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidValueError(
            f"`group_pattern` must be a regular expression, got {pattern!r}: {error}."
        ) from error
    if compiled.groups != 1 and "group" not in compiled.groupindex:
        raise InvalidValueError(
            "`group_pattern` must have exactly one group in parentheses, or one named "
            f"(?P<group>...), got {compiled.groups} in {pattern!r}. "
            r"Example: '(patient\d+)_' takes 'patient7' from 'patient7_slice3.png'."
        )
    return compiled


def _class_names(tree: Tree, root: Path) -> dict[str, int]:
    train = sorted(tree.splits["train"])
    if len(train) < 2:
        raise DataError(
            f"There must be at least 2 classes, got only {printable(train[0])!r} "
            f"in '{printable(tree.folders['train'])}'. Each class needs a folder of its own."
        )
    for split, classes in tree.splits.items():
        extra = sorted(set(classes) - set(train))
        missing = sorted(set(train) - set(classes))
        if extra or missing:
            differences = [f"only in {split}/: {listed(extra)}"] if extra else []
            differences += [f"only in train/: {listed(missing)}"] if missing else []
            raise DataError(
                f"train/ and {split}/ must have the same class folders; {'; '.join(differences)} "
                f"('{printable(root)}')."
            )
    return {name: i for i, name in enumerate(train)}


def _items(tree: Tree, root: Path) -> list[Item]:
    items: list[Item] = []
    for split, classes in tree.splits.items():
        folder = tree.folders[split]
        above = "" if folder == root else f"{folder.name}/"
        for label in sorted(classes):
            items.extend(
                Item(
                    split,
                    label,
                    relative,
                    os.path.join(folder, label, relative),
                    printable(f"{above}{label}/{relative}"),
                )
                for relative in classes[label]
            )
    return items


def _groups(
    items: Sequence[Item], pattern: re.Pattern[str] | None, kind: FileKind
) -> NDArray[Any] | None:
    if pattern is None:
        return None
    key: int | str = "group" if "group" in pattern.groupindex else 1
    found = []
    unmatched = []
    for item in items:
        match = pattern.search(item.relative)
        group = match[key] if match else None
        if group is None:
            unmatched.append(item.name)
        else:
            found.append(group)
    if unmatched:
        raise DataError(
            f"`group_pattern` must match every {kind.one} below its class folder, got no match of "
            f"{pattern.pattern!r} in {len(unmatched):,} of {len(items):,}: {listed(unmatched, 5)}."
        )
    groups = np.array(found, dtype=object)
    homes: dict[str, set[str]] = {}
    for item, group in zip(items, found, strict=True):
        homes.setdefault(group, set()).add(item.split)
    straddling = sorted(group for group, splits in homes.items() if len(splits) > 1)
    if straddling:
        raise DataError(
            f"A group must lie in one split, got {len(straddling):,} groups in several: "
            f"{listed(straddling)}. Move their {kind.many}, or change `group_pattern`."
        )
    return groups
