"""A policy as one stage of a torchvision pipeline: after decoding, before normalising.

Needs torchvision. Run with: python examples/use_torchvision_compose.py
"""

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import FakeData
from torchvision.transforms import v2

import policysearch

to_input = [
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize(mean=[0.49, 0.48, 0.45], std=[0.25, 0.24, 0.26]),
]
train_transform = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        policysearch.load_policy("autoaugment-cifar10", seed=0),  # or the path of a policy.json
        *to_input,
    ]
)
test_transform = v2.Compose(to_input)


def main() -> torch.Tensor:
    """Reads one batch of training images, each with an augmentation of its own."""
    dataset = FakeData(size=64, image_size=(3, 32, 32), transform=train_transform)
    images, labels = next(iter(DataLoader(dataset, batch_size=32)))
    print(f"images {tuple(images.shape)} {images.dtype}, labels {tuple(labels.shape)}")
    return images


if __name__ == "__main__":
    main()
