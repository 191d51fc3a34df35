"""The report on memorisation: copies are flagged, held-out samples are not."""

import json

import numpy as np
import pytest
from samples import digits, fitted

from policysearch.errors import GeneratorError
from policysearch.generators.bank import BankGenerator
from policysearch.generators.memorisation import memorisation_report
from policysearch.generators.samples import FitData


def bank_of(data: FitData, noise: float = 0.0) -> BankGenerator:
    x = data.x + noise * np.random.default_rng(0).standard_normal(data.x.shape)
    tensors = {
        "samples": x.astype(np.float32),
        "labels": data.y,
        "temperatures": np.ones(len(data.y)),
    }
    return BankGenerator(data.frame, tensors)


def test_a_bank_of_training_samples_is_flagged():
    report = memorisation_report(bank_of(digits()), digits(), digits("held"))
    assert report["is_suspicious"]
    assert report["share_copies"] == 1
    assert report["share_nearer"] == 1
    assert report["probability_nearer"] == pytest.approx(1, abs=0.01)
    assert report["median"]["synthetic"] < 1e-3 < report["median"]["held"]
    assert report["sentence"].startswith("100% of the synthetic samples are copies")
    assert report == json.loads(json.dumps(report))


def test_copies_with_a_little_noise_are_flagged():
    report = memorisation_report(bank_of(digits(), noise=0.05), digits(), digits("held"))
    assert report["is_suspicious"]
    assert report["share_copies"] == 0
    assert report["share_nearer"] > 0.9
    assert "may give training samples away" in report["sentence"]


def test_samples_that_were_held_out_are_not_flagged():
    held = digits("held")
    half = np.arange(len(held.x)) % 2 == 0
    one, two = (FitData(held.x[part], held.y[part], 6, 0.0, 1.0) for part in (half, ~half))
    report = memorisation_report(bank_of(one), digits(), two)
    assert not report["is_suspicious"]
    assert report["share_nearer"] < 0.15
    assert report["probability_nearer"] == pytest.approx(0.5, abs=0.1)
    assert "no proof" in report["sentence"]


@pytest.mark.parametrize("kind", ["gaussian", "vae", "gan"])
def test_a_fitted_generator_makes_no_copies(kind):
    report = memorisation_report(fitted(kind, "images"), digits(), digits("held"), n=60)
    assert report["share_copies"] == 0
    again = memorisation_report(fitted(kind, "images"), digits(), digits("held"), n=60)
    assert report == again


def test_held_out_samples_of_known_classes_are_needed():
    held = FitData(digits().x[:3], np.full(3, 5), 6, 0.0, 1.0)
    with pytest.raises(GeneratorError, match="needs held-out samples of classes"):
        memorisation_report(fitted("gaussian", "images"), digits(), held)
    more = FitData(held.x, held.y, 7, 0.0, 1.0)
    with pytest.raises(GeneratorError, match="the same classes, got 6, 6 and 7"):
        memorisation_report(fitted("gaussian", "images"), digits(), more)
