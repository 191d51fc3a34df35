"""From the user's data to a contact sheet in a file: picks samples, draws, writes whole.

A sheet needs ten images. Of a folder only these are decoded, not the whole dataset.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data import load_source
from policysearch.data.dataset import printable
from policysearch.data.image_file import IMAGES, read_picture
from policysearch.data.resize import common_size, fit
from policysearch.data.walk import Seen, find_samples
from policysearch.errors import DataError
from policysearch.files import write_atomic
from policysearch.report.sheet import contact_sheet, n_images
from policysearch.seeding import uniforms

if TYPE_CHECKING:
    from policysearch.policy_json import PolicyDocument

_MAX_DAMAGED = 100


@dataclass(frozen=True, slots=True)
class Samples:
    """Images `(n, C, H, W)` with a label each."""

    images: NDArray[Any]
    labels: list[str]


def write_sheet(path: Path, document: PolicyDocument, text: str, images: str, seed: int) -> None:
    """Draws the sheet of a policy on samples of `images` and writes it as PNG."""
    n = n_images(document.policy)
    few_of = few_of_folder if Path(images).is_dir() else few_of_source
    samples = few_of(images, n, seed)
    title = f"Policy '{document.name or text}' on {Path(images).name or images}"
    page = contact_sheet(document.policy, samples.images, samples.labels, title=title, seed=seed)
    buffer = io.BytesIO()
    page.save(buffer, format="PNG", optimize=True)
    write_atomic(path, buffer.getvalue())


def few_of_folder(text: str, n: int, seed: int) -> Samples:
    """Up to `n` images of a folder by class, as many different classes as there are.

    Raises:
      DataError: When it has no class folders, or none of the images can be read.
    """
    tree = find_samples(Path(text), Seen(Path(text), IMAGES))
    root, by_class = tree.folders["train"], tree.splits["train"]
    files = [(name, root / name / file) for name, below in by_class.items() for file in below]
    names = list(by_class)
    classes = np.array([names.index(name) for name, _ in files])
    pictures, labels, problem = [], [], ""
    for index in spread(classes, seed)[: n + _MAX_DAMAGED]:
        name, path = files[index]
        try:
            pictures.append(read_picture(path))
            labels.append(name)
        except DataError as error:
            problem = f"'{printable(path)}': {error}"
        if len(pictures) == n:
            break
    if not pictures:
        raise DataError(f"No image in '{printable(text)}' can be read. {problem}.")
    size, _ = common_size([picture.size for picture in pictures], None)
    return Samples(_stacked([fit(picture.pixels, size) for picture in pictures]), labels)


def _stacked(pixels: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Pictures of any depth and colour as one batch of 8-bit RGB."""
    planes = []
    for picture in pixels:
        bytes_ = (picture >> 8).astype(np.uint8) if picture.dtype == np.uint16 else picture
        planes.append(np.repeat(bytes_[..., None], 3, axis=2) if bytes_.ndim == 2 else bytes_)
    return np.ascontiguousarray(np.stack(planes).transpose(0, 3, 1, 2))


def few_of_source(images: str, n: int, seed: int) -> Samples:
    """Up to `n` images of anything else that `search` accepts."""
    data = load_source(images).train
    if data.modality != "image":
        raise DataError(f"A sheet needs images, '{images}' holds {data.modality} data.")
    if data.x.ndim != 4:
        raise DataError(f"A sheet needs flat images, '{images}' holds volumes.")
    chosen = spread(data.y, seed)[:n]
    return Samples(data.x[chosen], [data.classes[label] for label in data.y[chosen]])


def spread(classes: NDArray[np.int64], seed: int) -> NDArray[np.intp]:
    """All indices in an order that takes one of each class in turn, at random within a class."""
    keys = uniforms(seed, 0, np.arange(len(classes)), 1)[:, 0]
    rounds = np.zeros(len(classes), dtype=np.int64)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        rounds[members[np.argsort(keys[members], kind="stable")]] = np.arange(len(members))
    return np.lexsort((classes, rounds))
