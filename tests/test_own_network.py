"""The user's own network as proxy: fine-tuned from a checkpoint that is data and nothing else."""

import dataclasses
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from faults.driver import SETTINGS, silent, with_formula

from policysearch import study
from policysearch.comparison import compare
from policysearch.config import make_config
from policysearch.data.digits import load_digits
from policysearch.errors import DataError, FormatError, InvalidValueError, RunError
from policysearch.ledger import read_ledger
from policysearch.named import resolve_policy
from policysearch.policy_json import read_policy_file
from policysearch.proxies.checkpoint import fit_weights, read_checkpoint
from policysearch.proxies.own_network import own_network
from policysearch.space_yaml import load_space

NETWORKS = Path(__file__).parent / "own_networks.py"
NONE = resolve_policy("none").policy
DIGITS = load_digits().train


def named(function="small"):
    return f"{NETWORKS}:{function}"


def settings(data, checkpoint=None, function="small", **more):
    given = {"learning_rate": None, "normalization": "dataset"} | more
    return own_network(data, "cpu", named(function), checkpoint and str(checkpoint), **given)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Weights that know 5 to 9: half as many classes as are fine-tuned on."""
    known = DIGITS.take(np.flatnonzero(DIGITS.y >= 5)[:400])
    known = dataclasses.replace(known, y=known.y - 5, classes=known.classes[5:])
    proxy = settings(known)[0].make(known, NONE, 15, 0)
    proxy.fit()
    path = tmp_path_factory.mktemp("pretrained") / "weights.pt"
    torch.save(proxy.network.state_dict(), path)
    return path


def accuracy(config, seed, n_epochs, learning_rate=None):
    """On held-out digits, after a training on 60 of all classes."""
    if learning_rate is not None:
        config = dataclasses.replace(config, learning_rate=learning_rate)
    proxy = config.make(DIGITS.take(np.arange(60)), NONE, n_epochs, seed)
    proxy.fit()
    held_out = DIGITS.take(np.arange(500, len(DIGITS)))
    return float((proxy.predict(held_out).argmax(1) == held_out.y).mean())


def test_pretraining_on_other_classes_pays_and_the_head_starts_fresh(pretrained):
    fine_tuned, notices = settings(DIGITS, pretrained)
    scratch, _ = settings(DIGITS)
    assert set(fine_tuned.weights) == set(torch.load(pretrained)) - {"10.weight", "10.bias"}
    assert "Of another shape, so they start fresh: 10.weight, 10.bias." in notices
    gains = [accuracy(fine_tuned, s, 60) - accuracy(scratch, s, 60, 0.01) for s in range(3)]
    assert min(gains) > 0.02, gains


def test_defaults_are_gentler_with_a_checkpoint(pretrained):
    fine_tuned, scratch = settings(DIGITS, pretrained)[0], settings(DIGITS)[0]
    assert (fine_tuned.learning_rate, scratch.learning_rate) == (0.01, 0.1)
    assert [scratch.default_epochs(n) for n in (100, 1000, 20_000)] == [190, 60, 28]
    # 500 steps of 50 samples, or as many epochs as from scratch, or a third of them
    assert fine_tuned.batch_size == 50
    assert [fine_tuned.default_epochs(n) for n in (100, 500, 1000)] == [190, 50, 25]
    assert fine_tuned.default_epochs(20_000) == round(28 / 3)
    assert settings(DIGITS, pretrained, learning_rate=0.003)[0].learning_rate == 0.003
    config = make_config({"data": "digits", "network": "a:b", "checkpoint": "x"})
    assert (config.range_share, make_config({"data": "digits"}).range_share) == (0.5, 1.0)


@pytest.mark.parametrize("function", ["small", "draws_globally"])
def test_equal_seeds_give_equal_networks_and_torchs_own_generator_stays(pretrained, function):
    """Fresh head and dropout draw from torch's global generator."""
    config, _ = settings(DIGITS, pretrained, function)
    train = DIGITS.take(np.arange(40))
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(found))
        before = torch.random.get_rng_state()
        proxy = pickle.loads(pickle.dumps(config)).make(train, NONE, 2, seed)
        proxy.fit()
        found.append(proxy.predict(train))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize("n", [2, 3, 51, 101])
