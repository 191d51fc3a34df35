"""What a prediction is worth: from log-probabilities and labels to named numbers.

Every proxy predicts, nothing else; how it is scored is the same for all kinds of data. A metric is
computed for many weightings of the samples at once, because the verdict asks what it would have
been on other test samples; with equal weights it is scikit-learn's (the tests compare them, with
weights too, but scikit-learn takes one set of weights at a time). Classes without a sample are
left out of the means over classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policysearch.errors import InvalidValueError

LogProbabilities = NDArray[np.float32]
Labels = NDArray[np.int64]
Weights = NDArray[np.float64]

#: Begins the name of what tells the recognised samples of a class; its number follows.
HITS = "hits:"
#: With more classes than this nothing is told of single ones while a search goes on.
MAX_CLASSES = 50
#: Bins of the calibration error: Guo et al., 2017 (arXiv:1706.04599), section 2 and table 1.
N_BINS = 15


@dataclass(frozen=True)
class Metric:
    """How a metric is computed and read.

    Attributes:
      title: For people.
      weighted: Values for log-probabilities `(n, n_classes)`, labels `(n,)` and weights `(b, n)`:
        `(b,)`.
      is_share: Whether it lies in [0, 1], so that differences are told in points.
      is_loss: Whether lower is better.
    """

    title: str
    weighted: Callable[[LogProbabilities, Labels, Weights], Weights]
    is_share: bool = True
    is_loss: bool = False

    @property
    def sign(self) -> int:
        """+1 when higher is better, -1 when lower is."""
        return -1 if self.is_loss else 1

    def value(self, log_probabilities: LogProbabilities, y: Labels) -> float:
        """The metric of all samples, equally weighted."""
        return float(self.weighted(log_probabilities, y, np.ones((1, len(y))))[0])


def scores(
    log_probabilities: LogProbabilities, y: Labels, *, is_balanced: bool = False
) -> dict[str, float]:
    """What a search looks at.

    Args:
      log_probabilities: Natural logarithms, `(n, n_classes)`, float32; rows sum to one.
      y: Classes, `(n,)`.
      is_balanced: Every class counts equally, however many samples it has.

    Returns:
      `log_loss` (natural log, lower is better) and `accuracy` in [0, 1].
    """
    picked = log_probabilities[np.arange(len(y)), y]
    right = log_probabilities.argmax(axis=1) == y
    if is_balanced:
        weights = 1 / np.bincount(y)[y].astype(np.float64)
        weights /= weights.sum()
        return {"log_loss": float(-(weights @ picked)), "accuracy": float(weights @ right)}
    return {
        "log_loss": float(-picked.mean(dtype=np.float64)),
        "accuracy": float(right.mean()),
    }


def class_hits(log_probabilities: LogProbabilities, y: Labels) -> dict[str, float]:
    """How many samples of each class are recognised, as `hits:0`, `hits:1`, ...

    Empty for more than `MAX_CLASSES` classes.
    """
    n_classes = log_probabilities.shape[1]
    if n_classes > MAX_CLASSES:
        return {}
    hits = np.bincount(y[_right(log_probabilities, y)], minlength=n_classes)
    return {f"{HITS}{label}": float(n) for label, n in enumerate(hits)}


def all_scores(log_probabilities: LogProbabilities, y: Labels) -> dict[str, float]:
    """Every metric and second axis that is defined for these labels, by name."""
    measured = METRICS | AXES
    if len(np.unique(y)) < 2:
        del measured["roc_auc"]
    return {name: metric.value(log_probabilities, y) for name, metric in measured.items()}


def class_accuracies(log_probabilities: LogProbabilities, y: Labels) -> dict[int, float]:
    """Share of each class that is recognised, by its number; classes without a sample are not."""
    right = _right(log_probabilities, y)
    return {label: float(right[y == label].mean()) for label in np.unique(y).tolist()}


def check_metric(name: str, y: Labels) -> None:
    """Refuses a metric that labels `(n,)` of a test split leave undefined.

    Raises:
      InvalidValueError: For `roc_auc` when all samples are of one class.
    """
    if name == "roc_auc" and len(np.unique(y)) < 2:
        raise InvalidValueError(
            "`metric` 'roc_auc' needs test samples of at least 2 classes, got "
            f"{len(y):,} of one class. Choose another --metric, or a larger test split."
        )


def _right(log_probabilities: LogProbabilities, y: Labels) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = log_probabilities.argmax(axis=1) == y
    return right


def _sums(weights: Weights, labels: Labels, n_labels: int) -> Weights:
    """Sums of weights `(b, n)` by label: `(b, n_labels)`."""
    sums = np.zeros((len(weights), n_labels))
    if len(labels):
        order = np.argsort(labels, kind="stable")
        present, starts = np.unique(labels[order], return_index=True)
        sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums


def _recalls(log_probabilities: LogProbabilities, y: Labels, weights: Weights) -> Weights:
    """Share of each class that is recognised, `(b, n_classes)`; NaN for a class without weight."""
    n_classes = log_probabilities.shape[1]
    hits = _sums(weights * _right(log_probabilities, y), y, n_classes)
    totals = _sums(weights, y, n_classes)
    return np.divide(hits, totals, out=np.full_like(hits, np.nan), where=totals > 0)


def _accuracy(log_probabilities: LogProbabilities, y: Labels, weights: Weights) -> Weights:
    return _mean(_right(log_probabilities, y).astype(np.float64), weights)


def _log_loss(log_probabilities: LogProbabilities, y: Labels, weights: Weights) -> Weights:
    return _mean(-log_probabilities[np.arange(len(y)), y].astype(np.float64), weights)


def _mean(values: Weights, weights: Weights) -> Weights:
    means: Weights = weights @ values / weights.sum(axis=1)
    return means


def _balanced_accuracy(
    log_probabilities: LogProbabilities, y: Labels, weights: Weights
) -> Weights:
    return np.asarray(np.nanmean(_recalls(log_probabilities, y, weights), axis=1))


def _worst_class_accuracy(
    log_probabilities: LogProbabilities, y: Labels, weights: Weights
) -> Weights:
    return np.asarray(np.nanmin(_recalls(log_probabilities, y, weights), axis=1))


def _macro_f1(log_probabilities: LogProbabilities, y: Labels, weights: Weights) -> Weights:
    n_classes = log_probabilities.shape[1]
    predicted = log_probabilities.argmax(axis=1).astype(np.int64)
    hits = _sums(weights * (predicted == y), y, n_classes)
    totals = _sums(weights, y, n_classes)
    f1 = 2 * hits / np.maximum(totals + _sums(weights, predicted, n_classes), 1e-300)
    f1[totals == 0] = np.nan
    return np.asarray(np.nanmean(f1, axis=1))


def _roc_auc(log_probabilities: LogProbabilities, y: Labels, weights: Weights) -> Weights:
    """One class against the rest, mean over classes: equals the one curve of two classes."""
    areas = [
        _area(log_probabilities[:, label], y == label, weights) for label in np.unique(y).tolist()
    ]
    return np.asarray(np.nanmean(areas, axis=0))


def _area(score: LogProbabilities, is_positive: NDArray[np.bool_], weights: Weights) -> Weights:
    """Weight of the pairs in which the positive sample scores higher, ties half, of all pairs."""
    order = np.argsort(score, kind="stable")
    starts = np.unique(score[order], return_index=True)[1]
    sorted_weights, positive = weights[:, order], is_positive[order]
    ups = np.add.reduceat(sorted_weights * positive, starts, axis=1)
    downs = np.add.reduceat(sorted_weights * ~positive, starts, axis=1)
    below = downs.cumsum(axis=1) - downs
    pairs = ups.sum(axis=1) * downs.sum(axis=1)
    won = (ups * (below + downs / 2)).sum(axis=1)
    area: Weights = np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
    return area


def _calibration_error(
    log_probabilities: LogProbabilities, y: Labels, weights: Weights
) -> Weights:
    """Expected calibration error: mean gap of confidence and accuracy over equal-width bins."""
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    bins = np.clip(np.ceil(confidence * N_BINS) - 1, 0, N_BINS - 1).astype(np.int64)
    gaps = _sums(weights * (confidence - _right(log_probabilities, y)), bins, N_BINS)
    error: Weights = np.abs(gaps).sum(axis=1) / weights.sum(axis=1)
    return error


#: What a verdict can be about. Names and formulas are those of scikit-learn.
METRICS = {
    "accuracy": Metric("accuracy", _accuracy),
    "balanced_accuracy": Metric("balanced accuracy", _balanced_accuracy),
    "macro_f1": Metric("macro-F1", _macro_f1),
    "roc_auc": Metric("ROC-AUC", _roc_auc),
    "log_loss": Metric("log loss", _log_loss, is_share=False, is_loss=True),
}
#: What is reported beside it.
AXES = {
    "calibration_error": Metric("calibration error", _calibration_error, is_loss=True),
    "worst_class_accuracy": Metric("worst class", _worst_class_accuracy),
}
