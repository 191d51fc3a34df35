"""One way to get any generator: by kind, by a folder of images, by a function of the user's."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from policysearch.errors import GeneratorError, unknown_name
from policysearch.generators.base import Generator
from policysearch.generators.samples import FitData

#: Generators that are fitted here.
KINDS = ("gaussian", "vae", "gan")


def fit_generator(
    kind_or_name_or_folder: str, data: FitData, seed: int, classes: Sequence[str]
) -> Generator:
    """Fits a generator to training samples.

    Args:
      kind_or_name_or_folder: One of `KINDS`; a folder of synthetic images by class; or
        `package.module:factory` or `file.py:factory`.
      data: Training samples.
      seed: Of whatever is random.
      classes: Names of the classes, in the order of their numbers.

    Raises:
      GeneratorError: For an unknown kind, or where the generator does not do what it must.
    """
    name = kind_or_name_or_folder
    if len(classes) != data.n_classes:
        raise GeneratorError(
            f"`classes` must name {data.n_classes} classes, got {len(classes)} names."
        )
    source = source_of(name)
    if source == "kind":
        return _fitter(name)(data, seed)
    if source == "folder":
        from policysearch.generators.folder import read_folder

        return read_folder(Path(name), data, classes)
    from policysearch.generators.user import fit_user

    return fit_user(name, data, seed)


def source_of(name: str) -> str:
    """What a name stands for: `kind`, `folder` or `function`; nothing is imported.

    Raises:
      GeneratorError: For another name, with the nearest kind.
    """
    if name in KINDS:
        return "kind"
    if os.path.isdir(name):  # of names that are no paths, too, it says so without an error
        return "folder"
    if ":" in name:
        return "function"
    raise GeneratorError(
        f"{unknown_name('generator', name, KINDS)} A folder of images by class must exist; a "
        "function is named as `package.module:factory` or `file.py:factory`."
    )


def _fitter(kind: str) -> Callable[[FitData, int], Generator]:
    if kind == "gaussian":
        from policysearch.generators.gaussian import fit_gaussian

        return fit_gaussian
    if kind == "vae":
        from policysearch.generators.vae import fit_vae

        return fit_vae
    from policysearch.generators.gan import fit_gan

    return fit_gan
