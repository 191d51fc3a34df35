"""Strength over a training: what it does to draws, who says the progress, and any length."""

import copy
import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_strategies import POLICIES, classes_for
from torch.utils.data import DataLoader

from policysearch.draws import Drawer
from policysearch.errors import InvalidValueError
from policysearch.loading import AugmentedDataset
from policysearch.named import resolve_policy
from policysearch.ops.registry import OPS_VERSIONS, op_table
from policysearch.policy import Mix, OpCall, Policy, Schedule, Stage, SubPolicy
from policysearch.transform import PolicyTransform

RAMP = Schedule.even([0.0, 1.0])  # strength is progress
ROTATE = OpCall("rotate", 10, 20)
FLIP = OpCall("flip_horizontal")
N = 5_000
OPS = [(modality, name) for modality in OPS_VERSIONS for name in op_table(modality)]


def policy_of(*calls, probability=1.0, schedule=RAMP, **fields):
    stages = (Stage(calls, probability),)
    return Policy((SubPolicy(stages),), schedule=schedule, **fields)


def images(n=10):
    rng = np.random.default_rng(n)
    return torch.from_numpy(rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8))


@pytest.mark.parametrize(("modality", "name"), OPS)
def test_strength_scales_a_magnitude_from_level_zero_or_else_the_chance(modality, name):
    spec = op_table(modality)[name]
    ends = (None, None)
    if spec.has_magnitude:
        ends = sorted((spec.magnitude(0.25), spec.magnitude(1.0)))
    stage = Stage((OpCall(name, *ends),), 0.8)
    policy = Policy((SubPolicy((stage,)),), modality, OPS_VERSIONS[modality][0], schedule=RAMP)
    drawer = Drawer(policy, 0)
    full, half, none = (drawer.draw(range(N), 0, strength) for strength in (1.0, 0.5, 0.0))
    plain = Drawer(policy.at_full_strength(), 0).draw(range(N))
    np.testing.assert_array_equal(full.op_index, plain.op_index)
    np.testing.assert_array_equal(full.magnitude, plain.magnitude)
    assert (none.op_index == -1).all(), "strength 0 is no augmentation"
    share = (half.op_index >= 0).mean()
    if spec.has_magnitude and spec.is_identity_at_low:
        np.testing.assert_array_equal(half.op_index, full.op_index)
        np.testing.assert_array_equal(np.sign(half.magnitude), np.sign(full.magnitude))
        weaker = spec.low + 0.5 * (np.abs(full.magnitude) - spec.low)
        np.testing.assert_allclose(np.abs(half.magnitude), weaker, rtol=1e-12)
    elif name != "identity":
        np.testing.assert_array_equal(half.magnitude, full.magnitude)
        assert abs(share - 0.4) < 5 * (0.4 * 0.6 / N) ** 0.5  # five standard deviations
        assert (full.op_index[half.op_index >= 0] >= 0).all(), "what is weaker is a part of it"


@pytest.mark.parametrize(("modality", "name"), OPS)
def test_level_zero_is_at_zero_where_an_op_has_two_units(modality, name):
    spec = op_table(modality)[name]
    assert len(spec.units) < 2 or spec.low == 0, "drawing knows `low` in the first unit only"