def test_batch_normalisation_bears_few_samples(pretrained, n):
    config, _ = settings(DIGITS, pretrained)
    proxy = config.make(DIGITS.take(np.arange(n)), NONE, 1, 0)
    proxy.fit()
    assert np.isfinite(proxy.predict(DIGITS.take(np.arange(5)))).all()


def test_images_are_normalised_as_the_network_knows_them():
    x = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8), dtype=np.uint8)
    data = dataclasses.replace(DIGITS.take(np.arange(8)), x=x)
    unit = torch.from_numpy(x).float() / 255
    seen = {}
    for normalization in ("dataset", "imagenet", "none"):
        proxy = settings(data, normalization=normalization)[0].make(data, NONE, 1, 0)
        proxy.network = torch.nn.Identity()
        seen[normalization] = proxy.logits(unit)
    assert torch.equal(seen["none"], unit)
    assert seen["dataset"].mean(dim=(0, 2, 3)).abs().max() < 1e-5
    expected = (unit[0, :, 0, 0] - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    assert torch.allclose(seen["imagenet"][0, :, 0, 0], expected)
    with pytest.raises(InvalidValueError, match="needs images of 3 channels, got 1"):
        settings(DIGITS, normalization="imagenet")


# ---- checkpoints


class Evil:
    def __reduce__(self):
        return (os.system, ("touch owned",))


@pytest.mark.parametrize("save", [torch.save, lambda v, p: p.write_bytes(pickle.dumps(v))])
def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path, monkeypatch, save):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    save({"state_dict": {"weight": torch.zeros(2)}, "more": Evil()}, path)
    with pytest.raises(DataError, match=r"never run here\. Save the weights only"):
        read_checkpoint(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda p: p.with_name("x").touch(), "does not exist, or is not a file"),
        (lambda p: p.mkdir(), "does not exist, or is not a file"),
        (lambda p: p.write_bytes(b""), "cannot be read by torch.load"),
        (lambda p: p.write_bytes(b"PK\x03\x04" + b"x" * 100), "cannot be read by torch.load"),
        (lambda p: torch.save(torch.zeros(3), p), "holds no weights by name, but Tensor"),
        (lambda p: torch.save({"epoch": 3, "lr": 0.1}, p), "holds no weights by name, but dict"),
        (lambda p: torch.save({"a.w": torch.tensor([1.0, np.nan])}, p), "holds NaN.*: a.w"),
    ],
)
def test_what_is_no_checkpoint_is_told(tmp_path, write, text):
    path = tmp_path / "weights.pt"
    write(path)
    with pytest.raises(DataError, match=text):
        read_checkpoint(path)


def test_a_checkpoint_that_was_cut_off_is_told(tmp_path, pretrained):
    path = tmp_path / "cut.pt"
    path.write_bytes(pretrained.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"cannot be read by torch\.load|never run here"):
        read_checkpoint(path)


WEIGHTS = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}


@pytest.mark.parametrize(
    "saved",
    [
        WEIGHTS,
        {"module." + k: v for k, v in WEIGHTS.items()},
        {"module._orig_mod." + k: v for k, v in WEIGHTS.items()},
        {"epoch": 3, "state_dict": {"model." + k: v for k, v in WEIGHTS.items()}},
        {"model": {"state_dict": WEIGHTS}, "optimizer": {"lr": 0.1}},
    ],
)
def test_weights_are_found_as_training_programs_save_them(tmp_path, saved):
    torch.save(saved, tmp_path / "weights.pt")
    read = read_checkpoint(tmp_path / "weights.pt")
    assert list(read) == list(WEIGHTS)
    assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


def test_safetensors_are_read(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    path = tmp_path / "weights.safetensors"
    library.save_file(WEIGHTS, path)
    assert read_checkpoint(path).keys() == WEIGHTS.keys()
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match="cannot be read"):
        read_checkpoint(path)


def test_entries_that_do_not_fit_are_named_and_nothing_at_all_is_an_error():
    network = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 2), "b": torch.nn.Linear(2, 2)})
    weights = WEIGHTS | {"b.weight": torch.ones(5, 2), "c.weight": torch.ones(1)}
    fitted = fit_weights(weights, network)
    assert (set(fitted.weights), fitted.reshaped) == (set(WEIGHTS), ("b.weight",))
    assert (fitted.missing, fitted.unused) == (("b.bias",), ("c.weight",))
    notices = fitted.notices(network)
    assert notices[0] == "The checkpoint gives 57.1% of the weights of the network."  # 8 of 14
    with pytest.raises(InvalidValueError, match=r"No weight .* fits.*c\.weight \(1,\).*a\.weight"):
        fit_weights({"c.weight": torch.ones(1)}, network)


