"""Pinned meanings: files of versions 1 to 3 and what `image-1` makes of them.

A failure here says that a policy file in somebody's hands now means something else. Do not mend
the numbers: make a new `version` or `ops_version`, and keep these.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from policysearch.ops.registry import op_table
from policysearch.policy import Mix, OpCall, Policy, Schedule, Stage, SubPolicy
from policysearch.policy_json import (
    GeneratorSource,
    PolicyDocument,
    policy_to_dict,
    read_policy_file,
)
from policysearch.transform import PolicyTransform

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = json.loads((GOLDEN / "image_1.json").read_text())
MIXED = json.loads((GOLDEN / "mix_1.json").read_text())
SCHEDULED = json.loads((GOLDEN / "schedule_1.json").read_text())


def images(n):
    """Fixed bytes from integer arithmetic, which no library can change."""
    size = n * 3 * 20 * 24
    values = (np.arange(size, dtype=np.int64) * 40_503 % 65_521 >> 3) % 256
    smooth = values.reshape(n, 3, 20, 24) // 4 + np.arange(24) * 8
    return torch.from_numpy(smooth.astype(np.uint8))


def digest(x):
    return hashlib.sha256(np.ascontiguousarray(x.numpy()).tobytes()).hexdigest()[:16]


def one_op(name):
    spec = op_table("image")[name]
    low, high = (spec.magnitude(0.5), spec.magnitude(1.0)) if spec.has_magnitude else (None, None)
    return Policy(
        (SubPolicy((Stage((OpCall(name, low, high, unit=spec.unit),)),)),),
        interpolation="bilinear",
        fill=0.5,
    )


def test_the_policy_file_of_version_1_is_read_as_it_was():
    assert read_policy_file(GOLDEN / "policy_v1.json") == PolicyDocument(
        policy=Policy(
            sub_policies=(
                SubPolicy(
                    (
                        Stage((OpCall("rotate", 5.0, 18.0, unit="deg"),), 0.8),
                        Stage((OpCall("color", 0.6, 0.6, unit="fraction"),), 0.4),
                    ),
                    2.0,
                ),
                SubPolicy(
                    (
                        Stage(
                            (
                                OpCall("translate_x", 0.0, 4.0, 3.0, "px"),
                                OpCall("cutout", 0.25, 0.25, 1.5, "fraction"),
                                OpCall("identity", weight=1.0),
                            ),
                            0.9,
                        ),
                        Stage((OpCall("flip_horizontal"),), 0.5),
                    ),
                    1.0,
                ),
            ),
            modality="image",
            ops_version="image-1",
            interpolation="bilinear",
            fill=0.5,
        ),
        name="golden",
        provenance={
            "dataset_fingerprint": "0123456789abcdef",
            "space": "image/opwise",
            "seed": 0,
            "versions": {"policysearch": "0.1.0"},
            "trials": 200,
            "cost_seconds": 412.0,
        },
        verdict={"chosen": "found", "decision": "better", "arms": []},
    )


def test_the_policy_file_of_version_1_is_written_as_it_was():
    data = json.loads((GOLDEN / "policy_v1.json").read_text())
    assert policy_to_dict(read_policy_file(GOLDEN / "policy_v1.json")) == data


def test_the_policy_file_of_version_2_is_that_of_version_1_with_a_mix():
    first, second = (read_policy_file(GOLDEN / f"policy_v{i}.json") for i in (1, 2))
    assert second.policy == dataclasses.replace(first.policy, mix=Mix(width=2, alpha=0.5))
    assert dataclasses.replace(second, policy=first.policy) == first


def test_the_policy_file_of_version_2_is_written_as_it_was():
    data = json.loads((GOLDEN / "policy_v2.json").read_text())
    assert policy_to_dict(read_policy_file(GOLDEN / "policy_v2.json")) == data


def test_the_policy_file_of_version_3_is_that_of_version_2_with_a_schedule():
    second, third = (read_policy_file(GOLDEN / f"policy_v{i}.json") for i in (2, 3))
    schedule = Schedule(((0.0, 0.25), (0.4, 1.0), (1.0, 0.5)))
    assert third.policy == dataclasses.replace(second.policy, schedule=schedule)
    assert dataclasses.replace(third, policy=second.policy) == second


def test_the_policy_file_of_version_3_is_written_as_it_was():
    data = json.loads((GOLDEN / "policy_v3.json").read_text())
    assert policy_to_dict(read_policy_file(GOLDEN / "policy_v3.json")) == data


def test_the_policy_file_of_version_4_is_that_of_version_3_with_classes_and_a_generator():
    third, fourth = (read_policy_file(GOLDEN / f"policy_v{i}.json") for i in (3, 4))
    assert fourth.policy == dataclasses.replace(third.policy, class_probability=(0.25, 1.0, 0.5))
    assert fourth.generator == GeneratorSource("vae", "generator.safetensors")
    assert dataclasses.replace(fourth, policy=third.policy, generator=None) == third


def test_the_policy_file_of_version_4_is_written_as_it_was():
    data = json.loads((GOLDEN / "policy_v4.json").read_text())
    assert policy_to_dict(read_policy_file(GOLDEN / "policy_v4.json")) == data


@pytest.mark.parametrize(
    ("version", "digest"),
    [
        (1, "d1b8f69e1b1c5a87"),
        (2, MIXED["digest"]),
        (3, SCHEDULED["digest"]),
        (4, "5b41b0c840557b11"),
    ],
)
def test_a_policy_has_the_digest_it_had(version, digest):
    assert read_policy_file(GOLDEN / f"policy_v{version}.json").policy.digest() == digest


def test_no_augmentation_has_the_digest_it_had():
    assert Policy().digest() == "8908ed07bc019db4"


def test_a_mixed_policy_and_a_seed_draw_what_they_drew():
    policy = read_policy_file(GOLDEN / "policy_v2.json").policy
    drawn = PolicyTransform(policy, seed=7).draw(range(12), epoch=1)
    for i, (chains, weights) in enumerate(zip(MIXED["chains"], MIXED["mix"], strict=True)):
        for chain, expected in zip(drawn.chains(i), chains, strict=True):
            assert [name for name, _ in chain] == [name for name, _ in expected]
            assert [m for _, m in chain] == pytest.approx([m for _, m in expected], rel=1e-12)
        assert drawn.mix[i] == pytest.approx(weights, rel=1e-9)


def test_a_mixed_policy_and_a_seed_make_the_pixels_they_made():
    policy = read_policy_file(GOLDEN / "policy_v2.json").policy
    y = PolicyTransform(policy, seed=7)(images(12), index=range(12), epoch=1)
    assert digest(y) == MIXED["pixels"]


@pytest.mark.parametrize("progress", SCHEDULED["at"])
def test_a_scheduled_policy_a_seed_and_a_progress_draw_and_make_what_they_did(progress):
    policy = read_policy_file(GOLDEN / "policy_v3.json").policy
    transform = PolicyTransform(policy, seed=7)
    transform.set_progress(float(progress))
    expected = SCHEDULED["at"][progress]
    drawn = transform.draw(range(12), epoch=1)
    assert (drawn.op_index >= 0).sum(axis=1).tolist() == expected["n_applied"]
    assert np.abs(drawn.magnitude).sum(axis=1) == pytest.approx(expected["magnitude"], rel=1e-12)
    assert digest(transform(images(12), index=range(12), epoch=1)) == expected["pixels"]


def test_a_policy_and_a_seed_draw_what_they_drew():
    policy = read_policy_file(GOLDEN / "policy_v1.json").policy
    drawn = PolicyTransform(policy, seed=7).draw(range(12), epoch=1)
    names = [drawn.names(i) for i in range(12)]
    assert [[name for name, _ in sample] for sample in names] == [
        [name for name, _ in sample] for sample in EXPECTED["drawn"]
    ]
    for sample, expected in zip(names, EXPECTED["drawn"], strict=True):
        assert [m for _, m in sample] == pytest.approx([m for _, m in expected], rel=1e-12)


def test_a_policy_and_a_seed_make_the_pixels_they_made():
    policy = read_policy_file(GOLDEN / "policy_v1.json").policy
    y = PolicyTransform(policy, seed=7)(images(12), index=range(12), epoch=1)
    assert digest(y) == EXPECTED["pixels"]


FLAT = [spec.name for spec in op_table("image").values() if not spec.needs_depth]
DEEP = [spec.name for spec in op_table("image").values() if spec.needs_depth]


@pytest.mark.parametrize("name", FLAT)
def test_every_op_of_image_1_makes_the_pixels_it_made(name):
    x = images(8)
    y = PolicyTransform(one_op(name), seed=3)(x, index=range(8))
    if name in EXPECTED["samples_of_pixels"]:
        # Transforms and powers may round otherwise elsewhere.
        sample = y.flatten()[::241].to(torch.int64)
        expected = torch.tensor(EXPECTED["samples_of_pixels"][name])
        assert (sample - expected).abs().max() <= 1
    else:
        assert digest(y) == EXPECTED["ops"][name]
    assert torch.equal(y, x) == (name == "identity")


@pytest.mark.parametrize("name", DEEP)
def test_every_op_of_image_1_on_volumes_makes_the_voxels_it_made(name):
    x = images(8).view(4, 1, 6, 20, 24)
    y = PolicyTransform(one_op(name), seed=3)(x, index=range(4))
    sample = y.flatten()[::241].to(torch.int64)
    expected = torch.tensor(EXPECTED["samples_of_voxels"][name])
    assert (sample - expected).abs().max() <= 1
    assert not torch.equal(y, x)
