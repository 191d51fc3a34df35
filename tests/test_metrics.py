"""Metrics against scikit-learn's, weighted and not, and by hand where it has none."""

import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from policysearch.cli.run_options import METRICS as WORDS
from policysearch.config import MetricName
from policysearch.errors import InvalidValueError
from policysearch.metrics import AXES, METRICS, all_scores, check_metric, scores


def normalised(logits):
    logits = np.asarray(logits, dtype=np.float64)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def probabilities_of(log_probabilities):
    """Normalised in float64: scikit-learn warns about the rounding of float32."""
    shares = np.exp(log_probabilities.astype(np.float64))
    return shares / shares.sum(axis=1, keepdims=True)


def sklearn_value(name, log_probabilities, y, weight):
    """The metric as scikit-learn has it, over the classes that have samples."""
    predicted = log_probabilities.argmax(axis=1)
    present = np.unique(y)
    if name == "accuracy":
        return reference.accuracy_score(y, predicted, sample_weight=weight)
    if name == "balanced_accuracy":
        return reference.recall_score(
            y, predicted, labels=present, average="macro", sample_weight=weight, zero_division=0
        )
    if name == "macro_f1":
        return reference.f1_score(
            y, predicted, labels=present, average="macro", sample_weight=weight, zero_division=0
        )
    if name == "roc_auc":
        areas = [
            reference.roc_auc_score(y == c, log_probabilities[:, c], sample_weight=weight)
            for c in present
        ]
        return np.mean(areas)
    labels = range(log_probabilities.shape[1])
    probabilities = probabilities_of(log_probabilities)
    return reference.log_loss(y, probabilities, labels=labels, sample_weight=weight)


@st.composite
def predictions(draw):
    n_classes = draw(st.integers(2, 5))
    n = draw(st.integers(4, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    y = rng.integers(0, n_classes, n)
    y[:2] = 0, 1
    logits = rng.normal(0, 2, (n, n_classes))
    if draw(st.booleans()):
        logits = logits.round()  # ties
    weights = rng.integers(1, 4, (3, n)).astype(np.float64)
    return normalised(logits), y, weights


@settings(deadline=None, max_examples=40)
@given(predictions(), st.sampled_from(sorted(METRICS)))
def test_metrics_are_scikit_learns_for_every_row_of_weights(case, name):
    log_probabilities, y, weights = case
    expected = [sklearn_value(name, log_probabilities, y, row) for row in weights]
    found = METRICS[name].weighted(log_probabilities, y, weights)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)
    plain = sklearn_value(name, log_probabilities, y, np.ones(len(y)))
    assert METRICS[name].value(log_probabilities, y) == pytest.approx(plain, rel=1e-5, abs=1e-9)


def test_several_classes_have_scikit_learns_one_vs_rest_area():
    rng = np.random.default_rng(0)
    log_probabilities, y = normalised(rng.normal(size=(60, 4))), rng.integers(0, 4, 60)
    probabilities = probabilities_of(log_probabilities)
    expected = reference.roc_auc_score(y, probabilities, multi_class="ovr", average="macro")
    assert METRICS["roc_auc"].value(log_probabilities, y) == pytest.approx(expected, abs=1e-6)


def test_a_class_without_weight_is_left_out_of_the_means():
    log_probabilities = normalised([[2, 0, 0], [0, 2, 0], [2, 0, 0], [0, 0, 2]])
    y, weights = np.array([0, 1, 1, 2]), np.array([[1.0, 1, 1, 0]])
    assert METRICS["balanced_accuracy"].weighted(log_probabilities, y, weights)[0] == 0.75
    assert AXES["worst_class_accuracy"].weighted(log_probabilities, y, weights)[0] == 0.5


def test_the_calibration_error_is_the_mean_gap_over_bins():
    # Confidences 0.9, 0.9 (one right): gap 0.4; 0.6, 0.6 (both right): gap 0.4. Bins apart.
    shares = np.log([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]).astype(np.float32)
    assert AXES["calibration_error"].value(shares, np.array([0, 1, 1, 1])) == pytest.approx(0.4)
    # In one bin gaps of opposite sign cancel: 0.61 and 0.65 lie in the tenth of fifteen.
    shares = np.log([[0.61, 0.39], [0.65, 0.35]]).astype(np.float32)
    expected = abs(0.61 + 0.65 - 1) / 2
    assert AXES["calibration_error"].value(shares, np.array([0, 1])) == pytest.approx(expected)


def test_a_sure_and_right_network_has_no_calibration_error_and_a_sure_and_wrong_one_all():
    sure = np.array([[0.0, -200.0]] * 4, dtype=np.float32)
    assert AXES["calibration_error"].value(sure, np.zeros(4, dtype=np.int64)) == 0
    assert AXES["calibration_error"].value(sure, np.ones(4, dtype=np.int64)) == 1


def test_the_worst_class_is_that_of_the_lowest_recall():
    log_probabilities = normalised([[2, 0], [2, 0], [2, 0], [0, 2]])
    y = np.array([0, 0, 1, 1])
    assert AXES["worst_class_accuracy"].value(log_probabilities, y) == 0.5


def test_what_a_search_looks_at_agrees_with_the_metrics():
    rng = np.random.default_rng(1)
    log_probabilities, y = normalised(rng.normal(size=(50, 3))), rng.integers(0, 3, 50)
    everything = all_scores(log_probabilities, y)
    assert set(everything) == set(METRICS) | set(AXES)
    for name, value in scores(log_probabilities, y).items():
        assert everything[name] == pytest.approx(value, rel=1e-6)


def test_one_class_has_no_area_and_it_is_refused_when_asked_for():
    y = np.zeros(5, dtype=np.int64)
    assert "roc_auc" not in all_scores(normalised(np.zeros((5, 2))), y)
    check_metric("macro_f1", y)
    with pytest.raises(InvalidValueError, match="at least 2 classes, got 5 of one class"):
        check_metric("roc_auc", y)


def test_settings_and_command_line_know_all_metrics():
    assert list(METRICS) == list(WORDS) == list(typing.get_args(MetricName))