def test_counters_alone_are_no_fit():
    network = torch.nn.BatchNorm2d(3)
    with pytest.raises(InvalidValueError, match="No weight of the checkpoint fits"):
        fit_weights({"num_batches_tracked": torch.tensor(3)}, network)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("gone", "Unknown function 'gone'"),
        ("fails", r"raised KeyError: 'width'.*factory\(n_classes=10, n_channels=1\)"),
        ("no_network", r"must give a torch.nn.Module, got int"),
        ("frozen", "without trainable weights"),
        ("wrong_classes", r"must give logits of shape \(2, 10\), got \(2, 11\)"),
        ("for_large_images", r"does not take images of shape \(1, 8, 8\).*--image-size"),
        ("lazy", "has lazy layers: run it on one sample"),
        ("other", "No weight of the checkpoint fits the network"),
    ],
)
def test_a_network_that_cannot_serve_is_refused_with_the_reason(pretrained, function, text):
    with pytest.raises(InvalidValueError, match=text):
        settings(DIGITS, pretrained, function)


# ---- spaces and runs


def test_a_gentler_space_keeps_the_weak_ends_and_half_of_every_range():
    space = load_space("image/opwise")
    half = space.gentler(0.5)
    for whole, cut in zip(space.ops, half.ops, strict=True):
        assert cut.op == whole.op
        assert cut.low == whole.low
        if whole.low is not None:
            assert cut.high == pytest.approx((whole.low + whole.high) / 2)
    assert half.digest() != space.digest()
    assert space.gentler(1.0) is space


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"checkpoint": "x.pt"}, "`checkpoint` needs `network`"),
        ({"learning_rate": 0.1}, "`learning_rate` needs `network`"),
        ({"network": "a:b", "objective": "function"}, "`network` must be left out: your training"),
        ({"strength": 1.5}, "`strength`"),
        ({"strength": 0}, "`strength`"),
    ],
)
def test_settings_that_mean_nothing_are_refused(given, problem):
    with pytest.raises(FormatError) as caught:
        make_config({"data": "digits"} | given)
    assert problem in str(caught.value)


def test_a_search_fine_tunes_and_goes_on_with_the_same_weights_only(tmp_path, pretrained):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(pretrained.read_bytes())
    own = {"network": named(), "checkpoint": str(weights), "search_anyway": True}
    out, engine = tmp_path / "run", with_formula(tmp_path)
    study.search(make_config(SETTINGS | own), out, silent, engine)
    header = read_ledger(out / "ledger.jsonl")[0]
    assert header["network"] == named()
    assert header["space"] == load_space("image/opwise").restricted_to(1).gentler(0.5).digest()
    assert read_policy_file(out / "policy.json").provenance["checkpoint"] == header["checkpoint"]
    state = torch.load(weights)
    torch.save(state | {"0.bias": state["0.bias"] + 1e-3}, weights)
    with pytest.raises(RunError, match="cannot go on: checkpoint changed"):
        study.resume(out, silent, engine)
    weights.write_bytes(pretrained.read_bytes())
    changed = yaml.safe_load((out / "config.yaml").read_text()) | {"learning_rate": 0.02}
    (out / "config.yaml").write_text(yaml.safe_dump(changed))
    with pytest.raises(RunError, match="cannot go on: learning_rate changed"):
        study.resume(out, silent, engine)


def test_policies_are_compared_by_fine_tuning_in_real_workers(tmp_path, pretrained):
    """Two workers give what one gives."""
    told = []
    means = []
    for workers in (1, 2):
        given = {"data": "digits", "train_size": 100, "policies": ("none", "trivialaugment-wide")}
        given |= {"network": named(), "checkpoint": str(pretrained), "epochs": 40}
        config = make_config(given | {"verdict_seeds": 2, "workers": workers})
        verdict = compare(config, tmp_path / str(workers), told.append)
        means.append([arm["scores"] for arm in verdict["arms"]])
    assert means[0] == means[1]
    assert np.mean(means[0][0]) > 0.7
    assert any("The checkpoint gives" in str(event.get("notices")) for event in told)
