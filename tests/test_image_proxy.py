"""The image proxy: a training that belongs to its seed alone, and a score on clean data."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from torch import nn

from policysearch.data.dataset import Dataset
from policysearch.data.source import load_source
from policysearch.data.splits import SearchData
from policysearch.errors import InvalidValueError
from policysearch.metrics import scores
from policysearch.named import resolve_policy
from policysearch.objectives.from_scratch import FromScratch
from policysearch.policy import OpCall, Policy, Schedule, Stage, SubPolicy
from policysearch.proxies import training
from policysearch.proxies.image import (
    ImageProxy,
    ImageProxyConfig,
    build_network,
    config_for,
    default_epochs,
    to_unit,
)
from policysearch.trial import Replicate, Task

UNIFORM = resolve_policy("uniformaugment").policy
CONFIG = ImageProxyConfig(width=4, batch_size=16)


def stripes(n=40, channels=1, side=8, dtype=np.uint8):
    """Two classes, upright and flat stripes with noise."""
    rng = np.random.default_rng(0)
    y = np.arange(n, dtype=np.int64) % 2
    wave = np.sin(np.arange(side) * 2.0)
    upright = np.broadcast_to(wave, (side, side))
    base = np.where(y[:, None, None], upright, upright.T)[:, None]
    values = 0.5 + 0.2 * base + rng.normal(0, 0.1, (n, channels, side, side))
    scale = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    return Dataset((np.clip(values, 0, 1) * scale).astype(dtype), y, ("flat", "upright"))


def trained(data, policy=UNIFORM, n_epochs=2, seed=1, config=CONFIG):
    proxy = ImageProxy(data, policy, n_epochs, seed, config)
    proxy.fit()
    return proxy


def scored(proxy, data):
    return scores(proxy.predict(data), data.y)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def global_states():
    return (
        random.getstate(),
        tuple(map(str, np.random.get_state())),  # noqa: NPY002
        tuple(torch.get_rng_state().tolist()),
    )


def test_a_training_belongs_to_its_seed_and_to_no_global_generator():
    data, results = stripes(), []
    for poison in (0, 99):
        random.seed(poison)
        np.random.seed(poison)  # noqa: NPY002
        torch.manual_seed(poison)
        before = global_states()
        proxy = trained(data)
        results.append((scored(proxy, data), weights(proxy.network)))
        assert global_states() == before
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(weights(trained(data, seed=2).network), results[0][1])


def test_policies_with_one_seed_start_from_the_same_weights():
    data = stripes()
    a, b = (ImageProxy(data, policy, 2, 7, CONFIG) for policy in (UNIFORM, Policy()))
    assert torch.equal(weights(a.network), weights(b.network))
    a.fit(), b.fit()
    assert not torch.equal(weights(a.network), weights(b.network))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 8), (3, 32), (1, 64)])
def test_images_of_many_forms_are_learned(dtype, channels, side):
    data = stripes(24, channels, side, dtype)
    metrics = scored(trained(data, n_epochs=6), data)
    assert metrics["accuracy"] > 0.9
    assert 0 < metrics["log_loss"] < 0.6  # guessing gives 0.693


def test_the_dtype_of_the_same_images_does_not_matter():
    data = stripes()
    wide = Dataset((data.x.astype(np.uint16) * 257), data.y, data.classes)
    losses = [scored(trained(d, Policy()), d)["log_loss"] for d in (data, wide)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_evaluation_is_on_clean_data_in_eval_mode_and_changes_nothing(monkeypatch):
    data = stripes()
    proxy = trained(data, resolve_policy("randaugment").policy)
    before = weights(proxy.network)
    first = scored(proxy, data)
    assert not proxy.network.training
    assert scored(proxy, data) == first
    monkeypatch.setattr(training, "PREDICT_BATCH", 7)
    assert scored(proxy, data) == pytest.approx(first, rel=1e-5)
    assert torch.equal(weights(proxy.network), before)
    unit = data.x / np.float32(255)
    mean, std = unit.mean((0, 2, 3), keepdims=True), unit.std((0, 2, 3), keepdims=True, ddof=1)
    with torch.inference_mode():
        logits = proxy.network(torch.from_numpy((unit - mean) / std))
        by_hand = nn.functional.cross_entropy(logits, torch.from_numpy(data.y))
    assert first["log_loss"] == pytest.approx(float(by_hand), rel=1e-4)


def test_the_training_data_are_augmented_and_left_as_they_are():
    data = stripes()
    before = data.x.copy()
    batches = [x for x, _ in ImageProxy(data, UNIFORM, 2, 0, CONFIG)._batches(range(2))]
    plain = [x for x, _ in ImageProxy(data, Policy(), 2, 0, CONFIG)._batches(range(2))]
    np.testing.assert_array_equal(data.x, before)
    assert not torch.equal(torch.cat(batches), torch.cat(plain))
    first, second = torch.cat(plain[:3]), torch.cat(plain[3:])
    assert not torch.equal(first, second)
    order = [torch.cat(part).flatten(1).sum(1).sort().values for part in (plain[:3], plain[3:])]
    torch.testing.assert_close(*order)


def test_data_that_must_not_be_written_to_can_be_trained_on():
    data = stripes()
    data.x.setflags(write=False)
    assert scored(trained(data), data)["log_loss"] > 0


def test_weights_have_the_spread_of_he_initialisation():
    network = build_network((3, 32, 32), 10, 16, seed=0)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            z = module.weight.detach().std() * (module.weight[0].numel() / 2) ** 0.5
            assert abs(float(z) - 1) < 6 / (2 * module.weight.numel()) ** 0.5
    assert not network[-1].bias.any()


def test_images_become_floats_between_zero_and_one():
    assert to_unit(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [0.0, 1.0]
    assert to_unit(torch.tensor([0, 65535], dtype=torch.uint16)).tolist() == [0.0, 1.0]
    assert to_unit(torch.tensor([0.25])).tolist() == [0.25]


def test_small_datasets_are_trained_longer_within_bounds():
    assert [default_epochs(n) for n in (1, 100, 1000, 10_000, 10**9)] == [250, 190, 60, 34, 10]
    assert config_for(stripes(40)).batch_size < config_for(stripes(1200)).batch_size


@pytest.mark.parametrize("device", ["nonsense", "meta", "cuda:99", ""])
def test_device_that_torch_cannot_compute_on_is_refused(device):
    data = load_source("digits").train.take(range(20))
    with pytest.raises(InvalidValueError, match="`--device` must be one"):
        config_for(data, device)


def test_augmented_data_are_judged_by_several_draws_of_few_samples():
    data = stripes()
    proxy = trained(data, n_epochs=20)
    before = weights(proxy.network)
    clean = scored(proxy, data)
    assert scores(*proxy.predict_augmented(data, Policy())) == pytest.approx(clean, abs=1e-6)
    inverted = Policy((SubPolicy((Stage((OpCall("rotate", 90.0, 90.0, unit="deg"),)),)),))
    turned = scores(*proxy.predict_augmented(data, inverted))
    assert turned["log_loss"] > clean["log_loss"] + 0.5
    assert turned == scores(*proxy.predict_augmented(data, inverted))
    assert all(torch.equal(a, b) for a, b in zip(before, weights(proxy.network), strict=True))


def test_probes_are_answered_beside_a_score_that_they_do_not_change():
    data = stripes()
    folds = ((np.arange(20), np.arange(20, 40)),)
    objective = FromScratch(SearchData(data, folds), CONFIG)
    plain = objective.evaluate(Task("t", UNIFORM, (Replicate(0, 1),), 3))
    probed = objective.evaluate(
        Task("t", UNIFORM, (Replicate(0, 1),), 3, probes={"none@1": Policy(), "all@1": UNIFORM})
    )
    [metrics] = probed.metrics
    assert probed.score == plain.score
    assert metrics["none@1:accuracy"] == metrics["accuracy"]
    assert metrics["all@1:log_loss"] != metrics["log_loss"]


def test_the_strength_of_the_augmentation_follows_the_progress_of_the_training():
    data, n_epochs = stripes(400), 5
    invert = Policy((SubPolicy((Stage((OpCall("invert"),)),)),), schedule=Schedule.even([0, 1]))
    config, every = ImageProxyConfig(batch_size=400), range(n_epochs)
    batches = ImageProxy(data, invert, n_epochs, 0, config)._batches(every)
    plain = ImageProxy(data, Policy(), n_epochs, 0, config)._batches(every)
    for epoch, ((x, _), (clean, _)) in enumerate(zip(batches, plain, strict=True)):
        share = float((x != clean).flatten(1).any(1).double().mean())
        strength = (epoch + 0.5) / n_epochs
        assert abs(share - strength) < 5 * (strength * (1 - strength) / 400) ** 0.5


def test_full_strength_throughout_trains_as_no_schedule_does():
    data = stripes()
    full = dataclasses.replace(UNIFORM, schedule=Schedule.even([1, 1, 1]))
    assert torch.equal(weights(trained(data, full).network), weights(trained(data).network))
    half = dataclasses.replace(UNIFORM, schedule=Schedule.even([0.5, 0.5]))
    assert not torch.equal(weights(trained(data, half).network), weights(trained(data).network))