@settings(deadline=None, max_examples=80)
@given(POLICIES, st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_strength_never_falls_as_progress_rises_on_a_rising_schedule(policy, progress):
    drawer = Drawer(dataclasses.replace(policy, schedule=RAMP), 3)
    early, late = (drawer.draw(range(20), 1, p, classes_for(policy, 20)) for p in sorted(progress))
    was_applied = early.op_index >= 0
    np.testing.assert_array_equal(early.op_index[was_applied], late.op_index[was_applied])
    rises = np.abs(late.magnitude) - np.abs(early.magnitude)
    assert (rises[was_applied] >= -1e-12 * np.abs(late.magnitude[was_applied])).all()


def test_strength_follows_the_knots_in_straight_lines():
    policy = policy_of(OpCall("rotate", 20, 20), schedule=Schedule(((0, 0.5), (0.2, 1), (1, 0))))
    progress = [0.0, 0.1, 0.2, 0.6, 0.9, 1.0]
    drawn = Drawer(policy, 0).draw(range(6), 0, progress)
    applied = np.abs(drawn.magnitude[:, 0]) * (drawn.op_index[:, 0] >= 0)
    np.testing.assert_allclose(applied, [10, 15, 20, 10, 2.5, 0])


@pytest.mark.parametrize("progress", [0.1, 0.25, 0.3, 0.7, 1.0])
def test_a_schedule_until_a_progress_holds_what_it_has_reached(progress):
    schedule = Schedule(((0, 0.3), (0.25, 0.9), (0.7, 0.123), (1, 1)))
    held = schedule.until(progress)
    at = np.linspace(0, 1, 101)

    def strength(schedule, at):
        return np.interp(at, *zip(*schedule.knots, strict=True))

    np.testing.assert_allclose(
        strength(held, at), strength(schedule, np.minimum(at, progress)), atol=1e-12
    )
    knots = [knot for knot in schedule.knots if knot[0] <= progress]
    assert list(held.knots[: len(knots)]) == knots
    assert held.until(progress) == held


def test_a_magnitude_below_that_of_level_zero_is_never_raised():
    drawer = Drawer(policy_of(OpCall("rotate", 5, 20)), 0)
    drawer._tables.weakest[:] = 12.0  # it is 0 for every image op
    full, half = (np.abs(drawer.draw(range(99), 0, s).magnitude) for s in (1, 0.5))
    np.testing.assert_allclose(half, np.where(full < 12, full, 12 + (full - 12) / 2))


def test_every_chain_of_a_mix_has_the_strength_of_its_sample():
    policy = policy_of(OpCall("rotate", 20, 20), mix=Mix(3))
    drawn = Drawer(policy, 0).draw(range(4), 0, [0, 0.25, 0.5, 1])
    for i, size in enumerate((None, 5, 10, 20)):
        magnitudes = [[abs(m) for _, m in chain] for chain in drawn.chains(i)]
        assert magnitudes == ([[]] * 3 if size is None else [[size]] * 3)
    np.testing.assert_array_equal(
        drawn.mix, Drawer(policy.at_full_strength(), 0).draw(range(4)).mix
    )
    transform = PolicyTransform(policy)
    transform.set_progress(0)
    x = images()
    assert torch.equal(transform(x), x), "averaging must not cost a level"


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan"), "half", [[0.5]], [0.5, 2]])
def test_a_progress_is_a_share(progress):
    with pytest.raises(InvalidValueError, match=r"`progress` must be a number in \[0, 1\]"):
        Drawer(policy_of(ROTATE), 0).draw([0, 1], 0, progress)
    with pytest.raises(InvalidValueError, match=r"`progress` must be a number in \[0, 1\]"):
        PolicyTransform(policy_of(ROTATE)).set_progress(progress)


def test_a_transform_has_one_progress():
    with pytest.raises(InvalidValueError, match=r"`progress` must be one number, got \[0"):
        PolicyTransform(policy_of(ROTATE)).set_progress([0.5, 0.6])


def test_a_schedule_without_progress_is_refused_and_says_what_to_call():
    transform, x = PolicyTransform(policy_of(ROTATE)), images()
    data = AugmentedDataset([(x[0], 0)], transform)
    for use, argument in ((transform, x), (transform, x[0]), (transform.draw, [0])):
        with pytest.raises(InvalidValueError, match=r"Call `transform\.set_progress\(epoch"):
            use(argument)
    with pytest.raises(InvalidValueError, match=r"AugmentedDataset\(dataset, transform, n_"):
        data[0]
    assert torch.equal(transform.eval()(x), x)


def test_a_policy_without_schedule_takes_no_notice_of_progress():
    plain, told = (PolicyTransform(policy_of(ROTATE, schedule=None)) for _ in range(2))
    told.set_progress(0.2)
    assert torch.equal(plain(images()), told(images()))
    data = AugmentedDataset([(x, 0) for x in images()], plain, n_epochs=1)
    assert [data[3] for _ in range(3)]


def test_a_transform_follows_what_it_is_told():
    x = images()
    told, full = (
        PolicyTransform(policy_of(ROTATE)),
        PolicyTransform(policy_of(ROTATE, schedule=None)),
    )
    told.set_progress(1.0)
    strong = [told(x), told(x, index=range(10)), torch.stack([told(one) for one in x])]
    for a, b in zip(strong, [full(x), full(x, index=range(10)), full(x)], strict=True):
        assert torch.equal(a, b)
    told.set_progress(0)  # in the midst of what was drawn ahead
    for y in (told(x), told(x, index=range(10)), torch.stack([told(one) for one in x])):
        assert torch.equal(y, x)


class Images:
    """A dataset that spawned workers can import."""

    def __init__(self, transform=None):
        self.transform = transform

    def __len__(self):
        return 10

    def __getitem__(self, index):
        x = images()[index]
        return (x if self.transform is None else self.transform(x, index=index)), index


LOADERS = [
    {"num_workers": 0},
    {"num_workers": 2, "multiprocessing_context": "fork", "persistent_workers": True},
    {"num_workers": 1, "multiprocessing_context": "spawn", "persistent_workers": True},
]


@pytest.mark.parametrize("options", LOADERS, ids=["alone", "fork", "spawn"])
def test_persistent_workers_hear_of_the_progress(options):
    transform = PolicyTransform(policy_of(ROTATE, FLIP), seed=1)
    loader = DataLoader(Images(transform), batch_size=5, **options)
    for progress in (0.0, 0.7, 1.0):
        transform.set_progress(progress)
        found = torch.cat([x for x, _ in loader])
        assert torch.equal(found, transform(images(), index=range(10)))
    assert not torch.equal(found, images())


@pytest.mark.parametrize("options", LOADERS[:2], ids=["alone", "fork"])
def test_an_augmented_dataset_stretches_a_schedule_over_its_epochs(options):
    policy = policy_of(ROTATE, FLIP)
    data = AugmentedDataset(Images(), PolicyTransform(policy, seed=1), n_epochs=4)
    loader = DataLoader(data, batch_size=5, **options)
    told = PolicyTransform(policy, seed=1)
    for epoch in range(4):
        told.set_progress((epoch + 0.5) / 4)
        expected = told(images(), index=range(10), epoch=epoch)
        assert torch.equal(torch.cat([x for x, _ in loader]), expected)
    with pytest.raises(InvalidValueError, match=r"more often than `n_epochs` \(4\) says"):
        list(loader)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_a_copy_hears_of_its_own_progress(copied):
    original = PolicyTransform(policy_of(ROTATE), seed=1)
    original.set_progress(0.5)
    other = copied(original)
    options = {"num_workers": 1, "multiprocessing_context": "fork", "persistent_workers": True}
    loader = DataLoader(Images(other), 10, **options)
    assert torch.equal(next(iter(loader))[0], original(images(), index=range(10)))
    other.set_progress(0)
    assert torch.equal(next(iter(loader))[0], images())
    assert not torch.equal(original(images(), index=range(10)), images())


@pytest.mark.parametrize("n_epochs", [0, -1, 2.5, True, "3"])
def test_a_number_of_epochs_is_a_whole_number(n_epochs):
    with pytest.raises(InvalidValueError, match="`n_epochs` must be a whole number above 0, got"):
        AugmentedDataset(Images(), PolicyTransform(policy_of(ROTATE)), n_epochs=n_epochs)


def test_one_file_is_equally_strong_at_equal_progress_in_a_training_of_any_length(golden_v3):
    def strengths(n_epochs):
        data = AugmentedDataset(Images(), PolicyTransform(golden_v3), n_epochs=n_epochs)
        visits = list(range(n_epochs))
        drawn = data.transform.draw([0] * n_epochs, 0, data._progress(visits))
        return np.abs(drawn.magnitude).sum(axis=1)

    short, long = strengths(10), strengths(300)
    # The middle of an epoch of the short training is a border between two of the long one.
    at_middle = (long[14::30] + long[15::30]) / 2
    np.testing.assert_allclose(short, at_middle, rtol=1e-9)
    np.testing.assert_allclose(short.mean(), long.mean(), rtol=1e-3)
    assert short[0] < short[3] > short[9], "it rises and falls again"


@pytest.fixture
def golden_v3():
    policy = resolve_policy(Path(__file__).parent / "golden" / "policy_v3.json").policy
    return dataclasses.replace(policy, sub_policies=policy.sub_policies[:1])
