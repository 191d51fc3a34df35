"""Machine code that is kept beside the package, for a copy of the package."""

import os
import shutil
from pathlib import Path

from policysearch.ops import image_native


def keep_code(package: Path) -> list[Path]:
    """Keeps the code of image operations in a copy too, where it would take long to compile."""
    source, copy = Path(image_native.__file__), package / "ops" / "image_native.py"
    assert copy.read_bytes() == source.read_bytes()
    times = source.stat()
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))  # it is kept for a file of this age
    kept = Path(image_native.machine_code().stats.cache_path).glob("image_native.*.nb?")
    folder = copy.parent / "__pycache__"
    folder.mkdir(exist_ok=True)
    return [Path(shutil.copy(path, folder)) for path in kept]
