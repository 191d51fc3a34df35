"""The contract of all image operations."""

import pytest
import torch
from contracts.kernel_calls import apply_stage
from contracts.modality_contract import ModalityContract
from contracts.op_contract import (
    FloatAgreesWithLevels,
    IdentityContract,
    MagnitudeContract,
    OpContract,
    bendable,
    images,
    volumes,
)

from policysearch.errors import InvalidValueError, UnknownNameError
from policysearch.modalities import Batch
from policysearch.ops.image_kernels import ImageSettings


class TestImageOps(OpContract):
    pass


class TestMagnitudes(MagnitudeContract):
    pass


class TestIdentities(IdentityContract):
    pass


class TestFloatImages(FloatAgreesWithLevels):
    pass


class TestImagesAsAnyOtherKind(ModalityContract):
    modality = "image"

    def samples(self, n):
        return Batch(images(n, 3, 20, 18, torch.float32))

    def samples_for(self, spec, n):
        return Batch(volumes(n, 3, 12, 18, torch.float32)) if spec.needs_depth else self.samples(n)

    def strength_samples(self, spec):
        if spec.needs_depth:
            return Batch(bendable(spec, torch.float32))
        # A bend by a twelfth of a side is to be more than a pixel.
        side = 64 if spec.name == "elastic" else 20
        return Batch(images(64, 3, side, side, torch.float32))

    def edges(self):
        return {
            "one pixel": Batch(images(4, 3, 1, 1, torch.uint8)),
            "black": Batch(torch.zeros(4, 1, 8, 8)),
            "one column": Batch(images(4, 2, 9, 1, torch.uint16)),
            "one slice": Batch(volumes(4, 1, 1, 9, torch.float32)),
            "two slices": Batch(volumes(4, 2, 2, 9, torch.uint8)),
        }


def call(x, ops=("invert",), index=0, magnitude=0.0, drawn=(16,)):
    n = len(x)
    return apply_stage(
        x,
        list(ops),
        torch.full((n,), index),
        torch.full((n,), magnitude, dtype=torch.float64),
        torch.zeros((n, *drawn), dtype=torch.float64),
        ImageSettings(),
    )


def test_untouched_uint16_keeps_every_level():
    x = torch.arange(65536, dtype=torch.int32).to(torch.uint16).view(1, 1, 256, 256)
    both = torch.cat([x, x])
    index = torch.tensor([0, -1])
    zeros = torch.zeros(2, dtype=torch.float64)
    draws = torch.zeros((2, 16), dtype=torch.float64)
    y = apply_stage(both, ["flip_horizontal"], index, zeros, draws, ImageSettings())
    assert torch.equal(y[1], x[0])
    assert torch.equal(y[0].to(torch.int32), x[0].to(torch.int32).flip(-1))


def test_an_unknown_op_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'rotate'"):
        call(images(1, 3, 4, 4, torch.uint8), ops=("rotat",))


@pytest.mark.parametrize(
    ("x", "arguments", "text"),
    [
        (torch.zeros(3, 4, 4), {}, "shape"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), {}, "uint8"),
        (torch.zeros(1, 3, 4, 4), {"index": 1}, "op_index"),
        (torch.zeros(1, 3, 4, 4), {"index": -2}, "op_index"),
        (torch.zeros(1, 3, 4, 4), {"drawn": ()}, "draws"),
    ],
)
def test_wrong_arguments_say_which_rule_they_break(x, arguments, text):
    with pytest.raises(InvalidValueError, match=text):
        call(x, **arguments)
