"""One policy in the hands of every library that has it, ready to be timed on the same images.

Each contestant gets the images in the form that it likes best, converted beforehand, and leaves
them in its own form. All resample with nearest where they let one choose. A contestant has *the
same policy* when every image gets a draw of its own from the policy of that name; lists of
operations and ranges differ a little between libraries, which the notes say. The others are
measured as well, because people use them for the same purpose.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import policysearch
from policysearch.errors import UnknownNameError

AUTOAUGMENT, RANDAUGMENT = "AutoAugment", "RandAugment(2, 9)"
TRIVIALAUGMENT, AUGMIX = "TrivialAugmentWide", "AugMix"

#: Whose AutoAugment policy is used for images of a side.
DATASETS = {32: "cifar10", 224: "imagenet"}

NOT_INSTALLED, NO_SUCH_POLICY = "not installed", "no such policy"

#: Images that a loop over single images goes through in one measurement.
MAX_LOOP = {"cpu": 256, "cuda": 64}

Call = Callable[[], object]


@dataclass(frozen=True)
class Pictures:
    """The same images in every form that a contestant takes.

    Attributes:
      batch: `(n, 3, side, side)`, uint8.
    """

    batch: Tensor

    @cached_property
    def tensors(self) -> list[Tensor]:
        """Single images `(3, side, side)`, each with memory of its own."""
        return [image.clone() for image in self.batch[: MAX_LOOP[self.batch.device.type]]]

    @cached_property
    def floats(self) -> Tensor:
        """The batch as float32 in [0, 1]."""
        return self.batch.float() / 255

    @cached_property
    def arrays(self) -> list[Any]:
        """Numpy arrays `(side, side, 3)`."""
        return [np.ascontiguousarray(x.permute(1, 2, 0).cpu().numpy()) for x in self.batch]

    @cached_property
    def pil(self) -> list[Image.Image]:
        """PIL images."""
        return [Image.fromarray(array) for array in self.arrays]


def pictures(n: int, side: int, device: str = "cpu") -> Pictures:
    """Images with slopes, flat corners and noise: every level, sharp and smooth."""
    rng = np.random.default_rng([n, side])
    y, x, c = np.mgrid[:side, :side, :3]
    slope = rng.uniform(0, 200, (n, 1, 1, 1)) * x / side + 40 * y / side + 5 * c
    noise = rng.integers(0, 256, (n, side, side, 3))
    a = np.where((x + y) % 5 < 2, noise, slope).astype(np.uint8)
    a[:, : side // 3, : side // 3] = rng.integers(0, 256, (n, 1, 1, 3))
    return Pictures(torch.from_numpy(a).permute(0, 3, 1, 2).contiguous().to(device))


@dataclass(frozen=True)
class Contestant:
    """A library with a policy and images, ready to go.

    Attributes:
      call: Augments `n_images` images; `None` when there is nothing to measure, see `note`.
      is_same_policy: Every image gets a draw of its own from the policy of that name.
      note: What differs from the published policy, or why there is no call.
    """

    name: str
    call: Call | None
    n_images: int
    is_same_policy: bool = True
    note: str = ""


def our_transform(policy: str, side: int) -> policysearch.PolicyTransform:
    """Ours of a policy; raises `UnknownNameError` when this version has none of that name."""
    name = {
        AUTOAUGMENT: f"autoaugment-{DATASETS[side]}",
        RANDAUGMENT: "randaugment",
        TRIVIALAUGMENT: "trivialaugment-wide",
        AUGMIX: "augmix",
    }[policy]
    return policysearch.load_policy(name, seed=0)


def is_ours(policy: str, side: int) -> bool:
    """Whether this version has a policy."""
    try:
        our_transform(policy, side)
    except UnknownNameError:
        return False
    return True


def contestants(policy: str, side: int, images: Pictures) -> list[Contestant]:
    """Ours first, then everyone else; tensors only when the images are not on the CPU."""
    transform = our_transform(policy, side)
    ours = Contestant("policysearch", partial(transform, images.batch), len(images.batch))
    tensors = [_torchvision_tensors(policy, side, images), *_kornia(policy, side, images)]
    if images.batch.device.type != "cpu":
        return [ours, *tensors]
    pil = [_torchvision_pil(policy, side, images), _timm(policy, side, images)]
    return [ours, *pil, *tensors, _albumentations(policy, images)]


def module(name: str) -> ModuleType | None:
    """A library, or `None` when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _one_by_one(transform: Callable[[Any], object], images: list[Any]) -> Call:
    return lambda: [transform(image) for image in images]


def torchvision_transform(policy: str, side: int, transforms: Any) -> Callable[[Any], Any]:
    """Torchvision's transform of a policy; `transforms` is its first or its second module."""
    if policy == AUTOAUGMENT:
        table = transforms.AutoAugmentPolicy[DATASETS[side].upper()]
        return transforms.AutoAugment(table)
    if policy == RANDAUGMENT:
        return transforms.RandAugment(2, 9)
    if policy == TRIVIALAUGMENT:
        return transforms.TrivialAugmentWide()
    nearest = transforms.InterpolationMode.NEAREST
    return transforms.AugMix(interpolation=nearest)


