"""Folders of real image files, made with Pillow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Image.Image:
    """Random pixels; `size` is width and height."""
    rng = np.random.default_rng(seed)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, size[::-1], dtype=np.uint16))
    rgb = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(rgb).convert(mode)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes `n` images into each of the given folders below `tmp_path/images`."""

    def make(
        *folders: str,
        n: int = 4,
        size: tuple[int, int] = (12, 10),
        mode: str = "RGB",
        suffix: str = ".png",
    ) -> Path:
        root = tmp_path / "images"
        for k, folder in enumerate(folders or ("cat", "dog")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(n):
                image = picture(1000 * k + i, size, mode)
                image.save(root / folder / f"{i:03d}{suffix}")
        return root

    return make
