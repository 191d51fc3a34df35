"""What a policy costs where it is used: image by image, in a loader, in a training, when built."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from interleaved import Spread, interleaved
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transform_contestants import (
    NOT_INSTALLED,
    TRIVIALAUGMENT,
    module,
    our_transform,
    pictures,
    torchvision_transform,
)

import policysearch
from policysearch.baselines import random_like
from policysearch.config import usable_cores
from policysearch.data import dataset, digits
from policysearch.data.splits import make_splits
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.proxies.image import ImageProxy, config_for, default_epochs
from policysearch.resources import policy_files
from policysearch.space_yaml import load_space

LOADER_BATCH = 64
LOADER_TIMEOUT_SECONDS = 120.0

Rows = list[dict[str, Any]]


def scaling(sides: Sequence[tuple[int, int]], n_rounds: int, seconds: float) -> Rows | str:
    """How many times faster two threads are than one, for ours on whole batches."""
    if usable_cores() < 2:
        return "not measured: one usable core"
    rows = []
    before = torch.get_num_threads()
    for side, n in sides:
        call = partial(our_transform(TRIVIALAUGMENT, side), pictures(n, side).batch)
        calls = {str(k): partial(_with_threads, k, call) for k in (1, 2)}
        try:
            taken = interleaved(calls, n_rounds, seconds)
        finally:
            torch.set_num_threads(before)
        gains = [one / two for one, two in zip(taken["1"], taken["2"], strict=True)]
        rows.append({"side": side, "batch": n, "two_threads": Spread.of(gains).to_dict(2)})
    return rows


def _with_threads(n: int, call: Callable[[], object]) -> object:
    torch.set_num_threads(n)
    return call()


def one_by_one(policy: str, side: int, n: int, n_rounds: int, seconds: float) -> dict[str, Any]:
    """PIL image in, PIL image out, one call per image; images per second."""
    images = pictures(n, side).pil
    transforms = _single_transforms(policy, side)
    calls = {
        name: partial(_each, transform, images)
        for name, transform in transforms.items()
        if transform is not None
    }
    taken = interleaved(calls, n_rounds, seconds)
    return {"policy": policy, "side": side, **_rates(taken, n, transforms)}


def _single_transforms(policy: str, side: int) -> dict[str, Any]:
    transforms = module("torchvision.transforms")
    return {
        "policysearch": our_transform(policy, side),
        "torchvision": transforms and torchvision_transform(policy, side, transforms),
    }


def _each(transform: Any, images: list[Image.Image]) -> None:
    for image in images:
        transform(image)


def _rates(taken: dict[str, list[float]], n: int, transforms: dict[str, Any]) -> dict[str, Any]:
    rates: dict[str, Any] = {
        name: Spread.of([n / s for s in seconds]).to_dict(0) for name, seconds in taken.items()
    }
    rates |= {name: NOT_INSTALLED for name, t in transforms.items() if t is None}
    if "torchvision" in taken:
        pairs = zip(taken["torchvision"], taken["policysearch"], strict=True)
        rates["ratio"] = round(median(theirs / ours for theirs, ours in pairs), 2)
    return rates


class _Photos(Dataset[Any]):
    """PIL images in memory, each with its number as label."""

    def __init__(self, images: list[Image.Image], transform: Any = None) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = self.images[index]
        return image if self.transform is None else self.transform(image), index


def _collate(samples: list[tuple[Image.Image, int]]) -> tuple[Tensor, Tensor]:
    images = [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image, _ in samples]
    return torch.stack(images), torch.tensor([label for _, label in samples])


def loader(policy: str, side: int, n: int, n_rounds: int) -> dict[str, Any]:
    """An epoch of a `DataLoader` with one forked worker: images per second, tensors made there.

    The workers stay, so that their start is not measured. `none` reads without a policy.
    """
    images = pictures(n, side).pil
    transforms = _single_transforms(policy, side)
    sets: dict[str, Dataset[Any]] = {
        "none": _Photos(images),
        "policysearch": policysearch.AugmentedDataset(_Photos(images), transforms["policysearch"]),
    }
    if transforms["torchvision"] is not None:
        sets["torchvision"] = _Photos(images, transforms["torchvision"])
    calls = {name: partial(_read, _loader(samples)) for name, samples in sets.items()}
    taken = interleaved(calls, n_rounds, 0.0)
    del calls
    gc.collect()  # ends the workers
    return {"policy": policy, "side": side, **_rates(taken, n, transforms)}


def _loader(samples: Dataset[Any]) -> DataLoader[Any]:
    return DataLoader(
        samples,
        batch_size=LOADER_BATCH,
        num_workers=1,
        multiprocessing_context="fork",
        persistent_workers=True,
        collate_fn=_collate,
        timeout=LOADER_TIMEOUT_SECONDS,
    )


def _read(batches: DataLoader[Any]) -> None:
    for _ in batches:
        pass


def building(n_rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Milliseconds of `PolicyTransform(policy)` for every named image policy and a large one."""
    policies = {name: policysearch.load_policy(name).policy for name in policy_files()}
    policies["25 sub-policies x 2 ops"] = _sampled()
    calls = {
        name: partial(policysearch.PolicyTransform, policy)
        for name, policy in policies.items()
        if policy.modality == "image"
    }
    taken = interleaved(calls, n_rounds, seconds)
    return {name: Spread.of([1000 * s for s in found]).to_dict(3) for name, found in taken.items()}


