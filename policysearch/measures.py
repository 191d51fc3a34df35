"""How results are read: on which scale a search compares them, and in which words they are told.

What a network of ours predicts is scored by `metrics`; a training of the user's own returns any
number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from policysearch.metrics import METRICS

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True)
class Scale:
    """How the result of a training becomes the score of a search, of which lower is better.

    The score is the distance from the best possible result, so that a share of it means the same
    for every result: from an accuracy of 0.95 to 0.90 the score doubles.

    Attributes:
      best: The best possible result.
    """

    direction: Direction = "minimize"
    best: float = 0.0

    def score_of(self, value: float) -> float:
        """The score of a result; negative when it is better than the best possible."""
        return self.best - value if self.direction == "maximize" else value - self.best

    def value_of(self, score: float) -> float:
        """Inverse of `score_of`, without its rounding error."""
        value = self.best - score if self.direction == "maximize" else self.best + score
        return float(f"{value:.12g}")

    @classmethod
    def of_header(cls, header: Mapping[str, Any]) -> Scale:
        """The scale that the header of a ledger tells; that of a loss when it tells none."""
        told = header.get("scale")
        if not isinstance(told, Mapping) or not isinstance(told.get("best"), (int, float)):
            return cls()
        return cls("maximize" if told.get("direction") == "maximize" else "minimize", told["best"])


@dataclass(frozen=True, slots=True)
class Measure:
    """What the arms of a verdict are measured by, and the words for it.

    Attributes:
      key: Among the metrics of an outcome.
      title: For people.
      score_title: What the score of the search is.
      is_share: Whether it lies in [0, 1], so that differences are told in points.
      is_loss: Whether lower is better.
      on_test: Where the verdict was measured.
      on_validation: Where the exported policy was chosen.
      holds_for: What is drawn anew in the repetitions that the intervals are about; empty where
        the outcomes tell it.
      remark: What the reader must know about the figures.
    """

    key: str
    title: str
    score_title: str = "log_loss"
    is_share: bool = True
    is_loss: bool = False
    on_test: str = "On the test split"
    on_validation: str = "on validation data"
    holds_for: str = ""
    remark: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it was computed here, from predictions on data that we know."""
        return self.key in METRICS

    @property
    def sign(self) -> int:
        """+1 when higher is better, -1 when lower is."""
        return -1 if self.is_loss else 1


def measure_of(metric: str) -> Measure:
    """The measure that a metric of ours is, one of `METRICS`."""
    known = METRICS[metric]
    return Measure(metric, known.title, is_share=known.is_share, is_loss=known.is_loss)


ACCURACY = measure_of("accuracy")
