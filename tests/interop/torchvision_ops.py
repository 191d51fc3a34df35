"""Our operations in torchvision's words, and torchvision's PIL path as the reference."""

from collections.abc import Iterator, Sequence
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, autoaugment, functional
from torchvision.transforms.autoaugment import AugMix, _apply_op

from policysearch.draws import Drawn
from policysearch.ops.registry import get_spec
from policysearch.policy import Policy
from policysearch.transform import PolicyTransform

NAMES = {
    "Identity": "identity",
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "Rotate": "rotate",
    "Brightness": "brightness",
    "Color": "color",
    "Contrast": "contrast",
    "Sharpness": "sharpness",
    "Posterize": "posterize",
    "Solarize": "solarize",
    "AutoContrast": "autocontrast",
    "Equalize": "equalize",
    "Invert": "invert",
}
THEIR_NAMES = {ours: theirs for theirs, ours in NAMES.items()}
GEOMETRY = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
SIDES = {"translate_x": 1, "translate_y": 0}  # axis of (height, width)


def our_magnitude(name: str, magnitude: float) -> float:
    """Torchvision's magnitude in the unit of our op; translations in pixels."""
    if name == "Posterize":
        return 8 - magnitude
    return 256 - magnitude if name == "Solarize" else magnitude


def their_magnitude(op: str, magnitude: float, size: tuple[int, int]) -> float:
    """Our magnitude (translations: fractions) in the unit of torchvision's op."""
    if op in SIDES:
        return magnitude * size[SIDES[op]]
    if op == "posterize":
        return 8 - round(magnitude)
    return 256 - magnitude if op == "solarize" else magnitude


def theirs(
    image: Image.Image,
    calls: Sequence[tuple[str, float]],
    interpolation: str = "nearest",
    fill: int | None = None,
) -> np.ndarray:
    """Applies (torchvision name, magnitude) in turn, as `AutoAugment.forward` does."""
    color = None if fill is None else [fill] * len(image.getbands())
    for name, magnitude in calls:
        image = _apply_op(image, name, magnitude, InterpolationMode(interpolation), color)
    return np.asarray(image)


class RecordedAugMix(AugMix):
    """Torchvision's AugMix, drawing what it is told, with the operations that it has for PIL.

    Its own code turns a PIL image into a tensor first, and operations for tensors differ from
    those for PIL in single pixels.
    """

    def run(
        self,
        image: Image.Image,
        chains: Sequence[Sequence[tuple[str, float]]],
        weights: Sequence[float],
    ) -> np.ndarray:
        """Runs `forward`.

        Args:
          image: What is augmented.
          chains: For each chain (torchvision name, magnitude), which its table must hold.
          weights: Of the image, then of each chain.
        """
        whole, single = torch.tensor([[weights[0], 1.0]]), torch.tensor([weights[1:]])
        self.dirichlet = iter([whole, single])  # the weight of all chains is in those of each
        size = (image.height, image.width)
        numbers = self._numbers(self._augmentation_space(self._PARAMETER_MAX, size), chains)
        told = (torch.tensor([number]) for number in numbers)
        with (
            mock.patch.object(torch, "randint", side_effect=told),
            mock.patch.object(autoaugment, "_apply_op", _apply_op_to_pil),
        ):
            result = np.asarray(self(image))
        assert next(told, None) is None
        return result

    def _sample_dirichlet(self, params: torch.Tensor) -> torch.Tensor:
        drawn = next(self.dirichlet)
        assert drawn.shape == params.shape
        return drawn

    def _numbers(
        self,
        space: dict[str, tuple[torch.Tensor, bool]],
        chains: Sequence[Sequence[tuple[str, float]]],
    ) -> Iterator[int]:
        """What `forward` must draw for the chains: depth; then op, bin and sign of each step."""
        for chain in chains:
            yield len(chain)
            for name, magnitude in chain:
                bins, is_signed = space[name]
                yield list(space).index(name)
                if bins.ndim:
                    gaps = np.abs(bins[: self.severity].double().numpy() - abs(magnitude))
                    assert gaps.min() < 1e-5 * max(1.0, abs(magnitude))
                    yield int(gaps.argmin())
                if is_signed:
                    yield int(magnitude < 0)


def _apply_op_to_pil(batch: torch.Tensor, *args: object, **options: object) -> torch.Tensor:
    image = functional.to_pil_image(batch[0])
    return functional.pil_to_tensor(_apply_op(image, *args, **options))[None]


def drawn(samples: Sequence[Sequence[tuple[str, float]]], *, is_pixels: bool) -> Drawn:
    """A recorded draw: for each sample the (op, magnitude) of its stages; op `identity`: none."""
    ops = tuple({op: None for stages in samples for op, _ in stages if op != "identity"})
    index = [[ops.index(op) if op in ops else -1 for op, _ in stages] for stages in samples]
    magnitude = np.array([[m for _, m in stages] for stages in samples], dtype=np.float64)
    pixels = [[is_pixels and op in SIDES for op, _ in stages] for stages in samples]
    extra = np.zeros((*magnitude.shape, 0))
    return Drawn(ops, np.array(index, dtype=np.int64), magnitude, np.array(pixels), extra)


def ours(
    image: Image.Image,
    samples: Sequence[Sequence[tuple[str, float]]],
    policy: Policy | None = None,
    *,
    is_pixels: bool = True,
) -> np.ndarray:
    """Applies each sequence of (op, magnitude) to a copy of the image, all in one batch.

    Shape of the result: `(n, H, W)` for gray, `(n, H, W, 3)` for colour.
    """
    batch = to_batch([image] * len(samples))
    transform = PolicyTransform(policy or Policy())
    result = transform.replay(batch, drawn(samples, is_pixels=is_pixels)).numpy()
    return result[:, 0] if image.mode == "L" else result.transpose(0, 2, 3, 1)


def to_batch(images: Sequence[Image.Image]) -> torch.Tensor:
    """PIL images of one size as a uint8 tensor `(n, C, H, W)`."""
    a = np.stack([np.asarray(image) for image in images])
    a = a[:, None] if a.ndim == 3 else a.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(a))


def signs(op: str) -> tuple[float, ...]:
    """The signs that an op is drawn with."""
    return (1.0, -1.0) if get_spec("image", NAMES.get(op, op)).is_signed else (1.0,)


def scene(size: tuple[int, int], mode: str) -> Image.Image:
    """Noise, a slope in two directions and a flat corner: every level, sharp and smooth."""
    height, width = size
    rng = np.random.default_rng([height, width, len(mode)])
    y, x, c = np.mgrid[:height, :width, :3]
    slope = 20 + 180 * x / width + 30 * y / height + 12 * c
    a = np.where((x + y) % 5 < 2, rng.integers(0, 256, (height, width, 3)), slope)
    a = np.where((x < width // 3) & (y < height // 3), 200 - 40 * c, a).astype(np.uint8)
    return Image.fromarray(a if mode == "RGB" else a[..., 0])


def dim(image: Image.Image) -> Image.Image:
    """The same picture in a narrow range of levels."""
    return Image.fromarray((90 + np.asarray(image) // 6).astype(np.uint8))
