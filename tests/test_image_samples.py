"""What users hold, as a batch and back."""

import numpy as np
import pytest
import torch
from PIL import Image

from policysearch.errors import InvalidValueError
from policysearch.modalities.image_samples import as_batch

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLOR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


@pytest.mark.parametrize(
    ("sample", "shape"),
    [
        (GRAY, (1, 1, 3, 4)),
        (GRAY[::-1, ::2], (1, 1, 3, 2)),
        (COLOR, (1, 3, 3, 4)),
        (COLOR.astype(np.uint16) * 1000, (1, 3, 3, 4)),
        ((COLOR / 255).astype(np.float32), (1, 3, 3, 4)),
        (COLOR / 255, (1, 3, 3, 4)),
        ((COLOR / 255).astype(np.float16), (1, 3, 3, 4)),
        (torch.from_numpy(COLOR), (1, 3, 4, 3)),
        (torch.from_numpy(COLOR)[None], (1, 3, 4, 3)),
        (torch.zeros(5, 1, 2, 2, dtype=torch.uint16), (5, 1, 2, 2)),
        (torch.zeros(5, 1, 2, 2, dtype=torch.bfloat16), (5, 1, 2, 2)),
        (torch.zeros(0, 1, 2, 2), (0, 1, 2, 2)),
        (Image.fromarray(GRAY), (1, 1, 3, 4)),
        (Image.fromarray(COLOR), (1, 3, 3, 4)),
        (Image.fromarray(np.dstack([COLOR, GRAY])), (1, 4, 3, 4)),
        (Image.fromarray(GRAY.astype(np.uint16) * 5000), (1, 1, 3, 4)),
    ],
)
def test_a_sample_goes_to_a_batch_and_back_unchanged(sample, shape):
    batch, restore = as_batch(sample)
    assert tuple(batch.shape) == shape
    back = restore(batch)
    assert type(back) is (Image.Image if isinstance(sample, Image.Image) else type(sample))
    if isinstance(sample, torch.Tensor):
        assert back.dtype == sample.dtype
        assert torch.equal(back, sample)
    else:
        assert getattr(back, "mode", None) == getattr(sample, "mode", None)
        assert np.asarray(back).dtype == np.asarray(sample).dtype
        np.testing.assert_array_equal(np.asarray(back), np.asarray(sample))


def test_channels_come_first_in_a_batch():
    batch, _ = as_batch(COLOR)
    assert torch.equal(batch[0, 2], torch.from_numpy(COLOR[:, :, 2]))


def test_an_array_that_must_not_be_written_to_is_taken():
    # Memory-mapped files and `np.asarray(pil_image)` are such arrays; torch warns of them.
    frozen = GRAY.copy()
    frozen.setflags(write=False)
    batch, _ = as_batch(frozen)
    batch.fill_(0)
    assert frozen.max() == 11


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        ([[1]], "must be a PIL image, a numpy array or a torch tensor, got list"),
        (None, "got NoneType"),
        ("a.png", "got str"),
        (GRAY.astype(np.int64), "dtype uint8, uint16 or floating, got int64"),
        (GRAY > 5, "got bool"),
        (GRAY.astype(complex), "got complex128"),
        (torch.zeros(1, 2, 2, dtype=torch.int32), "got int32"),
        (GRAY / 1.0, r"must lie in \[0, 1\], got 0 to 11\. Augment before"),
        (torch.full((1, 2, 2), -0.5), r"must lie in \[0, 1\], got -0\.5 to -0\.5"),
        (GRAY[None, None], r"\(H, W\) or \(H, W, C\), got shape \(1, 1, 3, 4\)\. For a batch"),
        (GRAY[0], r"\(H, W, C\), got shape \(4,\)"),
        (np.zeros((0, 4), np.uint8), r"got shape \(0, 4\)"),
        (np.zeros((3, 32, 32), np.uint8), r"channels last, got shape \(3, 32, 32\)\. Use x\.tra"),
        (GRAY.astype(">u2"), "native byte order, got >u2"),
        (torch.zeros(4, 4), r"\(C, H, W\) or a batch \(n, C, H, W\), got shape \(4, 4\)"),
        (torch.zeros(2, 1, 0, 4), r"must not be empty, got shape \(2, 1, 0, 4\)"),
        (torch.zeros(1, 2, 2, requires_grad=True), r"must not require grad.*x\.detach\(\)"),
        (Image.new("P", (2, 2)), r"mode I;16, L, RGB, RGBA, got 'P'\. Use image\.convert"),
        (Image.new("1", (2, 2)), "got '1'"),
        (Image.new("F", (2, 2)), "got 'F'"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(sample, text):
    with pytest.raises(InvalidValueError, match=text):
        as_batch(sample)
