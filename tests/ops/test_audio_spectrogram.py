"""The masks of SpecAugment on spectrograms."""

import numpy as np
import pytest
import torch

import policysearch
from policysearch.errors import InvalidValueError
from policysearch.policy import OpCall, Policy, Stage, SubPolicy


def policy_of(*calls):
    stages = tuple(Stage((call,)) for call in calls)
    return Policy((SubPolicy(stages),), "audio", "audio-1")


def masking(*calls, seed=0):
    return policysearch.load_policy(policy_of(*calls), seed=seed, representation="spectrogram")


def spectrograms(n=6, bands=40, frames=50, dtype=torch.float32):
    rng = np.random.default_rng([n, bands, frames])
    return torch.from_numpy(rng.normal(-5, 2, (n, bands, frames))).to(dtype)


TIME = OpCall("time_mask", 0.2, 0.2)
BANDS = OpCall("freq_mask", 0.25, 0.25)


def test_a_time_mask_takes_the_mean_over_whole_frames():
    x = spectrograms()
    y = masking(TIME)(x)
    is_masked = (y != x).any(dim=1)
    assert is_masked.sum(dim=1).tolist() == [10] * 6
    for before, after, where in zip(x, y, is_masked, strict=True):
        (places,) = where.nonzero(as_tuple=True)
        assert places[-1] - places[0] == 9
        torch.testing.assert_close(after[:, where], before.mean().expand(40, 10))
        assert torch.equal(after[:, ~where], before[:, ~where])


def test_a_frequency_mask_takes_the_mean_over_whole_bands():
    x = spectrograms()
    y = masking(BANDS)(x)
    is_masked = (y != x).any(dim=2)
    assert is_masked.sum(dim=1).tolist() == [10] * 6
    for before, after, where in zip(x, y, is_masked, strict=True):
        (places,) = where.nonzero(as_tuple=True)
        assert places[-1] - places[0] == 9
        torch.testing.assert_close(after[where], before.mean().expand(10, 50))
    assert len({tuple(row) for row in is_masked.tolist()}) > 1


def test_masks_reach_every_place_and_no_further():
    x = spectrograms(400, 8, 9)
    y = masking(OpCall("time_mask", 0.34, 0.34), OpCall("freq_mask", 0.25, 0.25))(x)
    by_frame = (y != x).float().mean(dim=(0, 1))
    by_band = (y != x).float().mean(dim=(0, 2))
    assert by_frame.min() > 0.3
    assert by_band.min() > 0.3


def test_a_second_mask_has_the_mean_of_the_whole_spectrogram():
    x = spectrograms()
    y = masking(OpCall("time_mask", 0.9, 0.9), BANDS)(x)
    for before, after in zip(x, y, strict=True):
        values = after[after != before]
        torch.testing.assert_close(values, before.mean().expand(len(values)))


def test_padding_is_neither_masked_nor_counted():
    x = spectrograms()
    lengths = [50, 30, 10, 5, 1, 20]
    noisy = x.clone()
    for row, length in zip(noisy, lengths, strict=True):
        row[:, length:] = 1e9
    y = masking(TIME, BANDS)(noisy, lengths=lengths)
    for before, after, length in zip(noisy, y, lengths, strict=True):
        assert torch.equal(after[:, length:], before[:, length:])
        assert after[:, :length].max() < 1e3


def test_a_spectrogram_does_not_depend_on_its_batch_and_is_not_touched():
    x = spectrograms()
    before = x.clone()
    masks = policysearch.load_policy("specaugment", seed=4, representation="spectrogram")
    together = masks(x, index=np.arange(6))
    assert torch.equal(x, before)
    for i in range(6):
        torch.testing.assert_close(masks(x[i], index=i), together[i])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (40, 1), (2, 3)])
def test_form_is_kept_at_any_size(dtype, size):
    x = spectrograms(3, *size, dtype=dtype)
    y = masking(OpCall("time_mask", 0, 1), OpCall("freq_mask", 0, 1))(x)
    assert y.shape == x.shape
    assert y.dtype == dtype
    assert y.isfinite().all()


def test_level_zero_masks_nothing_and_level_one_everything():
    x = spectrograms()
    assert torch.equal(masking(OpCall("time_mask", 0, 0))(x), x)
    everything = masking(OpCall("freq_mask", 1, 1))(x)
    torch.testing.assert_close(everything, x.mean(dim=(1, 2), keepdim=True).expand_as(x))


def test_operations_on_waveforms_are_refused():
    with pytest.raises(InvalidValueError, match=r"Op 'pitch' is for waveforms.*'specaugment'"):
        masking(OpCall("pitch", 2, 2))(spectrograms())


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"representation": "mel"}, "must be 'waveform' or 'spectrogram', got 'mel'"),
        ({"representation": "spectrogram", "sample_rate": 8000}, "are for waveforms"),
    ],
)
def test_what_is_told_must_fit(told, text):
    with pytest.raises(InvalidValueError, match=text):
        policysearch.load_policy("specaugment", **told)
    with pytest.raises(InvalidValueError, match="`representation` is for audio policies"):
        policysearch.load_policy("randaugment", representation="spectrogram")
    with pytest.raises(InvalidValueError, match="`sample_rate` is for waveforms"):
        masking(TIME)(spectrograms(), sample_rate=8000)