def _torchvision_pil(policy: str, side: int, images: Pictures) -> Contestant:
    name, transforms = "torchvision, PIL", module("torchvision.transforms")
    if transforms is None:
        return Contestant(name, None, 0, note=NOT_INSTALLED)
    transform = torchvision_transform(policy, side, transforms)
    return Contestant(name, _one_by_one(transform, images.pil), len(images.pil))


def _torchvision_tensors(policy: str, side: int, images: Pictures) -> Contestant:
    name, transforms = "torchvision v2, tensors", module("torchvision.transforms.v2")
    if transforms is None:
        return Contestant(name, None, 0, note=NOT_INSTALLED)
    transform = torchvision_transform(policy, side, transforms)
    return Contestant(name, _one_by_one(transform, images.tensors), len(images.tensors))


def _timm(policy: str, side: int, images: Pictures) -> Contestant:
    name, timm = "timm, PIL", module("timm.data.auto_augment")
    if timm is None:
        return Contestant(name, None, 0, note=NOT_INSTALLED)
    settings = {"interpolation": Image.Resampling.NEAREST, "img_mean": (0, 0, 0)}
    if policy == AUTOAUGMENT:
        if DATASETS[side] != "imagenet":
            return Contestant(name, None, 0, note=NO_SUCH_POLICY)
        transform, note = timm.auto_augment_transform("original", settings), "original"
    elif policy == RANDAUGMENT:
        # Torchvision's level 9 of 30 is timm's level 3 of 10; always applied, as published.
        words = "rand-m3-n2-p1-inc1"
        transform = timm.rand_augment_transform(words, settings)
        note = f"{words}; Invert and SolarizeAdd instead of Identity"
    elif policy == TRIVIALAUGMENT:
        words = "rand-m10-n1-p1-mstd101-inc1"  # a standard deviation above 100 means uniform
        transform = timm.rand_augment_transform(words, settings)
        note = f"{words}; narrower ranges"
    else:
        words = "augmix-m3-w3"
        transform, note = timm.augment_and_mix_transform(words, settings), words
    return Contestant(name, _one_by_one(transform, images.pil), len(images.pil), note=note)


def _kornia(policy: str, side: int, images: Pictures) -> list[Contestant]:
    """One image after the other; and batches, which all get one and the same sub-policy."""
    one_by_one, whole = "kornia, one by one", "kornia, whole batch"
    auto = module("kornia.augmentation.auto")
    if auto is None or policy == AUGMIX:
        note = NOT_INSTALLED if auto is None else NO_SUCH_POLICY
        return [
            Contestant(name, None, 0, name == one_by_one, note) for name in (one_by_one, whole)
        ]
    transform = {
        AUTOAUGMENT: lambda: auto.AutoAugment(DATASETS[side]),
        RANDAUGMENT: lambda: auto.RandAugment(n=2, m=9),
        TRIVIALAUGMENT: auto.TrivialAugment,
    }[policy]()
    singles = [image[None] for image in images.floats[: len(images.tensors)]]
    note = "floats, bilinear"
    return [
        Contestant(one_by_one, _one_by_one(transform, singles), len(singles), note=note),
        Contestant(
            whole,
            partial(transform, images.floats),
            len(images.floats),
            is_same_policy=False,
            note=f"one sub-policy for all images of a batch; {note}",
        ),
    ]


def _albumentations(policy: str, images: Pictures) -> Contestant:
    name, a = "albumentations, chain", module("albumentations")
    if a is None:
        return Contestant(name, None, 0, is_same_policy=False, note=NOT_INSTALLED)

    def one_of_eight() -> Any:
        return a.OneOf(
            [
                a.Affine(shear={"x": (-17, 17), "y": (0, 0)}, interpolation=0, p=1),
                a.Affine(translate_percent=(-0.15, 0.15), interpolation=0, p=1),
                a.Affine(rotate=(-30, 30), interpolation=0, p=1),
                a.ColorJitter((0.7, 1.3), (1, 1), (1, 1), (0, 0), p=1),
                a.ColorJitter((1, 1), (1, 1), (0.7, 1.3), (0, 0), p=1),
                a.Posterize((4, 7), p=1),
                a.Solarize((0.3, 0.9), p=1),
                a.Equalize(mode="pil", p=1),
            ],
            p=1,
        )

    n_stages = 1 if policy == TRIVIALAUGMENT else 2
    chain = a.Compose([one_of_eight() for _ in range(n_stages)], seed=0)
    return Contestant(
        name,
        lambda: [chain(image=array) for array in images.arrays],
        len(images.arrays),
        is_same_policy=False,
        note=f"no equal policy: {n_stages} x one of 8 operations",
    )
