"""Synthetic images that somebody made beforehand: a folder of them for each class."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.dataset import printable
from policysearch.data.image_file import IMAGES, read_picture
from policysearch.data.resize import check_memory, fit
from policysearch.data.walk import Seen, find_samples
from policysearch.errors import DataError, FormatError, GeneratorError, unknown_name
from policysearch.generators.bank import BankGenerator
from policysearch.generators.samples import FitData, Frame
from policysearch.validation import first_problems

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as Pillow


def read_folder(root: Path, data: FitData, classes: Sequence[str]) -> BankGenerator:
    """Reads `class_name/image.png` below a folder; temperature makes no difference.

    Images are brought to the shape of the training images: cut to their aspect, scaled, and made
    gray or RGB. Classes without a folder are not known.

    Args:
      root: The folder.
      data: Training images, `(n, C, H, W)` with C 1 or 3, in [0, 1].
      classes: Names of the classes, in the order of their numbers.

    Raises:
      FormatError: Naming every folder that is no class and every file that cannot be read.
      DataError: When there are no class folders, or empty ones.
      GeneratorError: When the training samples are no images.
    """
    shape = data.frame.shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise GeneratorError(
            "A folder of synthetic images needs training images of shape (n, C, H, W) with C 1 or "
            f"3, got {data.x.shape}."
        )
    tree = find_samples(root, Seen(root, IMAGES))
    folders, below = tree.splits["train"], tree.folders["train"]
    check_memory(4 * sum(map(len, folders.values())) * int(np.prod(shape)), f"'{printable(root)}'")
    problems, images, labels = [], [], []
    for name in sorted(set(folders) - set(classes)):
        problems.append(unknown_name("class folder", printable(name), classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, which is not used
        for label, name in enumerate(classes):
            for relative in folders.get(name, ()):
                try:
                    images.append(_read(Path(os.path.join(below, name, relative)), shape))
                    labels.append(label)
                except DataError as error:
                    problems.append(f"{printable(f'{name}/{relative}')}: {error}")
    if problems:
        raise FormatError(
            f"folder of synthetic images '{printable(root)}'", first_problems(problems)
        )
    known = np.bincount(labels, minlength=len(classes)) > 0
    tensors: dict[str, NDArray[Any]] = {
        "samples": np.stack(images),
        "labels": np.array(labels, dtype=np.int64),
        "temperatures": np.ones(len(labels)),
    }
    return BankGenerator(Frame(shape, known, 0.0, 1.0), tensors, "folder")


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An image as float32 `(C, H, W)` in [0, 1]."""
    n_channels, height, width = shape
    pixels = read_picture(path, height if height == width else None).pixels
    pixels = fit(pixels, (height, width))
    image: NDArray[np.float32] = pixels / np.float32(np.iinfo(pixels.dtype).max)
    if image.ndim == 2:
        return np.repeat(image[None], n_channels, axis=0)
    return image.transpose(2, 0, 1) if n_channels == 3 else (image @ _LUMA).clip(0.0, 1.0)[None]
