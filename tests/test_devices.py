"""Samples, networks and trainings on another device than the CPU.

`pretended` runs everywhere and shows that everything is moved that must be; `cuda` runs where
there is a GPU, and shows that its kernels give the same values.
"""

import contextlib
import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from contracts.objective_contract import CONFIG, MILD, STRONG, search_data, task
from contracts.op_contract import images, samples
from ops.test_company_ops import CASES as COMPANY_CASES
from ops.test_company_ops import N_CLASSES, OPTIONS, at, model_for, plain, policy_of, waves
from pretend_device import DEVICE, PretendDevice
from test_company_proxies import data_of
from test_tabular_search import rows
from test_text_proxy import texts

import policysearch
from policysearch import cli
from policysearch.data.dataset import Dataset
from policysearch.data.splits import FinalData
from policysearch.named import resolve_policy
from policysearch.objectives.choose import OBJECTIVES
from policysearch.objectives.from_scratch import FinalTraining
from policysearch.ops.registry import all_ops, op_table
from policysearch.policy import OpCall, Policy
from policysearch.proxies.base import settings_for
from policysearch.proxies.image import ImageProxy
from policysearch.resources import policy_files

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
TENSORS = ("image", "series", "audio", "tabular")
OPS = [(modality, name) for modality in TENSORS for name in op_table(modality)]


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=NO_GPU)])
def other(request, monkeypatch):
    """Within it a device beside the CPU can be computed on."""
    if request.param == "cuda":
        return contextlib.nullcontext()
    load = torch.load  # which places tensors below the functions that can be watched
    monkeypatch.setattr(torch, "load", lambda f, _device, **how: load(f, "cpu", **how))
    monkeypatch.setattr(ImageProxy, "is_replayable", False)  # there is nothing to record
    return PretendDevice()


def call(modality, name, level):
    """An operation at a level, where it has one."""
    return at(modality, name, level) if all_ops(modality)[name].has_magnitude else OpCall(name)


def assert_alike(found, expected):
    """The same values but for rounding, which may take another pixel here and there."""
    assert found.device.type == "cuda"
    assert found.dtype == expected.dtype
    found = found.cpu()
    apart = (found.to(torch.float64) - expected.to(torch.float64)).abs()
    assert torch.equal(torch.isnan(found), torch.isnan(expected))
    bound = 1 if not found.is_floating_point() else 1e-3 * (1 + expected.abs())
    assert (apart.nan_to_num() <= bound).to(torch.float64).mean() > 0.99


def transformed(policy, x, y=None, on="cpu", fits=None, model=None):
    """What a transform makes of samples on a device."""
    options = OPTIONS.get(policy.modality, {})
    transform = policysearch.load_policy(policy, seed=5, n_classes=N_CLASSES, **options)
    if fits is not None:
        transform.fit(fits.to(on), (torch.arange(len(fits)) % N_CLASSES).to(on))
    x = x.to(on)
    if y is None:
        return transform(x)
    return transform(x, y.to(on), model=None if model is None else model.to(on))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32], ids=str)
@pytest.mark.parametrize("name", op_table("image"))
def test_image_operations(other, name, dtype):
    x = samples(op_table("image")[name], 6, 3, 17, 20, dtype)
    policy = policy_of("image", call("image", name, 0.7))
    expected = transformed(policy, x)
    with other:
        assert_alike(transformed(policy, x, on=DEVICE), expected)


@pytest.mark.parametrize(("modality", "name"), [c for c in OPS if c[0] != "image"])
def test_operations_on_other_tensors(other, modality, name):
    x, y = waves(modality, 12), torch.arange(12) % N_CLASSES
    fits = waves(modality, 20) if modality == "tabular" else None
    policy = policy_of(modality, call(modality, name, 0.7))
    expected = transformed(policy, x, y, fits=fits)[0]
    with other:
        assert_alike(transformed(policy, x, y, DEVICE, fits)[0], expected)


@pytest.mark.parametrize(("modality", "name"), COMPANY_CASES)
def test_operations_in_company(other, modality, name):
    x, y = waves(modality, 12), torch.arange(12) % N_CLASSES
    policy = policy_of(modality, plain(modality), call(modality, name, 0.7))
    fits = None if modality == "audio" else waves(modality, 20)
    model = model_for(modality) if all_ops(modality)[name].needs_model else None
    expected = transformed(policy, x, y, fits=fits, model=model)
    with other:
        found = transformed(policy, x, y, DEVICE, fits, model)
        for one, its in zip(found, expected, strict=True):
            assert_alike(one, its)