def _sampled() -> Policy:
    """25 sub-policies of two operations, drawn from the default search space."""
    space = load_space("image/opwise")
    shape = [
        SubPolicy(tuple(Stage((OpCall("invert"),), (2 * i + j) / 50) for j in range(2)))
        for i in range(25)
    ]
    return random_like(Policy(tuple(shape)), space, np.random.default_rng(0))


def training_share(
    data: dataset.Dataset, n_epochs: int | None, n_rounds: int, device: str = "cpu"
) -> dict[str, Any]:
    """Part of a proxy training that its augmentation takes: (with - without) / with.

    One thread, as the workers of a search have it; TrivialAugment, as a baseline of the search.
    The length of the trainings is that of the search when `n_epochs` is `None`.
    """
    policies = {
        "with": policysearch.load_policy("trivialaugment-wide").policy,
        "without": Policy(),
    }
    length = n_epochs or default_epochs(len(data))
    taken: dict[str, list[float]] = {name: [] for name in policies}
    for i in range(n_rounds + 1):  # the first round warms up
        for name, policy in policies.items():
            seconds = _fit_seconds(data, policy, length, device)
            if i:
                taken[name].append(seconds)
    pairs = zip(taken["with"], taken["without"], strict=True)
    return {
        "data": f"{len(data):,} x {' x '.join(map(str, data.x.shape[1:]))}",
        "epochs": length,
        "seconds_with": round(median(taken["with"]), 4),
        "seconds_without": round(median(taken["without"]), 4),
        "share": Spread.of([(a - b) / a for a, b in pairs]).to_dict(4),
    }


def _fit_seconds(data: dataset.Dataset, policy: Policy, n_epochs: int, device: str) -> float:
    proxy = ImageProxy(data, policy, n_epochs, 0, config_for(data, device))
    _wait(device)
    started = time.perf_counter()
    proxy.fit()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def digits_images() -> dataset.Dataset:
    """What a search on 100 digits trains on."""
    return make_splits(digits.load_digits(), seed=0, train_size=100).search.train


def random_images(n: int) -> dataset.Dataset:
    """Images `(3, 32, 32)` of random bytes, in ten classes."""
    rng = np.random.default_rng(0)
    return dataset.Dataset(
        x=rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8),
        y=np.arange(n) % 10,
        classes=tuple(str(i) for i in range(10)),
    )
