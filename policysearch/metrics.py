"""What a prediction is worth: from log-probabilities and labels to named numbers.

Every proxy predicts, nothing else; how it is scored is the same for all kinds of data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LogProbabilities = NDArray[np.float32]


def scores(log_probabilities: LogProbabilities, y: NDArray[np.int64]) -> dict[str, float]:
    """Scores predictions.

    Args:
      log_probabilities: Natural logarithms, `(n, n_classes)`, float32; rows sum to one.
      y: Classes, `(n,)`.

    Returns:
      `log_loss` (natural log, lower is better) and `accuracy` in [0, 1].
    """
    picked = log_probabilities[np.arange(len(y)), y]
    right = log_probabilities.argmax(axis=1) == y
    return {
        "log_loss": float(-picked.mean(dtype=np.float64)),
        "accuracy": float(right.mean()),
    }
