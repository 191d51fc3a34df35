"""Is there anything to be gained at all? Asked of the search-free policies before a search begins.

They are trained on validation data with several seeds and folds, all with the same ones. Two
things must hold, or a search would only sort noise: the networks have learned something (the best
arm predicts better than the frequencies of the classes), and the arms differ by more than
trainings of one arm do (the F test of a two-way layout, arms by trainings, without interaction).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: Chance of seeing a difference that is not there.
ALPHA = 0.05
#: Chance of seeing one of the size asked for.
POWER = 0.8
#: The difference that a user is told the price of: half a point of accuracy.
SMALL_DIFFERENCE = 0.005

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Headroom:
    """What the search-free policies say about the room above them.

    Attributes:
      p_value: Of the F test for equal scores of all arms; `None` where a single training, or a
        single arm, shows no noise to compare with.
      learns: Whether the best arm predicts better than chance; `None`: chance is not known.
      n_trainings: Trainings of each arm that were compared.
      n_needed: Trainings of each arm that would show a difference of half a point of accuracy
        between two of them (two-sided paired test at 5 %, power 80 %); `None`: without accuracies.
      best: The arm with the lowest mean score.
      spread: Difference of mean accuracy between the best and the worst arm.
    """

    p_value: float | None
    learns: bool | None
    n_trainings: int
    n_needed: int | None
    best: str
    spread: float | None

    @property
    def is_found(self) -> bool:
        """Whether nothing speaks against a search that sees differences."""
        differ = self.p_value is None or self.p_value < ALPHA
        return differ and self.learns is not False

    def to_dict(self) -> dict[str, Any]:
        """As written to the ledger and the verdict."""
        return {
            "is_found": self.is_found,
            "p_value": self.p_value,
            "learns": self.learns,
            "n_trainings": self.n_trainings,
            "n_needed": self.n_needed,
            "best": self.best,
            "spread": self.spread,
            "sentence": self.sentence(),
        }

    def as_verdict(self) -> dict[str, Any]:
        """Content of `verdict.json` where the run ends here: nothing was measured on the test."""
        return {
            "arms": [],
            "chosen": "none",
            "decision": "no head-room",
            "sentence": f"{self.sentence()} The exported policy augments nothing.",
            "seeds": [],
            "comparisons": [],
            "headroom": self.to_dict(),
        }

    def sentence(self) -> str:
        """For people."""
        if self.is_found and self.p_value is None:
            return "Head-room was not looked for: one training of a policy shows no noise."
        if self.is_found:
            return (
                f"Head-room: the search-free policies differ by more than noise "
                f"(p = {self.p_value:.2g} over {self.n_trainings} trainings of each)."
            )
        if self.learns is False:
            return (
                "No head-room found: no policy lets the network predict better than the class "
                "frequencies. Longer trainings (--epochs) or more data may change that."
            )
        return (
            "No head-room found: the search-free policies, no augmentation among them, differ by "
            f"no more than trainings of one policy do (p = {self.p_value:.2g} over "
            f"{self.n_trainings} trainings of each).{self._price()}"
        )

    def _price(self) -> str:
        if self.n_needed is None:
            return ""
        if self.n_needed <= self.n_trainings:
            return " A difference of 0.5 points would most likely have been seen."
        times = self.n_needed / self.n_trainings
        return (
            f" To see a difference of 0.5 points of accuracy it takes about {self.n_needed:,} "
            f"trainings of each policy, {times:.0f} times as many, or more validation data."
        )


def headroom(arms: Mapping[str, Sequence[Metrics]], chance_score: float | None) -> Headroom:
    """Compares the search-free arms.

    Args:
      arms: For each arm its metrics, one mapping per training, paired over arms; `score` (lower
        is better) and maybe `accuracy`. Arms that failed are left out by the caller.
      chance_score: Score of predicting class frequencies; `None`: not known.
    """
    names = list(arms)
    scores = np.array([[m["score"] for m in arms[name]] for name in names])
    means = scores.mean(axis=1)
    accuracies = None
    if all("accuracy" in m for trained in arms.values() for m in trained):
        accuracies = np.array([[m["accuracy"] for m in arms[name]] for name in names])
    return Headroom(
        p_value=_p_value(scores),
        learns=None if chance_score is None else bool(means.min() < chance_score),
        n_trainings=scores.shape[1],
        n_needed=None if accuracies is None else _n_needed(accuracies),
        best=names[int(means.argmin())],
        spread=None if accuracies is None else float(np.ptp(accuracies.mean(axis=1))),
    )


def _residual_square(values: NDArray[np.float64]) -> float:
    """Mean square of what neither the arm nor the training explains."""
    n_arms, n_trainings = values.shape
    rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    return float((rest**2).sum() / max(1, (n_arms - 1) * (n_trainings - 1)))


def _p_value(values: NDArray[np.float64]) -> float | None:
    n_arms, n_trainings = values.shape
    if n_arms < 2 or n_trainings < 2:
        return None
    between = float(n_trainings * values.mean(axis=1).var(ddof=1))
    within = _residual_square(values)
    if between <= 1e-18:
        return 1.0
    if within <= 1e-18:
        return 0.0
    freedom = (n_arms - 1, (n_arms - 1) * (n_trainings - 1))
    return float(stats.f.sf(between / within, *freedom))


def _n_needed(accuracies: NDArray[np.float64]) -> int:
    if min(accuracies.shape) < 2:
        return 0
    deviation = math.sqrt(2 * _residual_square(accuracies))  # of a difference of two arms
    quantiles = float(stats.norm.isf(ALPHA / 2) + stats.norm.ppf(POWER))
    return max(2, math.ceil((quantiles * deviation / SMALL_DIFFERENCE) ** 2))
