"""A policy with Hugging Face `datasets`: a function that `Dataset.set_transform` takes.

`datasets` calls it whenever rows are read, with a dictionary of columns, each a list with one
entry per row. Nothing else is needed of the library, so this runs without it; with it, write

    train = datasets.load_dataset("imagefolder", data_dir="photos", split="train")
    train.set_transform(functools.partial(augment_rows, transform=transform))

Run with: python examples/use_set_transform.py
"""

import functools
from typing import Any

import numpy as np
from PIL import Image

import policysearch


def augment_rows(rows: dict[str, list[Any]], transform: Any) -> dict[str, list[Any]]:
    """Augments the images of some rows; they may differ in size."""
    images = [transform(image.convert("RGB")) for image in rows["image"]]
    pixel_values = [
        np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255 for image in images
    ]
    return {"pixel_values": pixel_values, "label": rows["label"]}


def main() -> dict[str, list[Any]]:
    """Reads three rows as `datasets` would."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    rows = {"image": [Image.fromarray(a) for a in noise], "label": [0, 1, 2]}
    transform = policysearch.load_policy("trivialaugment-wide", seed=0)  # or a policy.json
    set_transform_function = functools.partial(augment_rows, transform=transform)
    result = set_transform_function(rows)
    print([x.shape for x in result["pixel_values"]], result["label"])
    return result


if __name__ == "__main__":
    main()
