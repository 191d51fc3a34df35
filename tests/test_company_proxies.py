"""Operations on whole batches in trainings of a search: targets shared, the network asked."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import policysearch
from policysearch import cli
from policysearch.config import make_config
from policysearch.data.dataset import Dataset
from policysearch.errors import GeneratorError, InvalidValueError
from policysearch.ops.company import COMPANY_OPS
from policysearch.ops.registry import all_ops
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.policy_json import GeneratorSource, PolicyDocument, write_policy_file
from policysearch.problems.dataset import DatasetProblem
from policysearch.proxies.base import settings_for
from policysearch.proxies.generators import GeneratorChoice
from policysearch.run import FailuresInARow
from policysearch.space_yaml import load_space
from policysearch.trial import Outcome

CASES = [
    (modality, spec.name)
    for modality, specs in COMPANY_OPS.items()
    for spec in specs
    if modality in ("image", "series", "audio")
]


def data_of(modality, n=24):
    """Two classes that differ in where their values are high."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    if modality == "image":
        x = rng.integers(0, 60, (n, 1, 8, 8)).astype(np.uint8)
        x[y == 1, :, :4] += 150
        return Dataset(x, y, ("a", "b"))
    if modality == "audio":
        x = rng.normal(0, 0.02, (n, 1, 1000)).astype(np.float32)
        x[y == 1, :, :500] += np.sin(np.arange(500) / 2).astype(np.float32)
        lengths = np.where(np.arange(n) % 3, 1000, 800)
        return Dataset(x, y, ("a", "b"), modality="audio", lengths=lengths, sample_rate=8000)
    x = rng.normal(0, 0.3, (n, 1, 32)).astype(np.float32)
    x[y == 1, :, :16] += 2
    lengths = np.where(np.arange(n) % 3, 32, 24)
    return Dataset(x, y, ("a", "b"), modality="series", lengths=lengths)


def policy_of(modality, name, level=1.0):
    magnitude = all_ops(modality)[name].magnitude(level)
    stage = Stage((OpCall(name, magnitude, magnitude),))
    return Policy((SubPolicy((stage,)),), modality, f"{modality}-1")


@pytest.mark.parametrize(("modality", "name"), CASES)
def test_trainings_learn_under_each_and_follow_from_the_seed(modality, name):
    data = data_of(modality)
    made = [settings_for(data).make(data, policy_of(modality, name, 0.6), 8, 3) for _ in range(2)]
    for proxy in made:
        proxy.fit()
    first, again = (proxy.predict(data) for proxy in made)
    assert np.array_equal(first, again)
    assert (first.argmax(axis=1) == data.y).mean() > 0.9


@pytest.mark.parametrize("name", ["mixup", "fgsm"])
def test_targets_of_a_batch_are_shared_or_stay(name):
    data = data_of("image")
    proxy = settings_for(data).make(data, policy_of("image", name), 2, 0)
    for _, y in proxy._batches(range(2)):
        torch.testing.assert_close(y.sum(dim=1), torch.ones(len(y)))
        assert bool((y.max(dim=1).values < 1).any()) == (name == "mixup")


def test_a_batch_is_attacked_when_its_turn_comes(monkeypatch):
    data = data_of("image", 60)
    proxy = settings_for(data).make(data, policy_of("image", "fgsm"), 2, 0)
    asked, original = [], proxy.answer

    def answer(x, lengths=None):
        asked.append(len(x))
        return original(x, lengths)

    monkeypatch.setattr(proxy, "answer", answer)
    batches = proxy._batches(range(2))
    for n in range(1, 4):  # the network has changed by the next one
        next(batches)
        assert len(asked) == n


def test_probes_tell_what_an_attack_costs():
    data = data_of("image", 60)
    none = Policy((), "image", "image-1")
    proxy = settings_for(data).make(data, none, 8, 0)
    proxy.fit()
    clean = proxy.predict(data)
    losses = []
    for magnitude in (0.05, 0.4):
        stage = Stage((OpCall("fgsm", magnitude, magnitude),))
        policy = Policy((SubPolicy((stage,)),), "image", "image-1")
        seen, y = proxy.predict_augmented(data, policy)
        losses.append(-seen[np.arange(len(y)), y].mean())
    assert losses[1] > losses[0] > -clean[np.arange(60), data.y].mean()


