"""The torchvision example runs, and a transform is a good neighbour in `v2.Compose`."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("torchvision", reason="torchvision is not installed; use `make test-interop`")

from torch.utils.data import DataLoader, TensorDataset, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision_ops import scene, to_batch

import policysearch

EXAMPLE = Path(__file__).parents[2] / "examples" / "use_torchvision_compose.py"


def test_example_gives_normalised_batches():
    images = runpy.run_path(str(EXAMPLE))["main"]()
    assert images.shape == (32, 3, 32, 32)
    assert images.dtype == torch.float32
    assert images.min() < 0 < images.max()


def test_example_leaves_test_images_alone():
    image = scene((32, 32), "RGB")
    x = runpy.run_path(str(EXAMPLE))["test_transform"](image)
    mean, std = torch.tensor([[0.49, 0.48, 0.45], [0.25, 0.24, 0.26]])[..., None, None]
    torch.testing.assert_close(x * std + mean, to_batch([image])[0] / 255)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_stage_in_compose_is_the_transform_itself(mode):
    image = scene((24, 33), mode)
    stage = policysearch.load_policy("autoaugment-imagenet", seed=3)
    alone = policysearch.load_policy("autoaugment-imagenet", seed=3)
    pipeline = v2.Compose([v2.RandomHorizontalFlip(p=1.0), stage, v2.PILToTensor()])
    mirrored = v2.functional.hflip(image)
    for _ in range(20):
        np.testing.assert_array_equal(pipeline(image), to_batch([alone(mirrored)])[0])


def test_stage_in_compose_passes_labels_through():
    pipeline = v2.Compose([policysearch.load_policy("randaugment"), v2.PILToTensor()])
    x, label = pipeline(scene((16, 16), "RGB"), 7)
    assert x.shape == (3, 16, 16)
    assert label == 7


def test_stage_in_compose_takes_tensors_of_torchvision():
    image = tv_tensors.Image(to_batch([scene((16, 16), "RGB")])[0])
    pipeline = v2.Compose(
        [
            v2.RandomVerticalFlip(),
            policysearch.load_policy("trivialaugment-wide"),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    x = pipeline(image)
    assert x.shape == (3, 16, 16)
    assert 0 <= x.min() <= x.max() <= 1


def test_stage_works_on_collated_batches_beside_mixup():
    """Policies on whole batches, then torchvision's MixUp, as its own documentation places it."""
    data = TensorDataset(to_batch([scene((16, 16), "RGB")] * 8), torch.arange(8))
    augment = policysearch.load_policy("trivialaugment-wide")
    mix = v2.MixUp(num_classes=8)

    def collate(samples):
        images, labels = default_collate(samples)
        return mix(augment(images) / 255, labels)

    images, labels = next(iter(DataLoader(data, batch_size=8, collate_fn=collate)))
    assert images.shape == (8, 3, 16, 16)
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(8))
