"""Loads a folder of NIfTI files by class: volumes, or single slices, as images in [0, 1].

Values of scanners have no common scale, and spacings differ: a file is turned to the closest
canonical axes, its 0.5th to 99.5th percentile becomes 0 to 1 (as nnU-Net clips), and all are
brought to one size.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policysearch.data.class_folder import find_classes
from policysearch.data.dataset import Source, printable
from policysearch.data.image_file import IMAGES
from policysearch.data.resize import check_image_size, check_memory
from policysearch.data.walk import FileKind
from policysearch.errors import MissingDependencyError

NIFTI = FileKind(frozenset({".nii", ".gz"}), ("NII", "NII.GZ"), "volume", "volumes")
#: Sides that are kept: proxy trainings want small data.
KEPT_SIDE, KEPT_SIDE_OF_SLICES = 32, 64
MAX_VALUES = 512 * 512 * 1024
_PERCENTILES = (0.5, 99.5)


def is_nifti(name: str) -> bool:
    """Whether a file is NIfTI by its name."""
    return name.lower().endswith((".nii", ".nii.gz"))


def is_nifti_folder(root: Path) -> bool:
    """Whether the first file below a folder that could hold an image is a NIfTI file."""
    for _, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            if is_nifti(name):
                return True
            if os.path.splitext(name)[1].lower() in IMAGES.suffixes:
                return False
    return False


def load_nifti_folder(
    root: Path,
    *,
    image_size: int | None = None,
    skip_bad: bool = False,
    group_pattern: str | None = None,
) -> Source:
    """Loads volumes by class, with or without `train/ val/ test/` above the classes.

    Args:
      root: Folder of class folders of `.nii` and `.nii.gz` files.
      image_size: Largest side; `None`: 32 for volumes, 64 for slices.
      skip_bad: Leaves damaged files out and lists them in the notices, instead of refusing.
      group_pattern: Regular expression whose one group, found in the path below the class folder,
        names what must not straddle a split, such as a patient.

    Returns:
      Images float32 in [0, 1]: `(n, 1, D, H, W)`, or `(n, 1, H, W)` where all files hold a single
      slice.

    Raises:
      DataError: With the files or folders at fault and what to do.
      MissingDependencyError: Without the package nibabel.
    """
    check_image_size(image_size)
    _nibabel()
    notices: list[str] = []
    found = find_classes(root, NIFTI, group_pattern, notices)
    results = [_read(Path(item.path)) for item in found.items]
    found, volumes = found.readable(results, skip_bad, notices)
    is_flat = all(len(volume) == 1 for volume in volumes)
    limit = image_size or (KEPT_SIDE_OF_SLICES if is_flat else KEPT_SIDE)
    smallest = np.min([volume.shape for volume in volumes], axis=0)
    size = tuple(int(side) for side in np.minimum(smallest, limit))
    check_memory(len(volumes) * int(np.prod(size)) * 4, f"'{printable(root)}'")
    x = np.stack([_fitted(volume, size) for volume in volumes])[:, None]
    shown = " x ".join(str(side) for side in size[is_flat:])
    notices.append(
        f"{len(volumes):,} NIfTI files were brought to {shown} and to 0..1 by their percentiles "
        f"{_PERCENTILES[0]:g} and {_PERCENTILES[1]:g}. Made for such images: `--space "
        "medical`, or `medical_volumes` where voxels are then about as deep as wide."
    )
    parts = found.parts(x[:, :, 0] if is_flat else x)
    return Source(notices=tuple(notices), name=found.name, **parts)


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise MissingDependencyError(
            "NIfTI files need a package more: pip install 'policysearch[medical]'"
        ) from None
    return nibabel


def _read(path: Path) -> NDArray[np.float32] | str:
    """A volume `(D, H, W)` in [0, 1], or the reason why there is none."""
    nibabel = _nibabel()
    if not is_nifti(path.name):
        return "not a .nii or .nii.gz file"
    try:
        image = nibabel.load(path)
        shape = tuple(image.shape)
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if not 2 <= len(shape) <= 3 or 0 in shape:
            return f"a volume of three axes is needed, got {shape}"
        if np.prod(shape) > MAX_VALUES:
            return f"{int(np.prod(shape)):,} values, more than {MAX_VALUES:,}"
        canonical = nibabel.as_closest_canonical(image)
        values = np.asarray(canonical.get_fdata(dtype=np.float32)).reshape(
            canonical.shape[:3] if canonical.ndim >= 3 else (*canonical.shape, 1)
        )
    except Exception as error:  # hostile files raise almost anything inside a decoder
        return f"not a NIfTI file, or damaged ({type(error).__name__})"
    if not np.isfinite(values).all():
        return "values that are NaN or infinite"
    low, high = np.percentile(values, _PERCENTILES)
    if high <= low:
        low, high = float(values.min()), float(values.max())
    scaled = (values - low) / max(high - low, 1e-12)
    # Axes of a file run to the right, to the front and up; rows of an image run down.
    upright = np.clip(scaled, 0, 1).transpose(2, 1, 0)[::-1, ::-1]
    result: NDArray[np.float32] = np.ascontiguousarray(upright, dtype=np.float32)
    return result


def _fitted(volume: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Smooths away what the new grid cannot hold, and interpolates linearly."""
    from scipy import ndimage

    factor = np.array(volume.shape) / np.array(size)
    smooth = ndimage.gaussian_filter(volume, np.maximum(0, (factor - 1) / 2), mode="nearest")
    zoomed = ndimage.zoom(smooth, 1 / factor, order=1, mode="nearest", grid_mode=True)
    result: NDArray[np.float32] = np.clip(zoomed, 0, 1).astype(np.float32)
    return result
