"""The verdict: arms side by side on the test split, with intervals and a sentence.

It reports and chooses nothing: which policy is exported was decided before, on validation data.
Arms are paired: score i of every arm comes from the same seed, so that differences are tested with
the paired t-test, corrected by Holm for the number of comparisons. The interval of a mean is the
t interval over seeds; it holds for this training set and this test split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from policysearch.errors import InvalidValueError

Decision = Literal["better", "not distinguishable", "worse"]

CONFIDENCE = 0.95
FOUND = "found"
ARM_TITLES = {
    "none": "no augmentation",
    "default": "the default augmentation",
    "trivialaugment": "TrivialAugment",
    "randaugment": "RandAugment",
    "uniformaugment": "UniformAugment",
    "random": "a random policy",
    "found": "the found policy",
}


@dataclass(frozen=True)
class Arm:
    """One policy in the comparison.

    Attributes:
      scores: One per seed, higher is better (accuracy in [0, 1]).
      seconds: Training time of all its seeds.
    """

    name: str
    scores: tuple[float, ...]
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.scores))

    def interval(self) -> tuple[float, float]:
        """95 % t interval of the mean over seeds."""
        return t_interval(self.scores)

    def to_dict(self) -> dict[str, Any]:
        """As written to `verdict.json`."""
        low, high = self.interval()
        return {
            "name": self.name,
            "mean": self.mean,
            "ci_low": low,
            "ci_high": high,
            "scores": list(self.scores),
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True)
class Comparison:
    """The chosen arm against another one, over paired seeds."""

    other: str
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_holm: float

    @property
    def decision(self) -> Decision:
        """What the Holm-corrected test says at the 5 % level."""
        if self.p_holm >= 1 - CONFIDENCE:
            return "not distinguishable"
        return "better" if self.difference > 0 else "worse"


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % t interval of a mean; all values equal give a point.

    Raises:
      InvalidValueError: For fewer than two values.
    """
    if len(values) < 2:
        raise InvalidValueError(f"An interval needs at least 2 values, got {len(values)}.")
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * error
    return mean - half, mean + half


def paired_p_value(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p-value of the paired t-test; 1 when all differences are zero.

    Accuracies are counts, so a few differences can be equal by chance, and the t-test would call
    them certain. The sign test is used for them: `2 ** (1 - n)`.
    """
    differences = np.asarray(a) - np.asarray(b)
    if np.allclose(differences, differences[0], atol=1e-12):
        return 1.0 if abs(differences[0]) < 1e-12 else float(2.0 ** (1 - len(differences)))
    return float(stats.ttest_rel(a, b).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p-values in the order given.

    References:
      Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6, 1979.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def compare_with(chosen: Arm, others: Sequence[Arm]) -> list[Comparison]:
    """The chosen arm against every other, Holm-corrected over all of them."""
    p_values = [paired_p_value(chosen.scores, other.scores) for other in others]
    comparisons = []
    for other, p, p_holm in zip(others, p_values, holm(p_values), strict=True):
        differences = [a - b for a, b in zip(chosen.scores, other.scores, strict=True)]
        low, high = t_interval(differences)
        mean = float(np.mean(differences))
        comparisons.append(Comparison(other.name, mean, low, high, p, p_holm))
    return comparisons


def make_verdict(
    arms: Sequence[Arm], chosen: str, seeds: Sequence[int], metric: str = "accuracy"
) -> dict[str, Any]:
    """Builds the content of `verdict.json`.

    Args:
      arms: All arms, paired over `seeds`.
      chosen: Name of the exported arm.
      seeds: Training seeds, in the order of the scores.
      metric: Name of the score.

    Raises:
      InvalidValueError: For arms that are not paired, scores that are not finite, fewer than two
        seeds, two arms of one name, or a chosen arm that is not there.
    """
    problems = [arm.name for arm in arms if len(arm.scores) != len(seeds)]
    if problems:
        raise InvalidValueError(f"Arms {problems} do not have one score per seed ({len(seeds)}).")
    problems = [arm.name for arm in arms if not np.isfinite(arm.scores).all()]
    if problems:
        raise InvalidValueError(f"Arms {problems} have scores that are not finite.")
    by_name = {arm.name: arm for arm in arms}
    if len(by_name) < len(arms) or chosen not in by_name:
        names = ", ".join(arm.name for arm in arms)
        raise InvalidValueError(f"Arms must differ in name and hold '{chosen}', got {names}.")
    others = [arm for arm in arms if arm.name != chosen]
    comparisons = compare_with(by_name[chosen], others)
    best_other = max(others, key=lambda arm: arm.mean) if others else None
    against = next((c for c in comparisons if best_other and c.other == best_other.name), None)
    verdict = {
        "arms": [arm.to_dict() for arm in arms],
        "chosen": chosen,
        "decision": against.decision if against else "not distinguishable",
        "sentence": _sentence(by_name[chosen], comparisons, against),
        "metric": metric,
        "seeds": list(seeds),
        "comparisons": [
            {
                "other": c.other,
                "difference": c.difference,
                "ci_low": c.ci_low,
                "ci_high": c.ci_high,
                "p_value": c.p_value,
                "p_holm": c.p_holm,
                "decision": c.decision,
            }
            for c in comparisons
        ],
    }
    return verdict


def _sentence(chosen: Arm, comparisons: Sequence[Comparison], best: Comparison | None) -> str:
    """What was decided, what the chosen arm reaches, and how far it is from the others."""
    after_search = chosen.name == FOUND or any(c.other == FOUND for c in comparisons)
    reach = f"reaches {chosen.mean:.1%} accuracy"
    if not after_search:
        start = f"On the test split {_title(chosen.name)} {reach}"
    elif chosen.name == FOUND:
        start = (
            "The found policy is exported: on validation data it beat every search-free policy. "
            f"On the test split it {reach}"
        )
    elif chosen.name == "none":
        start = (
            "The search did not beat training without augmentation on validation data, so the "
            f"exported policy augments nothing. On the test split it {reach}"
        )
    else:
        start = (
            f"The search did not beat {_title(chosen.name)} on validation data, so this "
            f"search-free policy is exported. On the test split it {reach}"
        )
    parts = [f"{_points(c)} against no augmentation" for c in comparisons if c.other == "none"]
    if best is not None and best.other != "none":
        parts.append(f"{_points(best)} against the best other arm, {_title(best.other)}")
    n = len(chosen.scores)
    return f"{start}{': ' if parts else ''}{', and '.join(parts)} ({n} paired seeds)."


def _title(name: str) -> str:
    return ARM_TITLES.get(name, f"'{name}'")


def _points(comparison: Comparison) -> str:
    """Such as `+1.2 points [+0.3, +2.1] (better)`."""
    figures = (comparison.difference, comparison.ci_low, comparison.ci_high)
    mean, low, high = (round(100 * value, 1) + 0.0 for value in figures)  # no negative zero
    return f"{mean:+.1f} points [{low:+.1f}, {high:+.1f}] ({comparison.decision})"


def arms_of(verdict: Mapping[str, Any]) -> list[Arm]:
    """Arms of a verdict read back from JSON."""
    return [Arm(a["name"], tuple(a["scores"]), a["seconds"]) for a in verdict["arms"]]