@pytest.mark.parametrize("name", policy_files())
def test_named_policies(other, name):
    policy = resolve_policy(name).policy
    if policy.modality not in TENSORS:
        pytest.skip("texts are no tensors")
    x, y = waves(policy.modality, 16), torch.arange(16) % N_CLASSES
    fits = waves(policy.modality, 20) if policy.modality == "tabular" else None
    expected = transformed(policy, x, y, fits=fits)
    with other:
        found = transformed(policy, x, y, DEVICE, fits)
        for one, its in zip(found, expected, strict=True):
            assert_alike(one, its)


def test_masks(other):
    x = images(4, 1, 16, 16, torch.uint8)
    mask = (x > 100).to(torch.int64)
    with other:
        transform = policysearch.load_policy("trivialaugment-wide", seed=2)
        found = transform(x.to(DEVICE), mask=mask.to(DEVICE), index=range(4))
        expected = transform(x, mask=mask, index=range(4))
        for one, its in zip(found, expected, strict=True):
            assert_alike(one, its)


def data_for(modality):
    """Two classes that a network tells apart."""
    if modality == "volume":
        flat = data_of("image", 12)
        return Dataset(np.repeat(flat.x[:, :, None], 6, axis=2), flat.y, flat.classes)
    made = {"text": texts, "tabular": rows}.get(modality)
    return data_of(modality) if made is None else made(40)


@pytest.mark.parametrize("modality", ["image", "volume", "series", "audio", "tabular", "text"])
@pytest.mark.parametrize("what", ["none", "default", "company"])
def test_trainings(other, modality, what):
    kind = "image" if modality == "volume" else modality
    policy = Policy((), kind, f"{kind}-1")
    if what == "default":
        policy = resolve_policy(f"default-{kind}").policy
    elif what == "company":
        if kind == "text":
            pytest.skip("no operation on texts needs company")
        names = [name for m, name in COMPANY_CASES if m == kind]
        policy = policy_of(kind, plain(kind), *(call(kind, name, 0.3) for name in names))
    data = data_for(modality)
    with other:
        settings = settings_for(data, "cuda")
        proxy, again = (settings.make(data, policy, 2, 3) for _ in range(2))
        proxy.fit()
        again.fit_until(2, again.fit_until(1))
        first, second = proxy.predict(data), again.predict(data)
        seen, _ = proxy.predict_augmented(data, policy, n_copies=1)
    assert np.isfinite(first).all()
    assert np.isfinite(seen).all()
    # A GPU adds up in any order, and an attack follows the sign of what may be nearly zero.
    apart = np.abs(np.exp(first) - np.exp(second))
    on_gpu = 0.1 if what == "company" else 0.01
    assert apart.mean() < (1e-6 if isinstance(other, PretendDevice) else on_gpu)
    on_cpu = settings_for(data).make(data, policy, 2, 3)
    on_cpu.fit()
    if what == "none":
        np.testing.assert_allclose(np.exp(first), np.exp(on_cpu.predict(data)), atol=0.05)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives(other, name):
    config = dataclasses.replace(CONFIG, device="cuda")
    probes = {"all@1": STRONG, "none@1": MILD.without_ops()}
    with other:
        outcome = OBJECTIVES[name](search_data(), config).evaluate(task(STRONG, probes=probes))
    assert outcome.state == "complete"
    assert "all@1:accuracy" in outcome.metrics[0]


def test_a_final_training(other):
    data = data_for("image")
    with other:
        final = FinalTraining(FinalData(data, data), settings_for(data, "cuda"))
        outcome = final.evaluate(task(STRONG, "verdict/found/0"))
    assert any(name.startswith("corrupted:") for name in outcome.metrics[0])


@NO_GPU
@pytest.mark.parametrize("objective", ["from_scratch", "shared_checkpoint", "density"])
def test_a_search_on_a_gpu(tmp_path, objective):
    words = [
        *("search", "digits", "--train-size", "60", "--trials", "5", "--epochs", "2", "--quiet"),
        *("--candidates", "1", "--confirm-seeds", "1", "--verdict-seeds", "2", "--folds", "2"),
        *("--search-anyway", "--device", "cuda", "--workers", "2", "--objective", objective),
    ]
    assert cli.main([*words, "--out", str(tmp_path / "run")]) == 0
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())
    assert verdict["sentence"]


def test_the_pretended_device_is_apart():
    with PretendDevice():
        there, here = torch.ones(3, device=DEVICE), torch.ones(3)
        assert copy.deepcopy(there).device.type == "cuda"
        assert (there + there.new_zeros(3)).is_cuda
        assert not there.cpu().is_cuda
        with pytest.raises(RuntimeError, match="one device"):
            there + here
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        with pytest.raises(TypeError, match="numpy"):
            np.asarray(there)
        with pytest.raises(RuntimeError, match="indices"):
            here[torch.zeros(1, dtype=torch.int64, device=DEVICE)]