def test_a_generator_sees_the_training_samples_of_its_network_only(monkeypatch):
    from policysearch.proxies import generators

    seen, original = [], generators.fit_generator

    def fitted(name, data, seed, classes):
        seen.append(data.x)
        return original(name, data, seed, classes)

    monkeypatch.setattr(generators, "fit_generator", fitted)
    generators._outcome.cache_clear()
    data = data_of("image")
    train, held = data.take(np.arange(16)), data.take(np.arange(16, 24))
    proxy = settings_for(train).make(train, policy_of("image", "synthesize"), 2, 0)
    proxy.fit()
    proxy.predict_augmented(held, policy_of("image", "latent_mix"))
    assert len(seen) == 1
    assert np.array_equal(np.round(seen[0] * 255), train.x)


def test_a_search_over_all_families_in_a_worker_process(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["search", "digits", "--space", "full", "--train-size", "40", "--trials", "4"]
    words += ["--epochs", "2", "--candidates", "1", "--confirm-seeds", "1", "--folds", "2"]
    words += ["--verdict-seeds", "2", "--search-anyway", "--workers", "1", "--out", str(out), "-q"]
    assert cli.main(words) == 0
    capsys.readouterr()
    verdict = json.loads((out / "verdict.json").read_text())
    assert {"mixup", "fmix", "pgd", "hardest_of_k", "synthesize", "latent_mix"} <= verdict[
        "calibration"
    ]["ops"].keys()
    lines = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    trials = [line for line in lines if line.get("event") == "trial"]
    assert len(trials) == 4
    assert {line["state"] for line in trials} <= {"complete", "pruned"}


POISONED = """
import time
import numpy as np

class Own:
    def __init__(self, x, y, kind):
        self.shape, self.kind = x.shape[1:], kind

    def sample(self, label, n, temperature, rng):
        out = rng.random((n, *self.shape))
        if self.kind == "nan":
            out[0] = np.nan
        return out

def nan(x, y, n_classes, seed):
    return Own(x, y, "nan")

def of_all_only(x, y, n_classes, seed):
    if len(x) < 30:
        raise RuntimeError("too few samples")
    return Own(x, y, "")

def hangs(x, y, n_classes, seed):
    time.sleep(600)

def dies(x, y, n_classes, seed):
    import os
    os._exit(3)
"""
QUICK = [
    *("--train-size", "40", "--trials", "4", "--epochs", "1", "--candidates", "1", "--folds", "2"),
    *("--confirm-seeds", "1", "--verdict-seeds", "2", "--search-anyway", "--workers", "1"),
]
SPACE = """
format: policysearch.space
version: 1
method: opwise
n_ops: [1, 2]
ops: [{op: rotate, high: 10}, {op: brightness}, {op: synthesize}]
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with generators of a user's and a space that wants one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(POISONED)
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path


def searched(factory, *more):
    words = ["search", "digits", "--space", "space.yaml", "--generator", f"own.py:{factory}"]
    return cli.main([*words, *QUICK, "--out", "run", *more])


def test_a_generator_that_fails_is_left_out_of_the_search_with_the_reason(own, capsys):
    assert searched("nan") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "synthesize is left out: Samples of generator 'own.py:nan' must be finite" in said
    provenance = json.loads((own / "run" / "policy.json").read_text())["provenance"]
    assert provenance["left_out"] == ["synthesize"]
    assert provenance["generator"] == "own.py:nan"
    assert "must be finite" not in (own / "run" / "policy.json").read_text()
    verdict = json.loads((own / "run" / "verdict.json").read_text())
    assert "must be finite" in verdict["left_out"]["synthesize"]
    assert said.rstrip().endswith("temperature 0.25).")  # at the end again, for `-q` too


def test_a_generator_that_fails_in_a_training_fails_its_trial_with_the_reason(own, capsys):
    # It works with all search data, on which it is tried, and with no fold.
    assert searched("of_all_only", "--strategy", "random", "--trials", "6", "--seed", "1") == 0
    capsys.readouterr()
    lines = [json.loads(line) for line in (own / "run" / "ledger.jsonl").read_text().splitlines()]
    trials = [line for line in lines if line.get("event") == "trial"]
    failed = [line for line in trials if line["state"] == "failed"]
    assert failed
    assert len(failed) < len(trials)
    assert all("too few samples" in line["message"] for line in failed)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [("hangs", "must answer within 3 seconds"), ("dies", "ended with code 3")],
)
def test_a_generator_that_hangs_or_dies_is_an_error(own, factory, reason):
    from policysearch.generators.samples import FitData
    from policysearch.generators.user import fit_user

    data = FitData(np.zeros((4, 1, 2, 2), np.float32), np.array([0, 0, 1, 1]), 2, 0.0, 1.0)
    with pytest.raises(GeneratorError, match=reason):
        fit_user(f"own.py:{factory}", data, 0, max_seconds=3.0 if factory == "hangs" else 60.0)


@pytest.mark.parametrize("is_exported", [True, False])
def test_a_generator_is_written_only_where_asked_for_and_found_by_the_policy(own, is_exported):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.integers(0, 100, (60, 1, 8, 8)).astype(np.uint8)
    x[y == 1] += 100
    np.savez("data.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    config = make_config(
        {"data": "data.npz", "generator": "vae", "export_generators": is_exported}
    )
    events = []
    problem = DatasetProblem(config, events.append)
    policy = policy_of("image", "synthesize")
    source = problem.generator_source(policy, own)
    assert problem.generator_source(policy_of("image", "mixup"), own) is None
    write_policy_file(own / "policy.json", PolicyDocument(policy, generator=source))
    files = {path.name for path in own.iterdir()}
    written = {"generator.safetensors", "generator.json", "generator-report.json"}
    transform = policysearch.load_policy(own / "policy.json", seed=0, n_classes=2)
    if not is_exported:
        assert not written & files
        assert transform.generator is None
        assert transform.fit(torch.from_numpy(x), y).generator.kind == "vae"
        return
    assert written <= files
    assert json.loads((own / "generator-report.json").read_text())["n_held"] == 20
    assert "may give training samples away" in events[-1]["text"]
    made, _ = transform(torch.from_numpy(x), torch.from_numpy(y))
    assert made.shape == x.shape
    assert (made.numpy() != x).any()
    (own / "generator.safetensors").unlink()
    with pytest.raises(InvalidValueError, match=r"generator\.safetensors', is not there"):
        policysearch.load_policy(own / "policy.json")
    assert policysearch.load_policy(own / "policy.json", generator="vae").generator is None


def test_a_policy_file_runs_no_code_for_its_generator(own):
    source = GeneratorSource("own.py:hangs")
    document = PolicyDocument(policy_of("image", "synthesize"), generator=source)
    write_policy_file(own / "policy.json", document)
    with pytest.raises(InvalidValueError, match=r"searched with the generator 'own.py:hangs'"):
        policysearch.load_policy(own / "policy.json")
    assert policysearch.load_policy(own / "policy.json", generator="gaussian") is not None


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ("search", "--generator", "vae"),
            "`generator`, 'vae', means nothing for space 'image/op",
        ),
        (("search", "--export-generators"), "`export_generators` means nothing for space"),
        (("compare", "none", "mixup", "--generator", "gan"), "means nothing for these policies"),
        (("search", "--space", "full", "--generator", "vaee"), "Did you mean 'vae'?"),
        (("search", "--space", "full", "--generator", "own.py:nothing"), "nothing"),
    ],
)
def test_a_generator_that_nobody_asks_or_that_is_none_is_refused(own, capsys, words, problem):
    command, *rest = words
    assert cli.main([command, "digits", *rest, "--train-size", "40"]) == 2
    assert problem in " ".join(capsys.readouterr().err.split())


def test_latent_mix_is_left_out_where_a_generator_has_no_latents():
    config = make_config({"data": "digits", "train_size": 40, "generator": "gan"})
    problem = DatasetProblem(config, lambda _: None)
    space = load_space("image/full")
    left = problem.restricted(space)
    assert problem.left_out == {"latent_mix": "'gan' has no latents."}
    assert left.ops_with_generator == ("synthesize",)
    data = data_of("image")
    settings = dataclasses.replace(settings_for(data), generator=GeneratorChoice("gan"))
    with pytest.raises(GeneratorError, match="needs a generator with latents"):
        settings.make(data, policy_of("image", "latent_mix"), 1, 0).fit()


def test_equal_folds_share_a_generator(monkeypatch):
    from policysearch.proxies import generators

    fitted, original = [], generators.fit_generator

    def counted(*arguments):
        fitted.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(generators, "fit_generator", counted)
    generators._outcome.cache_clear()
    data = data_of("image")
    for seed in range(2):  # a fold is taken anew for every training
        train = data.take(np.arange(16))
        settings_for(train).make(train, policy_of("image", "synthesize"), 1, seed).fit()
    assert len(fitted) == 1


def test_failures_of_a_generator_stop_no_run():
    failed = Outcome("failed", failure="generator", message="no")
    FailuresInARow(None).count((f"trial/{i}", failed) for i in range(50))
