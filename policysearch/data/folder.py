"""Loads a folder of images by class, with or without `train/ val/ test/` above the classes."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.dataset import Dataset, Source, listed, printable
from policysearch.data.image_file import Picture, read_picture
from policysearch.data.resize import check_image_size, check_memory
from policysearch.data.stack import stack
from policysearch.data.walk import Seen, Tree, find_images
from policysearch.errors import DataError, InvalidValueError

MAX_LISTED = 10
_CHUNK = 64
_SMALL_PIXELS = 128 * 128


@dataclass(frozen=True)
class _Item:
    """One image file: its split, class folder, and path relative to that."""

    split: str
    label: str
    relative: str
    path: str
    name: str


def load_folder(
    root: Path,
    *,
    image_size: int | None = None,
    skip_bad: bool = False,
    group_pattern: str | None = None,
) -> Source:
    """Loads images by class.

    Args:
      root: Folder of class folders, or of `train`, `val`, `test` folders of class folders.
      image_size: Side in pixels; `None` keeps images of one size up to 64 px.
      skip_bad: Leaves damaged images out and lists them in the notices, instead of refusing.
      group_pattern: Regular expression whose one group, found in the path below the class folder,
        names what must not straddle a split.

    Raises:
      DataError: With the files or folders at fault and what to do.
      InvalidValueError: When an option is not valid.
    """
    check_image_size(image_size)
    pattern = compile_group_pattern(group_pattern)
    seen = Seen(root)
    tree = find_images(root, seen)
    notices = seen.notices()
    classes = _class_names(tree, root)
    items = _items(tree, root)
    groups = _groups(items, pattern)
    pictures, bad = _read_all(items, image_size)
    if bad:
        _report_bad(bad, root, skip_bad, notices)
        kept = [i for i, picture in enumerate(pictures) if picture is not None]
        items = [items[i] for i in kept]
        groups = None if groups is None else groups[kept]
        _check_still_complete(items, tree)
    whole = [picture for picture in pictures if picture is not None]
    pictures.clear()
    x = stack(whole, image_size, notices, what=f"'{printable(root)}'")
    parts = _parts(items, x, groups, classes)
    name = printable(root.resolve().name or root)
    return Source(notices=tuple(notices), name=name, **parts)


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
    """Class folders, sorted by name, with their numbers; the same in every split."""
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


def _items(tree: Tree, root: Path) -> list[_Item]:
    items: list[_Item] = []
    for split, classes in tree.splits.items():
        folder = tree.folders[split]
        above = "" if folder == root else f"{folder.name}/"
        for label in sorted(classes):
            items.extend(
                _Item(
                    split,
                    label,
                    relative,
                    os.path.join(folder, label, relative),
                    printable(f"{above}{label}/{relative}"),
                )
                for relative in classes[label]
            )
    return items


def _groups(items: Sequence[_Item], pattern: re.Pattern[str] | None) -> NDArray[Any] | None:
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
            f"`group_pattern` must match every image below its class folder, got no match of "
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
            f"{listed(straddling)}. Move their images, or change `group_pattern`."
        )
    return groups


def _read_all(
    items: Sequence[_Item], image_size: int | None
) -> tuple[list[Picture | None], list[tuple[str, str]]]:
    """Decodes every file; damaged ones give `None` and an entry (name, reason)."""
    # Pillow warns about odd metadata and large images; sizes are checked, metadata is not used.
    # Warning filters belong to the whole process, so they are set outside the threads.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = _read_chunk(items[:_CHUNK], image_size)
        first = [result for result in results if isinstance(result, Picture)]
        mean_bytes = sum(p.pixels.nbytes for p in first) / max(len(first), 1)
        check_memory(int(mean_bytes * len(items)), "This folder of images")
        mean_pixels = sum(p.size[0] * p.size[1] for p in first) / max(len(first), 1)
        # Decoders run beside each other, Python does not: for small images threads only wait
        # for each other (60,000 images of 32 px: 5 s without, 12 s with two threads).
        n_threads = 1 if mean_pixels < _SMALL_PIXELS else min(8, os.cpu_count() or 1)
        rest = [items[i : i + _CHUNK] for i in range(_CHUNK, len(items), _CHUNK)]
        if n_threads == 1:
            results += [r for chunk in rest for r in _read_chunk(chunk, image_size)]
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                for chunk in pool.map(lambda c: _read_chunk(c, image_size), rest):
                    results += chunk
    bad = [
        (item.name, result)
        for item, result in zip(items, results, strict=True)
        if isinstance(result, str)
    ]
    return [None if isinstance(result, str) else result for result in results], bad


def _read_chunk(items: Sequence[_Item], image_size: int | None) -> list[Picture | str]:
    """A picture, or the reason why there is none, for each file."""
    results: list[Picture | str] = []
    for item in items:
        try:
            results.append(read_picture(item.path, image_size))
        except DataError as error:
            results.append(str(error))
    return results


def _report_bad(
    bad: Sequence[tuple[str, str]], root: Path, skip_bad: bool, notices: list[str]
) -> None:
    lines = [f"  {name}: {reason}" for name, reason in bad[:MAX_LISTED]]
    if len(bad) > MAX_LISTED:
        lines.append(f"  ... and {len(bad) - MAX_LISTED:,} more")
    files = "1 image" if len(bad) == 1 else f"{len(bad):,} images"
    if skip_bad:
        notices.append("\n".join([f"{files} could not be read and were left out:", *lines]))
        return
    raise DataError(
        "\n".join(
            [
                f"{files} in '{printable(root)}' cannot be read:",
                *lines,
                "Repair or remove them, or go on without them: --skip-bad (skip_bad=True).",
            ]
        )
    )


def _check_still_complete(items: Sequence[_Item], tree: Tree) -> None:
    left = {(item.split, item.label) for item in items}
    lost = [
        f"{split}/{label}"
        for split, classes in tree.splits.items()
        for label in sorted(classes)
        if (split, label) not in left
    ]
    if lost:
        raise DataError(
            f"Every class must hold readable images, got only damaged ones in {listed(lost)}."
        )


def _parts(
    items: Sequence[_Item],
    x: NDArray[Any],
    groups: NDArray[Any] | None,
    classes: dict[str, int],
) -> dict[str, Dataset]:
    """Cuts the stacked images into the splits; items of a split are contiguous."""
    names = tuple(printable(name) for name in classes)
    splits = [item.split for item in items]
    parts = {}
    for split in dict.fromkeys(splits):
        rows = slice(splits.index(split), len(splits) - splits[::-1].index(split))
        parts[split] = Dataset(
            x=x[rows],
            y=np.array([classes[item.label] for item in items[rows]], dtype=np.int64),
            classes=names,
            groups=None if groups is None else groups[rows],
            names=tuple(item.name for item in items[rows]),
        )
    return parts
