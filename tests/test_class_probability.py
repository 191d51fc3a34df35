"""Probability by class: how often samples of each are augmented, and how it is searched."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import policysearch
from policysearch import cli
from policysearch.baselines import random_like
from policysearch.config import make_config
from policysearch.data.dataset import Dataset
from policysearch.draws import Drawer
from policysearch.errors import InvalidValueError
from policysearch.ops.registry import get_spec
from policysearch.policy import Mix, OpCall, Policy, Stage, SubPolicy
from policysearch.policy_json import GeneratorSource, PolicyDocument
from policysearch.problems.dataset import load_splits
from policysearch.proxies.base import settings_for
from policysearch.report.op_words import amount_text
from policysearch.report.words import class_sentence, generator_sentence
from policysearch.space import RareClasses
from policysearch.space_yaml import load_space, space_from_dict

FACTORS = (0.2, 1.0, 0.0)
ALWAYS = Policy(
    (SubPolicy((Stage((OpCall("invert"),)), Stage((OpCall("rotate", 5, 5),), 0.5))),),
    class_probability=FACTORS,
)
N = 3000
CLASSES = np.arange(N) % 3


@pytest.mark.parametrize("mix", [None, Mix(2)])
def test_each_class_is_augmented_as_often_as_its_factor_says(mix):
    policy = dataclasses.replace(ALWAYS, mix=mix)
    drawn = Drawer(policy, 0).draw(range(N), 3, classes=CLASSES)
    assert drawn.n_chains == (2 if mix else 1)
    for label, factor in enumerate(FACTORS):
        often = (drawn.op_index[label == CLASSES] >= 0).mean(axis=0).reshape(-1, 2)
        expected = np.array([factor, factor / 2])
        assert (np.abs(often - expected) <= 4 * np.sqrt(expected * (1 - expected) / 1000)).all()


def test_what_is_applied_is_what_all_classes_would_get():
    whole = Drawer(ALWAYS.for_all_classes(), 0).draw(range(N), 3)
    part = Drawer(ALWAYS, 0).draw(range(N), 3, classes=CLASSES)
    applied = part.op_index >= 0
    assert (part.op_index[applied] == whole.op_index[applied]).all()
    assert (part.magnitude == whole.magnitude).all()


def test_shares_of_classes_are_weighed():
    shares = np.tile([0.5, 0.5, 0.0], (N, 1))
    often = (Drawer(ALWAYS, 0).draw(range(N), classes=shares).op_index[:, 0] >= 0).mean()
    assert abs(often - 0.6) < 4 * np.sqrt(0.24 / N)


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        (None, r"Call transform\(x, y\) with the classes: whole numbers in \[0, 2\]"),
        ([0, 3], r"for 3 classes. Got \[0, 3\]"),
        ([0, -1], r"Got \[0, -1\]"),
        ([0.0, 1.0], "must be whole numbers"),
        ([0], "must be whole numbers"),
        ([[0.5, 0.5]] * 2, "must be whole numbers"),
    ],
)
def test_classes_that_are_none_are_refused(classes, problem):
    with pytest.raises(InvalidValueError, match=problem):
        Drawer(ALWAYS, 0).draw(range(2), classes=classes)


def test_a_transform_draws_by_targets_of_any_form():
    transform = policysearch.load_policy(ALWAYS, seed=1)
    x, y = torch.zeros(60, 1, 8, 8, dtype=torch.uint8), torch.arange(60) % 3
    batch, same = transform(x, y, index=range(60))
    assert same is y
    changed = (batch != 0).flatten(1).any(dim=1)
    assert changed[y == 1].all()
    assert not changed[y == 2].any()
    assert 0 < changed[y == 0].float().mean() < 0.6
    for i in range(6):
        alone, _ = transform(x[i], int(y[i]), index=i)
        assert torch.equal(alone, batch[i])
    one_hot = torch.nn.functional.one_hot(y, 3).float()
    assert torch.equal(transform(x, one_hot, index=range(60))[0], batch)
    fresh, _ = transform(x, y)
    assert (fresh[y == 1] != 0).any()
    with pytest.raises(InvalidValueError, match="depends on the class"):
        transform(x)
    with pytest.raises(InvalidValueError, match=r"must hold shares of 3 classes.*got 4 columns"):
        transform(x, torch.eye(4).repeat(15, 1))
    with pytest.raises(InvalidValueError, match=r"`n_classes` must be 3.*got 7"):
        policysearch.load_policy(ALWAYS, n_classes=7)
    assert torch.equal(policysearch.load_policy(ALWAYS).eval()(x), x)


def test_datasets_and_loaders_draw_by_the_class_of_an_item():
    data = [(torch.zeros(1, 8, 8, dtype=torch.uint8), i % 3) for i in range(30)]
    transform = policysearch.load_policy(ALWAYS, seed=1)
    augmented = policysearch.AugmentedDataset(data, transform)
    for x, y in DataLoader(augmented, batch_size=10):
        assert (x[y == 1] != 0).flatten(1).any(dim=1).all()
        assert not (x[y == 2] != 0).any()
    with pytest.raises(InvalidValueError, match="depends on the class"):
        policysearch.AugmentedDataset([(x[0],) for x in data], transform)[0]


def test_its_normal_form():
    def factors(*values):
        return dataclasses.replace(ALWAYS, class_probability=values).canonical()

    assert factors(1, 1).class_probability is None
    assert factors(0, 0) == Policy()
    assert factors(1, 0.5).class_probability == (1.0, 0.5)
    assert ALWAYS.digest() != ALWAYS.for_all_classes().digest()


@pytest.mark.parametrize(
    ("values", "problem"), [((), "1 to"), ((0.5, 1.2), "1.2"), ((True,), "True")]
)
def test_factors_that_are_none_are_refused(values, problem):
    with pytest.raises(InvalidValueError, match=problem):
        Policy(class_probability=values)


def test_it_is_told_in_words():
    assert "a factor of the class, 20% in class 0, 100% in class 1" in class_sentence(ALWAYS)
    assert not class_sentence(ALWAYS.for_all_classes())
    document = PolicyDocument(ALWAYS, generator=GeneratorSource("vae", "made.safetensors"))
    assert "'vae', fitted in 'made.safetensors' beside" in generator_sentence(document)
    assert not generator_sentence(PolicyDocument(ALWAYS))
    made = OpCall("synthesize", 0.0, 1.0)
    assert "temperature 1" in amount_text(made, get_spec("image", "synthesize"))


def test_an_exponent_says_what_frequent_classes_get():
    rare = RareClasses(counts=(100, 10, 0, 25))
    assert rare.factors(0) is None
    assert rare.factors(0.5) == (0.3162, 1.0, 1.0, 0.6325)
    assert rare.factors(1) == (0.1, 1.0, 1.0, 0.4)


def test_a_space_with_rare_classes_searches_one_parameter_more():
    plain = load_space("image/opwise").restricted_to(1)
    space = dataclasses.replace(plain, rare_classes=RareClasses()).for_classes([90, 10])
    assert list(space.parameters()) == [*plain.parameters(), "rarity"]
    params = space.encode_opwise({"rotate": 0.5}, 2)
    policy = space.decode(params | {"rarity": 1.0})
    assert policy.class_probability == (0.1111, 1.0)
    assert policy.for_all_classes() == plain.decode(params)
    assert space.decode(params).class_probability is None
    drawn = random_like(policy, space, np.random.default_rng(0)).class_probability
    assert drawn is not None
    assert drawn != policy.class_probability
    assert space.digest() != plain.digest()
    with pytest.raises(InvalidValueError, match="different frequency"):
        dataclasses.replace(plain, rare_classes=RareClasses()).for_classes([10, 10])


def test_a_space_file_may_hold_them():
    data = {"format": "policysearch.space", "version": 1, "method": "opwise"}
    data |= {"rare_classes": {"high": 0.8}, "ops": [{"op": "rotate"}]}
    assert space_from_dict(data, "own", "own").rare_classes == RareClasses(0.0, 0.8)


def test_trainings_and_probes_draw_by_class():
    y = np.arange(30) % 3
    data = Dataset(np.zeros((30, 1, 8, 8), np.uint8), y, ("a", "b", "c"))
    proxy = settings_for(data).make(data, ALWAYS, 2, 0)
    seen = {0: 0, 1: 0, 2: 0}
    for x, labels in proxy._batches(range(2)):
        for image, label in zip(x, labels, strict=True):
            seen[int(label)] += int(image.max() - image.min() > 1e-3 or image.max() > 0)
    assert seen[2] == 0
    assert 0 < seen[0] < seen[1]
    proxy.predict_augmented(data, ALWAYS)


def lines_of(folder):
    return (folder / "run" / "ledger.jsonl").read_text().splitlines()


def test_a_search_finds_what_rare_classes_get(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 12])
    x = rng.integers(0, 60, (72, 1, 8, 8)).astype(np.uint8)
    x[y == 1, :, :4] += 60
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x[::2], y_test=y[::2])
    words = ["search", str(tmp_path / "data.npz"), "--rare-classes", "--trials", "16"]
    words += ["--epochs", "1", "--candidates", "1", "--confirm-seeds", "1", "--folds", "2"]
    words += ["--verdict-seeds", "2", "--search-anyway", "--workers", "1", "-q"]
    assert cli.main([*words, "--out", str(tmp_path / "run")]) == 0
    assert json.loads(lines_of(tmp_path)[0])["scored"] == "by class"
    assert "--rare-classes" not in capsys.readouterr().err
    load_splits(make_config({"data": words[1]}), (told := []).append)
    assert "5 times the samples of the rarest; --rare-classes" in str(told)
    trials = [r for r in map(json.loads, lines_of(tmp_path)) if r.get("event") == "trial"]
    rare = [t for t in trials if t["origin"].startswith("rare:")]
    found = sorted(t["policy"]["class_probability"] for t in rare)
    assert found == [[0.2, 1.0], [0.4472, 1.0]]
    assert cli.main(["search", "digits", "--train-size", "50", "--rare-classes"]) == 2
    assert "different frequency" in capsys.readouterr().err
