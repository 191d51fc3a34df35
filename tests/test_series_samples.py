"""What users hold of time series, as a batch and back, and through a transform."""

import numpy as np
import pytest
import torch

import policysearch
from policysearch.errors import FormatError, InvalidValueError
from policysearch.modalities import modality_of
from policysearch.policy import Mix, OpCall, Policy, Stage, SubPolicy
from policysearch.transform import PolicyTransform

SERIES = modality_of("series")
WAVE = np.sin(np.arange(24, dtype=np.float32)).reshape(2, 12)


def policy_of(*calls, probability=1.0, mix=None):
    stages = tuple(Stage((call,), probability) for call in calls)
    return Policy((SubPolicy(stages),), "series", "series-1", mix=mix)


JITTER = policy_of(OpCall("jitter", 0.05, 0.1, unit="std"))
WARP = policy_of(OpCall("time_warp", 0.2, 0.4, unit="fraction"))


@pytest.mark.parametrize(
    ("sample", "shape"),
    [
        (WAVE[0], (1, 1, 12)),
        (WAVE, (1, 2, 12)),
        (WAVE[None], (1, 2, 12)),
        (np.stack([WAVE, WAVE]), (2, 2, 12)),
        (WAVE.astype(np.float64)[::-1, ::2], (1, 2, 6)),
        (WAVE.astype(np.float16), (1, 2, 12)),
        (torch.from_numpy(WAVE), (1, 2, 12)),
        (torch.zeros(5, 1, 3, dtype=torch.bfloat16), (5, 1, 3)),
        (torch.zeros(0, 1, 3), (0, 1, 3)),
    ],
)
def test_a_sample_goes_to_a_batch_and_back_unchanged(sample, shape):
    batch, restore = SERIES.take_in(sample)
    assert tuple(batch.x.shape) == shape
    back = restore(batch.x)
    assert type(back) is type(sample)
    assert back.dtype == sample.dtype
    assert back.shape == sample.shape
    assert (back == sample).all()


def test_an_array_that_must_not_be_written_to_is_taken():
    frozen = WAVE.copy()
    frozen.setflags(write=False)
    out = PolicyTransform(JITTER)(frozen)
    assert isinstance(out, np.ndarray)
    assert (frozen == WAVE).all()
    assert (out != WAVE).any()


@pytest.mark.parametrize(
    ("sample", "lengths", "text"),
    [
        ([[1.0]], None, "numpy array or a torch tensor, got list"),
        (WAVE.astype(np.int32), None, r"must be floating, got int32\. Use x\.astype"),
        (torch.zeros(1, 2, dtype=torch.int64), None, "must be floating, got int64"),
        (WAVE.astype(np.longdouble), None, "must be floating"),
        (WAVE.astype(complex), None, "got complex128"),
        (torch.zeros(2, 2, requires_grad=True), None, "must not require grad"),
        (np.zeros((2, 2, 2, 2)), None, r"got shape \(2, 2, 2, 2\)"),
        (np.zeros((2, 0)), None, r"none of C and L 0, got shape \(2, 0\)"),
        (np.array([1.0, np.inf]), None, "must be finite, or NaN.*got infinity"),
        (WAVE, [12, 12], "one whole number"),
        (WAVE, 13, r"in \[1, 12\].*got 13 to 13"),
        (WAVE, 0, r"in \[1, 12\]"),
        (WAVE, 3.5, "must be one whole number, got 3.5"),
        (np.stack([WAVE, WAVE]), [3], "must be 2 whole numbers"),
    ],
)
def test_what_is_no_series_is_refused_with_what_to_do(sample, lengths, text):
    with pytest.raises(InvalidValueError, match=text):
        SERIES.take_in(sample, lengths)


def test_lengths_of_images_are_refused():
    with pytest.raises(InvalidValueError, match="images have none"):
        policysearch.load_policy("randaugment")(torch.zeros(1, 3, 4, 4), lengths=[3])


def test_a_batch_equals_its_samples_one_by_one():
    x = torch.randn(6, 2, 30, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([30, 12, 25, 3, 30, 9])
    transform = PolicyTransform(policy_of(*(c for _, c in JITTER.calls()), OpCall("sign_flip")), 3)
    batch = transform(x, index=range(6), lengths=lengths)
    for i in range(6):
        one = transform(x[i], index=i, lengths=lengths[i])
        torch.testing.assert_close(one, batch[i], rtol=0, atol=2e-6)
        assert torch.equal(one[:, lengths[i] :], x[i, :, lengths[i] :])


def test_draws_are_a_function_of_seed_epoch_and_index():
    x = torch.from_numpy(np.stack([WAVE, WAVE]))
    transform = PolicyTransform(WARP, seed=1)
    first = transform(x, index=[4, 5], epoch=2)
    assert torch.equal(PolicyTransform(WARP, seed=1)(x, index=[4, 5], epoch=2), first)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(transform(x, index=[4, 5], epoch=3), first)
    assert torch.equal(transform.replay(x, transform.draw([4, 5], 2)), first)


def test_calls_without_an_index_draw_afresh_and_evaluation_leaves_alone():
    transform = PolicyTransform(WARP)
    assert (transform(WAVE) != transform(WAVE)).any()
    assert transform.eval()(WAVE) is WAVE


def test_targets_pass_through():
    x, y = PolicyTransform(JITTER)(torch.from_numpy(WAVE), 3)
    assert x.shape == (2, 12)
    assert y == 3


def test_a_dataset_is_augmented_sample_by_sample():
    data = [(torch.from_numpy(WAVE), 0), (torch.from_numpy(WAVE[:, :7]), 1)]
    augmented = policysearch.AugmentedDataset(data, PolicyTransform(WARP, seed=2))
    (a, _), (b, label) = augmented.__getitems__([0, 1])
    assert (a.shape, b.shape, label) == ((2, 12), (2, 7), 1)
    assert torch.equal(a, PolicyTransform(WARP, seed=2)(data[0][0], index=0, epoch=0))


def test_chains_are_averaged_without_a_bound_on_values():
    x = torch.randn(5, 2, 30, generator=torch.Generator().manual_seed(0)) * 100
    flip = policy_of(OpCall("sign_flip"), mix=Mix(width=2, alpha=1.0))
    out = PolicyTransform(flip, seed=0)(x, index=range(5))
    mean = x.mean(dim=2, keepdim=True)
    share = ((out - mean) / (x - mean)).flatten(1)
    spread = share.amax(dim=1) - share.amin(dim=1)
    assert spread.max() < 1e-2, "flipped and itself, in one share per sample"
    assert share.min() > -1.001
    assert share.max() < 1.001


def test_a_mixed_policy_respects_lengths():
    x = torch.randn(5, 2, 30, generator=torch.Generator().manual_seed(0))
    mixing = PolicyTransform(policy_of(OpCall("sign_flip"), mix=Mix(width=3)), seed=0)
    out = mixing(x, index=range(5), lengths=[30, 10, 20, 5, 1])
    for i, length in enumerate([30, 10, 20, 5, 1]):
        torch.testing.assert_close(out[i, :, length:], x[i, :, length:])


def test_a_policy_of_another_kind_is_refused_by_its_ops():
    wrong = Policy((SubPolicy((Stage((OpCall("rotate", 1, 2, unit="deg"),)),)),), "series")
    with pytest.raises(FormatError, match="Unknown series op 'rotate'") as caught:
        PolicyTransform(wrong)
    assert "`ops_version` must be one of series-1, got 'image-1'" in str(caught.value)
